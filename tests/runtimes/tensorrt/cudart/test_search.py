"""Search for CUDA's library."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from r2p_edge.errors import MissingDependencyError
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.cudart import LIBRARY, load, search


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
