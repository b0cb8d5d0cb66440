"""Contexts of CUDA's driver."""

from __future__ import annotations

import ctypes

import pytest
from cuda import current_device

from r2p_edge.runtimes.tensorrt.cudart import CudaError, context


@pytest.fixture
def driver(library, fake, monkeypatch):
    """The stand-in as CUDA's driver, which can set and get the current context."""
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
    """Make a context as PyCUDA does, next to the device's primary one."""
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


def test_no_context_is_made_on_a_gpu_that_nobody_uses(fake, driver):
    driver.fake_forget_contexts()
    with fake.on(1):
        assert current_device(fake) == 1
    assert driver.fake_contexts() == 1
    assert context_of(driver) is None


def test_a_device_that_is_used_is_put_back_where_the_thread_has_no_context(fake, driver):
    driver.fake_forget_contexts()
    fake.call("cudaSetDevice", 0)
    driver.cuCtxSetCurrent(None)
    with fake.on(1):
        assert current_device(fake) == 1
    assert current_device(fake) == 0


def test_a_context_that_is_gone_is_told(fake, driver, monkeypatch):
    fake.call("cudaSetDevice", 2)
    with pytest.raises(CudaError, match=r"cuCtxSetCurrent .* 201"), fake.on(1):
        monkeypatch.setattr(context._driver(context._DRIVER), "cuCtxSetCurrent", lambda _: 201)
