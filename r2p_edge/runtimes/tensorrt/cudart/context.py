"""Contexts of CUDA's driver, which is another library than the runtime's."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, byref, c_int, c_uint, c_void_p

from r2p_edge.runtimes.tensorrt.cudart.binding import HANDLE, CudaError

_DRIVER = "libcuda.so.1"


class Context:
    """A context of CUDA's driver, or, with a null handle, none."""

    def __init__(self, driver: ctypes.CDLL, handle: c_void_p) -> None:
        self._driver, self._handle = driver, handle

    def make_current(self) -> None:
        """Make this the calling thread's context.

        Raises:
            CudaError: the driver refuses.
        """
        code = self._driver.cuCtxSetCurrent(self._handle)
        if code:
            raise CudaError(
                f"cuCtxSetCurrent fails with error {code} of CUDA's driver; start the program "
                "again",
                code,
            )


def current_context() -> Context | None:
    """Return the calling thread's context; None if it has none."""
    driver, handle = _driver(_DRIVER), c_void_p()
    # An error says that nothing in this process has used CUDA yet.
    if driver is None or driver.cuCtxGetCurrent(byref(handle)) or not handle.value:
        return None
    return Context(driver, handle)


def to_put_back(device: int) -> Context | None:
    """Return what to make current instead of a device on which nothing has run yet.

    Since CUDA 12 cudaSetDevice makes the device's primary context, which takes hundreds of MB. None
    if the device has it already.
    """
    driver, flags, active = _driver(_DRIVER), c_uint(), c_int()
    if (
        driver is None
        or driver.cuDevicePrimaryCtxGetState(device, byref(flags), byref(active))
        or active.value
    ):
        return None
    return Context(driver, c_void_p())


@functools.cache
def _driver(path: str) -> ctypes.CDLL | None:
    """Return CUDA's driver library, which comes with the GPU's driver; None without it."""
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return None
    library.cuCtxGetCurrent.argtypes = (HANDLE,)
    library.cuCtxSetCurrent.argtypes = (c_void_p,)
    library.cuDevicePrimaryCtxGetState.argtypes = (c_int, POINTER(c_uint), POINTER(c_int))
    return library
