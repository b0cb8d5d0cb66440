"""The stand-in for libcudart that the code under test uses, too."""

from __future__ import annotations

import ctypes
import os
import weakref

WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def library():
    # Opened again, it is the same one.
    return ctypes.CDLL(os.environ["R2P_CUDART"])


def device():
    """Return the calling thread's current device."""
    number = ctypes.c_int()
    library().cudaGetDevice(ctypes.byref(number))
    return number.value


def trouble():
    """Return the code of the error that every use of CUDA meets, or 0."""
    return library().cudaGetDeviceCount(ctypes.byref(ctypes.c_int()))


def capability():
    """Return the compute capability of the current device, as in "8.7"."""
    numbers = [ctypes.c_int(), ctypes.c_int()]
    for number, attribute in zip(numbers, (75, 76)):
        library().cudaDeviceGetAttribute(ctypes.byref(number), attribute, device())
    return ".".join(str(number.value) for number in numbers)


def memory():
    """Return the bytes of the current device."""
    left, total = ctypes.c_size_t(), ctypes.c_size_t()
    library().cudaMemGetInfo(ctypes.byref(left), ctypes.byref(total))
    return total.value


def allocate(owner, nbytes, before=lambda: None):
    """Take device memory for as long as `owner` lives; return whether there was enough.

    `before` is called before the memory goes.
    """
    cuda, address = library(), ctypes.c_void_p()
    if cuda.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(nbytes)):
        return False
    weakref.finalize(owner, _free, cuda, address, before).atexit = False
    return True


def _free(cuda, address, before):
    before()
    cuda.cudaFree(address)


def is_device(address, nbytes):
    return bool(library().fake_is_device(ctypes.c_void_p(address), ctypes.c_size_t(nbytes)))


def launch(stream, work, number):
    library().fake_launch(ctypes.c_void_p(stream), work, ctypes.c_void_p(number))
