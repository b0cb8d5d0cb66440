"""Fixtures of the tests of CUDA: the stand-in library and, where there is one, a GPU."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack

import numpy as np
import pytest
from fake_tensorrt import cudart_library

from r2p_edge.errors import MissingDependencyError
from r2p_edge.runtimes.tensorrt.cudart import LIBRARY, load

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
    """Return a function that keeps a resource until the test ends."""
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
