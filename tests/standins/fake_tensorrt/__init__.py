"""The stand-ins for TensorRT and CUDA's runtime, and what puts them where Python finds them."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from requirements import is_required

FOLDER = Path(__file__).parent
VERSIONS = ("8.6.1", "10.3.0", "10.13.3", "10.16.1", "11.4")
EVERY_VERSION = [
    pytest.param(version, marks=[pytest.mark.long] if version.startswith("10.1") else [])
    for version in VERSIONS
]
"""VERSIONS for tests that take seconds with each; `.ci/run` has the first, Orin's and the last."""

RTX = "rtx-1.7.1"
"""TensorRT for RTX, which is the module tensorrt_rtx."""


def cudart_library(folder: Path) -> Path:
    """Compile the stand-in for libcudart into `folder`; skip the test without a C compiler.

    Its name is not libcudart's, so that one mapped by a test is not found by the next.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None and not is_required("cc"):
        pytest.skip(f"needs a C compiler, and there is no {compiler[0]}; set CC")
    library = folder / "fake_cudart.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-g", "-shared", "-fPIC", "-pthread"]
    source = FOLDER / "cudart.c"
    subprocess.run([*compiler, *flags, "-o", str(library), str(source)], check=True)
    return library


@contextlib.contextmanager
def installed(version: str = "10.3.0", **environment: object) -> Iterator[None]:
    """Let tensorrt of a version and libcudart be loaded, here and in new processes."""
    _, library = _library()
    folder = FOLDER / "rtx" if version == RTX else FOLDER
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.setenv("FAKE_TENSORRT_VERSION", version)
        patch.setenv("R2P_CUDART", str(library))
        for name, value in environment.items():
            patch.setenv(name, str(value))
        if live():  # in the frames of an exception of the test before
            gc.collect()
        _forget()
        yield
    # find_spec looks into sys.modules too.
    _forget()


def _forget() -> None:
    modules = ("tensorrt", "tensorrt_rtx")
    for name in [name for name in sys.modules if name.split(".")[0] in modules]:
        del sys.modules[name]


@functools.cache
def _library() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """Return libcudart and its folder, which goes when the process does."""
    folder = tempfile.TemporaryDirectory()
    return folder, cudart_library(Path(folder.name))


def live() -> int:
    """Return the number of live objects of CUDA: allocations, streams, graphs, engines, ..."""
    return _ask("fake_live")


def allocated() -> int:
    """Return the number of allocations so far."""
    return _ask("fake_allocated")


def _ask(function: str) -> int:
    ask = getattr(ctypes.CDLL(os.environ["R2P_CUDART"]), function)
    ask.restype = ctypes.c_long
    return ask()


def plan_of(path: Path) -> dict[str, Any]:
    """Return the stand-in's record in a plan: the version, the flags, the name, the profile, ..."""
    is_rtx = path.read_bytes()[:4] == b"vtrt"
    plans = importlib.import_module(f"tensorrt{'_rtx' if is_rtx else ''}._plan")
    record: dict[str, Any] = plans.read(path.read_bytes())[0]
    return record
