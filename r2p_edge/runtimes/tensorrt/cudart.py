"""CUDA's runtime library, through ctypes: memory, streams and graphs for the TensorRT runtime.

Only functions are used that CUDA 11.4 to 13 declare alike (docs.nvidia.com/cuda/cuda-runtime-api),
which cudaGraphInstantiate and cudaGetDeviceProperties, for two, are not. That the library has
them, and what it answers without a driver, was seen in its versions 11.8, 12.9 and 13.5.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError, MissingDependencyError

LIBRARY = "R2P_CUDART"
"""The environment variable that names the library's file, where the one found is not the wanted."""

# cudaError
_OUT_OF_MEMORY = 2
_UNLOADING = 4
_INSUFFICIENT_DRIVER = 35
_NO_DEVICE = 100

# cudaDeviceAttr
_MULTIPROCESSORS = 16
_INTEGRATED = 18
_MAJOR = 75
_MINOR = 76

_KINDS = {"host to device": 1, "device to host": 2}  # cudaMemcpyKind
_MAPPED = 2  # cudaHostAllocMapped
_NON_BLOCKING = 1  # cudaStreamNonBlocking
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal

_INT, _SIZE, _HANDLE = POINTER(c_int), POINTER(c_size_t), POINTER(c_void_p)
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
    "cudaGraphInstantiateWithFlags": (_HANDLE, c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaHostAlloc": (_HANDLE, c_size_t, c_uint),
    "cudaHostGetDevicePointer": (_HANDLE, c_void_p, c_uint),
    "cudaMalloc": (_HANDLE, c_size_t),
    "cudaMemGetInfo": (_SIZE, _SIZE),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaRuntimeGetVersion": (_INT,),
    "cudaSetDevice": (c_int,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamCreateWithFlags": (_HANDLE, c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamEndCapture": (c_void_p, _HANDLE),
    "cudaStreamSynchronize": (c_void_p,),
}

_DRIVER = "libcuda.so.1"
_SONAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
_MAPS = Path("/proc/self/maps")
_TOOLKITS = Path("/usr/local")


class CudaError(BackendError):
    """A CUDA call failed.

    Attributes:
        code: the cudaError_t.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Chip:
    """What a GPU is.

    Attributes:
        compute_capability: "8.7" of Orin.
        multiprocessors: how many it has.
        integrated: whether it shares the memory of the CPU, as on Jetson.
    """

    compute_capability: str
    multiprocessors: int
    integrated: bool


def load() -> Cudart:
    """The library of `$R2P_CUDART`, or else the first found that the driver is new enough for.

    It is looked for in this order: what this process has mapped already, NVIDIA's wheels, the
    system's libraries, CUDA toolkits in /usr/local.

    Raises:
        MissingDependencyError: there is none, or it cannot be used.
    """
    named = os.environ.get(LIBRARY)
    too_new = None
    for path in [named] if named else _candidates():
        try:
            library = _open(path)
            if named or library.fits_driver():
                return library
            too_new = too_new or library
        except OSError as error:
            if named:
                raise MissingDependencyError(
                    f"{LIBRARY} names {path}, which cannot be loaded ({error}); let it name "
                    "CUDA's runtime library, libcudart.so, or unset it"
                ) from error
        except MissingDependencyError:
            if named:
                raise
    if too_new is not None:  # it tells the driver's version, and what to do
        return too_new
    raise MissingDependencyError(
        "CUDA's runtime library, libcudart.so, is not to be found; install the CUDA toolkit, or "
        f"pip's tensorrt, which brings it along, or let {LIBRARY} name the library's file"
    )


def _candidates() -> Iterator[str]:
    """Files and names for `ctypes.CDLL`; most of them name nothing on a given machine."""
    if _MAPS.is_file():
        for line in os.fsdecode(_MAPS.read_bytes()).splitlines():
            path = "/" + line.partition("/")[2]
            if Path(path).name.startswith("libcudart"):
                yield path
    packages = importlib.util.find_spec("nvidia")
    for folder in (packages and packages.submodule_search_locations) or ():
        for wheel in ("cu13", "cuda_runtime"):
            yield from _libraries(Path(folder, wheel, "lib"))
    yield from _SONAMES
    for toolkit in sorted(_TOOLKITS.glob("cuda*")):
        yield from _libraries(toolkit / "lib64")
        yield from _libraries(toolkit / "targets" / "aarch64-linux" / "lib")
    found = ctypes.util.find_library("cudart")
    if found:
        yield found


def _libraries(folder: Path) -> Iterator[str]:
    return (str(path) for path in sorted(folder.glob("libcudart.so*")))


@functools.cache
def _open(path: str) -> Cudart:
    library = ctypes.CDLL(path)
    for name, arguments in _ARGUMENTS.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise MissingDependencyError(
                f"{path} has no {name}, so it is not CUDA's runtime library or older than CUDA "
                f"11.4; let {LIBRARY} name another"
            ) from error
        function.argtypes = arguments
        function.restype = c_char_p if name == "cudaGetErrorString" else c_int
    return Cudart(path, library)


class _Context:
    """A CUDA context of the driver's."""

    def __init__(self, driver: ctypes.CDLL, handle: c_void_p) -> None:
        self._driver, self._handle = driver, handle

    def make_current(self) -> None:
        """For the calling thread."""
        code = self._driver.cuCtxSetCurrent(self._handle)
        if code:
            raise CudaError(f"cuCtxSetCurrent fails with error {code} of CUDA's driver", code)


def _current_context() -> _Context | None:
    """The calling thread's; None where it has none."""
    driver, handle = _driver(_DRIVER), c_void_p()
    # An error says that nothing in this process has used CUDA yet.
    if driver is None or driver.cuCtxGetCurrent(byref(handle)) or not handle.value:
        return None
    return _Context(driver, handle)


@functools.cache
def _driver(path: str) -> ctypes.CDLL | None:
    """CUDA's driver library, which comes with the GPU's driver; None without."""
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return None
    library.cuCtxGetCurrent.argtypes = (_HANDLE,)
    library.cuCtxSetCurrent.argtypes = (c_void_p,)
    return library


class Cudart:
    """One libcudart, from `load`. Safe to call from several threads.

    Every method may raise CudaError.

    Attributes:
        path: its file, or the name that the system's loader found it by.
    """

    def __init__(self, path: str, library: ctypes.CDLL) -> None:
        self.path = path
        self._library = library

    def versions(self) -> tuple[str, str]:
        """The version of CUDA of this library, "12.6", and the newest that the driver supports.

        Without a driver the latter is "none"; a library of CUDA 11 tells its own, too, as "none".
        """
        return self._version("cudaRuntimeGetVersion"), self._version("cudaDriverGetVersion")

    def fits_driver(self) -> bool:
        """Whether the driver is new enough for this library, or not there at all."""
        runtime, driver = (version.partition(".")[0] for version in self.versions())
        return "none" in (runtime, driver) or int(runtime) <= int(driver)

    def device_count(self) -> int:
        """How many GPUs there are; 0 where there is no driver either.

        Raises:
            CudaError: the driver is older than this library.
        """
        try:
            return self._number("cudaGetDeviceCount")
        except CudaError as error:
            runtime, driver = self.versions()
            # The library does not tell a driver that is not there from one that is too old.
            if error.code == _NO_DEVICE or (error.code, driver) == (_INSUFFICIENT_DRIVER, "none"):
                return 0
            if error.code == _INSUFFICIENT_DRIVER:
                raise CudaError(
                    f"NVIDIA's driver supports CUDA {driver} and {self.path} is of CUDA {runtime}; "
                    f"update the driver, or use TensorRT and libcudart of CUDA {driver}",
                    error.code,
                ) from error
            raise

    def chip(self, device: int) -> Chip:
        """What the GPU of this number is."""
        with self._expects(device):
            major, minor, multiprocessors, integrated = (
                self._number("cudaDeviceGetAttribute", attribute, device)
                for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS, _INTEGRATED)
            )
        return Chip(f"{major}.{minor}", multiprocessors, bool(integrated))

    def free_memory(self) -> int:
        """Bytes that are free on the current device."""
        free, total = c_size_t(), c_size_t()
        self.call("cudaMemGetInfo", byref(free), byref(total))
        return free.value

    @contextlib.contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Makes a GPU the calling thread's current device, and puts the former one back.

        As well as the context, which may be one of the thread's own making, as PyCUDA's are:
        cudaSetDevice replaces it by the device's primary one (CUDA Runtime API, "Interactions with
        the CUDA Driver API").
        """
        with self._expects(device):
            former, context = self._number("cudaGetDevice"), _current_context()
            self.call("cudaSetDevice", device)
        try:
            yield
        finally:
            if context is None:
                self.call("cudaSetDevice", former)
            else:
                context.make_current()

    def device_memory(self, nbytes: int) -> DeviceMemory:
        """New memory on the current device, of any content."""
        address = c_void_p()
        try:
            self.call("cudaMalloc", byref(address), nbytes)
        except CudaError as error:
            if error.code != _OUT_OF_MEMORY:
                raise
            raise CudaError(
                f"the GPU has no {nbytes:,} bytes left, as only {self.free_memory():,} are free; "
                "close other models and programs that use it, or use a smaller model",
                error.code,
            ) from error
        return DeviceMemory(self, address, nbytes)

    def host_memory(self, nbytes: int, *, mapped: bool = False) -> HostMemory:
        """New pinned memory of the CPU, of any content.

        Args:
            mapped: whether the GPU shall reach it, at `device_address`, without a copy.
        """
        address = c_void_p()
        try:
            self.call("cudaHostAlloc", byref(address), nbytes, _MAPPED if mapped else 0)
        except CudaError as error:
            if error.code != _OUT_OF_MEMORY:
                raise
            raise CudaError(
                f"CUDA cannot pin {nbytes:,} bytes of the CPU's memory; close other programs, or "
                "use a smaller model",
                error.code,
            ) from error
        return HostMemory(self, address, nbytes)

    def stream(self) -> Stream:
        """A new stream on the current device; it does not wait for the default stream."""
        handle = c_void_p()
        self.call("cudaStreamCreateWithFlags", byref(handle), _NON_BLOCKING)
        return Stream(self, handle)

    def call(self, function: str, *arguments: Any) -> None:
        """Calls one of the library's functions.

        Raises:
            CudaError: it returned anything but cudaSuccess.
        """
        code = getattr(self._library, function)(*arguments)
        if code:
            # Or another library in this thread, which looks after a call of its own, takes it for
            # that call's.
            self._library.cudaGetLastError()
            text = self._library.cudaGetErrorString(code).decode()
            raise CudaError(
                f"{function} failed: {text} (CUDA error {code}); start the program again, and "
                "look into the kernel's log, dmesg, where it comes back",
                code,
            )

    @contextlib.contextmanager
    def _expects(self, device: int) -> Iterator[None]:
        """Says of a failure of the block that the device's number is wrong, if it is."""
        try:
            yield
        except CudaError as error:
            count = self.device_count()
            if device in range(count):
                raise
            reason = (
                f"it finds {count}, numbered from 0; choose one of them"
                if count
                else "it finds no GPU; load NVIDIA's driver, and give a container access to the GPU"
            )
            raise CudaError(f"CUDA has no device {device}, as {reason}", error.code) from error

    def _number(self, function: str, *arguments: int) -> int:
        number = c_int()
        self.call(function, byref(number), *arguments)
        return number.value

    def _version(self, function: str) -> str:
        number = c_int()
        # In CUDA 11 it fails where there is no driver, and leaves the number alone.
        getattr(self._library, function)(byref(number))
        major, minor = divmod(number.value, 1000)
        return f"{major}.{minor // 10}" if number.value else "none"


