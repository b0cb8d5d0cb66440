"""Devices and memory of CUDA."""

from __future__ import annotations

import threading

import pytest
from cuda import current_device, direct, failing

from r2p_edge.errors import MissingDependencyError
from r2p_edge.runtimes.tensorrt.cudart import Chip, CudaError, api, load

PETABYTE = 1 << 50


def test_what_is_wanted_and_what_is_free_is_said_when_memory_runs_out(cuda, loop):
    with pytest.raises(CudaError, match=rf"no {PETABYTE:,} bytes left, as only [\d,]+ are") as info:
        cuda.device_memory(PETABYTE)
    assert (info.value.code, info.value.exit_code) == (2, 5)
    # It must not be taken for the error of somebody else's next call.
    assert direct(cuda, "cudaGetLastError")() == 0
    assert loop(cuda).works(5)


def test_memory_runs_out_at_what_the_others_have_left(fake, keep, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_MEMORY", "10000")
    free = fake.free_memory()
    keep(fake.device_memory(4000))
    assert fake.free_memory() == free - 4000
    with pytest.raises(CudaError, match="no 6,001 bytes left, as only 6,000 are free; close"):
        fake.device_memory(6001)
    with pytest.raises(CudaError, match="cannot pin 6,001 bytes of the CPU's memory; close"):
        fake.host_memory(6001)


def test_a_chip_and_the_versions_are_told(fake, monkeypatch):
    assert fake.chip(0) == Chip("8.7", 16, False)
    for name, value in (
        ("CAPABILITY", "11.0"),
        ("MULTIPROCESSORS", "20"),
        ("INTEGRATED", "1"),
        ("DRIVER", "12040"),
    ):
        monkeypatch.setenv(f"FAKE_CUDA_{name}", value)
    assert fake.chip(0) == Chip("11.0", 20, True)
    # An older driver of the same major version will do.
    assert (fake.versions(), fake.device_count()) == (("12.6", "12.4"), 1)


def test_without_a_gpu_there_are_no_devices(fake, monkeypatch):
    for name, driver in (("FAKE_CUDA_DEVICES", "12.6"), ("FAKE_CUDA_DRIVER", "none")):
        with monkeypatch.context() as patch:
            patch.setenv(name, "0")
            assert (fake.device_count(), fake.versions()) == (0, ("12.6", driver))
            with (
                pytest.raises(CudaError, match="no device 0, as it finds no GPU; load"),
                fake.on(0),
            ):
                pass


def test_a_real_library_tells_whether_there_is_a_gpu():
    try:
        real = load()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    # There may be a driver, and not for any GPU here.
    assert real.device_count() == 0 or real.versions()[1] != "none"


def test_a_driver_that_is_too_old_is_told_from_none(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_DRIVER", "11040")
    sentence = r"driver supports CUDA 11\.4 and .* is of CUDA 12\.6; update the driver"
    with pytest.raises(CudaError, match=sentence) as info:
        fake.device_count()
    assert info.value.exit_code == 5
    with pytest.raises(CudaError, match=sentence), fake.on(0):
        pass


@pytest.mark.parametrize("beyond", [0, 1, -1000])
def test_a_device_that_is_not_there_is_named(cuda, beyond):
    count = cuda.device_count()
    sentence = rf"no device {count + beyond}, as it finds {count}, numbered from 0; choose"
    with pytest.raises(CudaError, match=sentence), cuda.on(count + beyond):
        pass
    with pytest.raises(CudaError, match=sentence):
        cuda.chip(count + beyond)


def test_a_device_that_is_there_is_not_said_to_be_missing(fake, monkeypatch):
    failing(monkeypatch, "cudaSetDevice", 46)
    with pytest.raises(CudaError, match=r"^cudaSetDevice$"), fake.on(0):
        pass


def test_a_device_is_the_threads_own_and_put_back(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_DEVICES", "3")
    seen = []
    with fake.on(2):
        thread = threading.Thread(target=lambda: seen.append(current_device(fake)))
        thread.start()
        thread.join()
        with pytest.raises(ZeroDivisionError), fake.on(1):
            1 / (current_device(fake) - 1)
        seen.append(current_device(fake))
    assert [*seen, current_device(fake)] == [0, 2, 0]


@pytest.mark.parametrize(
    ("integrated", "text", "free"),
    [
        (0, "MemAvailable:    5000000 kB\n", 1 << 30),
        (1, "MemFree:  30000 kB\nMemAvailable:    5000000 kB\n", 5_000_000 << 10),
        (1, "MemFree:  30000 kB\n", 1 << 30),
        (1, None, 1 << 30),
    ],
)
def test_memory_that_the_system_has_cached_is_free_where_cpu_and_gpu_share_it(
    fake, monkeypatch, tmp_path, integrated, text, free
):
    monkeypatch.setattr(api, "_MEMINFO", tmp_path / "meminfo")
    if text is not None:
        (tmp_path / "meminfo").write_text(text)
    monkeypatch.setenv("FAKE_CUDA_MEMORY", str(1 << 30))
    monkeypatch.setenv("FAKE_CUDA_INTEGRATED", str(integrated))
    assert fake.free_memory() == free
