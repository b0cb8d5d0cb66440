"""Functions of CUDA's runtime library, declared for ctypes.

Only functions are used that CUDA 11.4 to 13 declare alike (docs.nvidia.com/cuda/cuda-runtime-api),
which cudaGraphInstantiate and cudaGetDeviceProperties, for two, are not. Their presence, and their
answers without a driver, were verified with versions 11.8, 12.9 and 13.5 of the library.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any

from r2p_edge.errors import BackendError, MissingDependencyError

LIBRARY = "R2P_CUDART"
"""Environment variable with the library's file, for where the search finds an unwanted one."""

HANDLE = POINTER(c_void_p)
"""Type of an argument through which a function returns a handle or an address."""

_INT, _SIZE = POINTER(c_int), POINTER(c_size_t)
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "cudaDeviceGetAttribute": (_INT, c_int, c_int),
    "cudaDriverGetVersion": (_INT,),
    "cudaFree": (c_void_p,),
    "cudaFreeHost": (c_void_p,),
    "cudaGetDevice": (_INT,),
    "cudaGetDeviceCount": (_INT,),
    "cudaGetErrorString": (c_int,),
    "cudaGetLastError": (),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
    "cudaGraphInstantiateWithFlags": (HANDLE, c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaHostAlloc": (HANDLE, c_size_t, c_uint),
    "cudaHostGetDevicePointer": (HANDLE, c_void_p, c_uint),
    "cudaMalloc": (HANDLE, c_size_t),
    "cudaMemGetInfo": (_SIZE, _SIZE),
    "cudaMemsetAsync": (c_void_p, c_int, c_size_t, c_void_p),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaRuntimeGetVersion": (_INT,),
    "cudaSetDevice": (c_int,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamCreateWithFlags": (HANDLE, c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamEndCapture": (c_void_p, HANDLE),
    "cudaStreamSynchronize": (c_void_p,),
}


class CudaError(BackendError):
    """A CUDA call failed.

    Attributes:
        code: the cudaError_t.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Binding:
    """One libcudart whose functions can be called.

    Attributes:
        path: its file, or the name by which the system's loader found it.

    Raises:
        OSError: the file cannot be loaded.
        MissingDependencyError: the library lacks a function.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._library = ctypes.CDLL(path)
        for name, arguments in _ARGUMENTS.items():
            try:
                function = getattr(self._library, name)
            except AttributeError as error:
                raise MissingDependencyError(
                    f"{path} has no {name}, so it is another library or older than CUDA 11.4; "
                    f"let {LIBRARY} name CUDA's runtime library"
                ) from error
            function.argtypes = arguments
            function.restype = c_char_p if name == "cudaGetErrorString" else c_int

    def call(self, function: str, *arguments: Any) -> None:
        """Call one of the library's functions.

        Raises:
            CudaError: it returned anything but cudaSuccess.
        """
        code = getattr(self._library, function)(*arguments)
        if code:
            # Clears the thread's last error, which another library would take for its own.
            self._library.cudaGetLastError()
            text = self._library.cudaGetErrorString(code).decode()
            raise CudaError(
                f"{function} failed: {text} (CUDA error {code}); start the program again, and "
                "look into the kernel's log, dmesg, if the error comes back",
                code,
            )

    def number(self, function: str, *arguments: int) -> int:
        """Return the int that a function writes through its first argument.

        Raises:
            CudaError: see `call`.
        """
        number = c_int()
        self.call(function, byref(number), *arguments)
        return number.value

    def version(self, function: str) -> str:
        """Return the version of CUDA that a function gives, as "12.6"; "none" if it gives none."""
        number = c_int()
        # In CUDA 11 it fails without a driver and leaves the number alone.
        getattr(self._library, function)(byref(number))
        major, minor = divmod(number.value, 1000)
        return f"{major}.{minor // 10}" if number.value else "none"