class _Resource:
    """Something that is to be given back to CUDA, once."""

    _destructor: str

    def __init__(self, cudart: Cudart, handle: c_void_p) -> None:
        self._cudart = cudart
        self._handle = handle.value
        self._lock = threading.Lock()

    def _live(self) -> int:
        if self._handle is None:
            raise BackendError(f"this {type(self).__name__} was given back to CUDA; make a new one")
        return self._handle

    def _give_back(self) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            self._cudart.call(self._destructor, handle)
        except CudaError as error:
            # At the interpreter's exit the library may have gone first, and all that it had.
            if error.code != _UNLOADING:
                raise


class _Memory(_Resource):
    def __init__(self, cudart: Cudart, address: c_void_p, nbytes: int) -> None:
        super().__init__(cudart, address)
        self.nbytes = nbytes

    @property
    def address(self) -> int:
        """Where it begins."""
        return self._live()

    def free(self) -> None:
        """Gives it back; a second time does nothing."""
        self._give_back()


class DeviceMemory(_Memory):
    """Memory of a GPU."""

    _destructor = "cudaFree"


class HostMemory(_Memory):
    """Pinned memory of the CPU, which a GPU copies from and to while the CPU goes on."""

    _destructor = "cudaFreeHost"

    @property
    def device_address(self) -> int:
        """Where the GPU finds it; only of memory that was asked for as mapped."""
        address = c_void_p()
        self._cudart.call("cudaHostGetDevicePointer", byref(address), self.address, 0)
        return address.value or 0

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The beginning of it as an array, which is not to be touched once it is freed."""
        buffer = (ctypes.c_char * self.nbytes).from_address(self.address)
        array: npt.NDArray[Any] = np.ndarray(shape, dtype, memoryview(buffer))
        return array


class Stream(_Resource):
    """A queue of work for a GPU, done in its order and while the CPU goes on."""

    _destructor = "cudaStreamDestroy"

    @property
    def handle(self) -> int:
        """The cudaStream_t."""
        return self._live()

    def copy(
        self,
        to: int,
        source: int,
        nbytes: int,
        kind: Literal["host to device", "device to host"],
    ) -> None:
        """Queues a copy between addresses; the host's must be that of pinned memory."""
        self._cudart.call("cudaMemcpyAsync", to, source, nbytes, _KINDS[kind], self.handle)

    def synchronize(self) -> None:
        """Waits for all work that was queued."""
        self._cudart.call("cudaStreamSynchronize", self.handle)

    def capture(self, work: Callable[[], bool]) -> Graph | None:
        """Records the work that `work` queues, instead of doing it, for `Graph.launch` to repeat.

        Returns:
            None where `work` returns False or a CUDA call fails; the stream can be used as before.
        """
        graph, executable = c_void_p(), c_void_p()
        try:
            with contextlib.suppress(CudaError):
                self._cudart.call("cudaStreamBeginCapture", self.handle, _THREAD_LOCAL)
                try:
                    wanted = work()
                finally:
                    # A stream that goes on capturing is of no use. A failure leaves no graph.
                    with contextlib.suppress(CudaError):
                        self._cudart.call("cudaStreamEndCapture", self.handle, byref(graph))
                if wanted and graph:
                    instantiate = "cudaGraphInstantiateWithFlags"
                    self._cudart.call(instantiate, byref(executable), graph, 0)
        finally:
            if graph:
                self._cudart.call("cudaGraphDestroy", graph)
        return Graph(self._cudart, executable, self) if executable else None

    def destroy(self) -> None:
        """Gives it back, once its work is done; a second time does nothing."""
        self._give_back()


class Graph(_Resource):
    """Work that was captured: on fixed addresses and in fixed shapes."""

    _destructor = "cudaGraphExecDestroy"

    def __init__(self, cudart: Cudart, handle: c_void_p, stream: Stream) -> None:
        super().__init__(cudart, handle)
        self._stream = stream

    def launch(self) -> None:
        """Queues the work on the stream that it was captured from."""
        self._cudart.call("cudaGraphLaunch", self._live(), self._stream.handle)

    def destroy(self) -> None:
        """Gives it back; a second time does nothing."""
        self._give_back()
