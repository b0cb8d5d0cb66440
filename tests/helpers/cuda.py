"""CUDA's library around our module, and failures of it."""

from __future__ import annotations

import ctypes

from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.cudart import CudaError


def direct(cuda, function):
    """Return a function of the library itself, not of our module."""
    return getattr(ctypes.CDLL(cuda.path), function)


def current_device(cuda):
    number = ctypes.c_int(-1)
    assert direct(cuda, "cudaGetDevice")(ctypes.byref(number)) == 0
    return number.value


def failing(patch, name, code):
    """Let one function of the library fail."""
    call = cudart.Cudart.call

    def fails(self, function, *arguments):
        if function == name:
            raise CudaError(function, code)
        call(self, function, *arguments)

    patch.setattr(cudart.Cudart, "call", fails)
