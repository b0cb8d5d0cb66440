"""CUDA through ctypes, on the stand-in library and, where there is one, on a GPU."""

import ctypes
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from fake_tensorrt import cudart_library

from r2p_edge.errors import BackendError, MissingDependencyError
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.cudart import LIBRARY, Chip, CudaError, context, load, search

PETABYTE = 1 << 50
TO_DEVICE, TO_HOST = "host to device", "device to host"


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return cudart_library(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def fake(library, monkeypatch):
    """The stand-in; what a test takes of it is to be given back."""
    monkeypatch.setenv(LIBRARY, str(library))
    live = ctypes.CDLL(str(library)).fake_live
    before = live()
    yield load()
    assert live() == before


@pytest.fixture(params=["fake", "real"])
def cuda(request):
    if request.param == "fake":
        return request.getfixturevalue("fake")
    try:
        real = load()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    if not real.device_count():
        pytest.skip("needs a GPU")
    return real


@pytest.fixture
def keep(request):
    """Gives back, after the test, what it is called with."""
    request.getfixturevalue("cuda" if "cuda" in request.fixturenames else "fake")
    with ExitStack() as stack:

        def keep(resource):
            stack.callback(resource.free if hasattr(resource, "free") else resource.destroy)
            return resource

        yield keep


@pytest.fixture
def loop(keep):
    """Host memory, a device's, and host memory again, with copies from each to the next."""

    class Loop:
        def __init__(self, cuda, count=1000):
            self.stream = keep(cuda.stream())
            self.device = keep(cuda.device_memory(4 * count))
            self.source, self.result = (keep(cuda.host_memory(4 * count)) for _ in range(2))
            self.given, self.got = (
                memory.array((count,), np.int32) for memory in (self.source, self.result)
            )
            self.got[:] = -1

        def copy(self):
            nbytes = self.device.nbytes
            self.stream.copy(self.device.address, self.source.address, nbytes, TO_DEVICE)
            self.stream.copy(self.result.address, self.device.address, nbytes, TO_HOST)
            return True

        def works(self, number):
            self.given[:] = number
            self.copy()
            self.stream.synchronize()
            return (self.got == number).all()

    return Loop


def direct(cuda, function):
    """A function of the library, around the module."""
    return getattr(ctypes.CDLL(cuda.path), function)


def current_device(cuda):
    number = ctypes.c_int(-1)
    assert direct(cuda, "cudaGetDevice")(ctypes.byref(number)) == 0
    return number.value


def failing(patch, name, code):
    """One function of the library fails."""
    call = cudart.Cudart.call

    def fails(self, function, *arguments):
        if function == name:
            raise CudaError(function, code)
        call(self, function, *arguments)

    patch.setattr(cudart.Cudart, "call", fails)


# --- Memory and streams


def test_copies_are_done_in_the_order_of_the_stream(cuda, keep):
    stream, device = keep(cuda.stream()), keep(cuda.device_memory(64))
    hosts = [keep(cuda.host_memory(64)) for _ in range(4)]
    one, other, first, second = (host.array((8,), np.float64) for host in hosts)
    one[:], other[:] = np.arange(8), -np.arange(8)
    for source, result in ((hosts[0], hosts[2]), (hosts[1], hosts[3])):
        stream.copy(device.address, source.address, 64, TO_DEVICE)
        # Its second half alone.
        stream.copy(result.address + 32, device.address + 32, 32, TO_HOST)
    stream.synchronize()
    np.testing.assert_array_equal(first[4:], one[4:])
    np.testing.assert_array_equal(second[4:], other[4:])


def test_a_copy_is_not_there_before_one_waits_for_it(fake, loop):
    copies = loop(fake)
    copies.given[:] = 7
    copies.copy()
    assert (copies.got == -1).all()
    copies.stream.synchronize()
    assert (copies.got == 7).all()


def test_threads_do_not_disturb_each_other(cuda, loop):
    loops, good = [loop(cuda) for _ in range(4)], []

    def work(number):
        good.append(all(loops[number].works(100 * number + i) for i in range(50)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert good == [True] * 4


def test_host_memory_is_seen_through_arrays_of_any_type(cuda, keep):
    memory = keep(cuda.host_memory(24))
    memory.array((2, 3), np.float32)[:] = 1
    assert memory.array((24,), np.uint8).tobytes() == np.ones(6, np.float32).tobytes()
    with pytest.raises(TypeError, match="too small"):
        memory.array((25,), np.uint8)


def test_a_device_reads_mapped_memory_where_it_is(cuda, keep):
    mapped, result = keep(cuda.host_memory(8, mapped=True)), keep(cuda.host_memory(8))
    mapped.array((8,), np.uint8)[:] = 3
    stream = keep(cuda.stream())
    stream.copy(result.address, mapped.device_address, 8, TO_HOST)
    stream.synchronize()
    assert (result.array((8,), np.uint8) == 3).all()


@pytest.mark.parametrize("kind", ["device_memory", "host_memory", "stream"])
def test_freeing_twice_is_freeing_once(cuda, kind):
    nbytes = () if kind == "stream" else (64,)
    resource = getattr(cuda, kind)(*nbytes)
    give_back, value = (
        (resource.destroy, "handle") if kind == "stream" else (resource.free, "address")
    )
    assert getattr(resource, value)
    give_back()
    give_back()
    with pytest.raises(BackendError, match="given back to CUDA; make a new one"):
        getattr(resource, value)


def test_at_the_interpreters_exit_cuda_may_be_gone_before(fake, monkeypatch):
    memories = [fake.device_memory(8) for _ in range(2)]
    addresses = [memory.address for memory in memories]
    with monkeypatch.context() as patch:
        failing(patch, "cudaFree", 4)
        memories[0].free()
        failing(patch, "cudaFree", 700)
        with pytest.raises(CudaError, match="cudaFree"):
            memories[1].free()
    for address in addresses:
        fake.call("cudaFree", address)


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


def test_what_is_wrong_otherwise_is_said_in_cudas_words(fake, keep):
    stream, device = keep(fake.stream()), keep(fake.device_memory(8))
    pageable = np.zeros(8, np.uint8)
    for source, nbytes in ((pageable.ctypes.data, 8), (device.address, 9)):
        with pytest.raises(CudaError, match=r"cudaMemcpyAsync failed: invalid argument .*error 1"):
            stream.copy(device.address, source, nbytes, TO_DEVICE)


# --- Devices


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
    # Of the same major version an older driver will do.
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


@pytest.fixture
def driver(library, fake, monkeypatch):
    """The stand-in as CUDA's driver, and what makes a context the current one or tells it."""
    monkeypatch.setattr(context, "_DRIVER", str(library))
    monkeypatch.setenv("FAKE_CUDA_DEVICES", "3")
    yield ctypes.CDLL(str(library))
    fake.call("cudaSetDevice", 0)


def context_of(driver):
    handle = ctypes.c_void_p()
    driver.cuCtxGetCurrent(ctypes.byref(handle))
    return handle.value


@pytest.mark.parametrize("device", [0, 1])
def test_a_context_of_the_callers_own_is_put_back(fake, driver, device):
    """As those of PyCUDA, beside which the device's primary context would be another one."""
    own = 0x1234
    driver.cuCtxSetCurrent(ctypes.c_void_p(own))
    with fake.on(device):
        assert context_of(driver) != own
        assert current_device(fake) == device
    assert context_of(driver) == own


def test_the_device_of_a_primary_context_is_put_back(fake, driver):
    fake.call("cudaSetDevice", 2)
    with fake.on(1):
        assert current_device(fake) == 1
    assert current_device(fake) == 2


def test_a_context_that_is_gone_is_told(fake, driver, monkeypatch):
    fake.call("cudaSetDevice", 2)
    with pytest.raises(CudaError, match=r"cuCtxSetCurrent .* 201"), fake.on(1):
        monkeypatch.setattr(context._driver(context._DRIVER), "cuCtxSetCurrent", lambda _: 201)


# --- Graphs


def test_a_graph_repeats_what_was_captured(cuda, loop, keep):
    copies = loop(cuda)
    copies.given[:] = 1
    graph = keep(copies.stream.capture(copies.copy))
    copies.stream.synchronize()
    assert (copies.got == -1).all()
    for number in (2, 3):
        copies.given[:] = number
        graph.launch()
        copies.stream.synchronize()
        assert (copies.got == number).all()
    graph.destroy()
    with pytest.raises(BackendError, match="this CudaGraph was given back"):
        graph.launch()


@pytest.mark.parametrize("synchronizes", [False, True])
def test_a_stream_survives_a_capture_that_fails(cuda, loop, synchronizes):
    copies = loop(cuda)

    def work():
        copies.copy()
        if synchronizes:
            copies.stream.synchronize()
        return synchronizes

    assert copies.stream.capture(work) is None
    assert copies.works(4)


def test_a_library_that_captures_nothing_says_so_at_the_end(fake, loop, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_NO_CAPTURE", "1")
    copies = loop(fake)
    assert copies.stream.capture(lambda: True) is None
    assert copies.works(4)


@pytest.mark.parametrize("breaks", [False, True])
def test_what_work_raises_is_raised_by_capture(cuda, loop, breaks):
    copies = loop(cuda)

    def work():
        copies.copy()
        if breaks:
            with pytest.raises(CudaError, match="not permitted when stream is capturing"):
                copies.stream.synchronize()
        raise ValueError("not CUDA's")

    with pytest.raises(ValueError, match="not CUDA's"):
        copies.stream.capture(work)
    assert copies.works(4)


# --- What the stand-in offers to the other tests


def test_host_work_is_launched_in_stream_order(fake, loop, keep):
    seen, copies = [], loop(fake)
    work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda data: seen.append(copies.got[0]))
    launch = direct(fake, "fake_launch")
    launch.argtypes = (ctypes.c_void_p, type(work), ctypes.c_void_p)

    def queue():
        launch(copies.stream.handle, work, None)
        copies.copy()
        launch(copies.stream.handle, work, None)
        return True

    copies.given[:] = 6
    queue()
    assert not seen
    copies.stream.synchronize()
    assert seen == [-1, 6]
    graph = keep(copies.stream.capture(queue))
    copies.given[:] = 8
    graph.launch()
    copies.stream.synchronize()
    assert seen == [-1, 6, 6, 8]


def test_the_kinds_of_memory_can_be_told_apart(fake, keep):
    allocated = direct(fake, "fake_allocated")
    before = allocated()
    memories = [fake.device_memory(64), fake.host_memory(64), fake.host_memory(64, mapped=True)]
    assert allocated() == before + 3
    asked = [direct(fake, f"fake_is_{kind}") for kind in ("device", "pinned")]
    for ask in asked:
        ask.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    answers = [[ask(each.address + 60, 4) for ask in asked] for each in memories]
    assert answers == [[1, 0], [0, 1], [1, 1]]
    assert not any(ask(each.address + 60, 5) for each in memories for ask in asked)
    freed = memories[0].address
    for each in memories:
        each.free()
    assert not asked[0](freed, 1)
    assert allocated() == before + 3


# --- Finding the library


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Wherever a library may lie there is a file, which is none; in the order of the search."""
    relative = [
        "mapped/libcudart-d0da41ae.so.11.0",
        "site-packages/nvidia/cu13/lib/libcudart.so.13",
        "site-packages/nvidia/cuda_runtime/lib/libcudart.so.12",
        "system/libcudart.so.12",
        "local/cuda/lib64/libcudart.so.12",
        "local/cuda-11.8/targets/aarch64-linux/lib/libcudart.so.11.0",
        "found/libcudart.so",
    ]
    files = [tmp_path / name for name in relative]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("no library")
    maps = tmp_path / "maps"
    maps.write_text(f"7f-80 r--p 00 fd:00 1 /usr/lib/libc.so.6\n7f-80 rw-p 00\n7f-80 {files[0]}\n")
    monkeypatch.delenv(LIBRARY, raising=False)
    monkeypatch.setattr(search, "_MAPS", maps)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site-packages")])
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    monkeypatch.setattr(search, "_SONAMES", (str(files[3]),))
    monkeypatch.setattr(search, "_TOOLKITS", tmp_path / "local")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: str(files[6]))
    return [str(file) for file in files]


@pytest.mark.parametrize("good", range(7))
def test_the_first_file_that_is_a_library_is_taken(good, places, library, monkeypatch):
    real, tried = ctypes.CDLL, []

    def cdll(path):
        tried.append(path)
        return real(str(library) if path == places[good] else path)

    monkeypatch.setattr(ctypes, "CDLL", cdll)
    found = load()
    assert found.path == places[good]
    assert tried == places[: good + 1]
    assert load() is found


@pytest.mark.parametrize(
    ("driver", "taken"), [("13.0", 1), ("12.6", 3), ("12.2", 3), ("none", 1), ("11.4", 1)]
)
def test_a_library_newer_than_the_driver_is_passed_over(
    driver, taken, places, library, monkeypatch
):
    real = ctypes.CDLL
    usable = {places[1]: "13.0", places[3]: "12.6"}
    monkeypatch.setattr(ctypes, "CDLL", lambda path: real(str(library) if path in usable else path))
    monkeypatch.setattr(cudart.Cudart, "versions", lambda self: (usable[self.path], driver))
    assert load().path == places[taken]


def test_what_is_to_be_done_is_said_where_there_is_no_library(places):
    with pytest.raises(MissingDependencyError, match=r"was not found; install .* R2P_CUDART name"):
        load()


@pytest.mark.parametrize("content", [None, "no library"])
def test_a_file_that_was_named_is_the_only_one_tried(
    content, places, library, tmp_path, monkeypatch
):
    named = tmp_path / "libcudart.so"
    if content:
        named.write_text(content)
    Path(places[0]).unlink()
    Path(places[0]).symlink_to(library)
    monkeypatch.setenv(LIBRARY, str(named))
    with pytest.raises(
        MissingDependencyError, match=rf"R2P_CUDART names {named}, which cannot be loaded .*; let"
    ):
        load()


def test_a_function_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", f"{os.environ.get('CC', 'cc')} -DcudaGraphLaunch=cudaGraphLaunched")
    monkeypatch.setenv(LIBRARY, str(cudart_library(tmp_path)))
    with pytest.raises(MissingDependencyError, match=r"has no cudaGraphLaunch, .* older than CUDA"):
        load()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc/self/maps")
def test_a_library_that_the_process_has_loaded_is_found(library, tmp_path, monkeypatch):
    monkeypatch.delenv(LIBRARY, raising=False)
    loaded = tmp_path / "a folder" / "libcudart.so.12"
    loaded.parent.mkdir()
    loaded.write_bytes(library.read_bytes())
    code = (
        "import ctypes, sys; from r2p_edge.runtimes.tensorrt.cudart import load; "
        "library = ctypes.CDLL(sys.argv[1]); print(load().path)"
    )
    command = [sys.executable, "-c", code, str(loaded)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loaded)
