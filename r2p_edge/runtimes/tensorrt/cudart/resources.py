"""Memory, streams and graphs of CUDA, each of which is given back once."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable
from ctypes import byref, c_void_p
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError
from r2p_edge.runtimes.tensorrt.cudart.binding import Binding, CudaError

_UNLOADING = 4  # cudaErrorCudartUnloading
_KINDS = {"host to device": 1, "device to host": 2}  # cudaMemcpyKind
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal


class _Resource:
    """A handle that is to be given back to CUDA, once."""

    _destructor: str

    def __init__(self, cudart: Binding, handle: c_void_p) -> None:
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
            # At the interpreter's exit the library may be gone first, with everything it had.
            if error.code != _UNLOADING:
                raise


class _Memory(_Resource):
    """A block of memory.

    Attributes:
        nbytes: its size in bytes.
    """

    def __init__(self, cudart: Binding, address: c_void_p, nbytes: int) -> None:
        super().__init__(cudart, address)
        self.nbytes = nbytes

    @property
    def address(self) -> int:
        """Address of its first byte."""
        return self._live()

    def free(self) -> None:
        """Give it back; a second time does nothing."""
        self._give_back()


class DeviceMemory(_Memory):
    """Memory of a GPU."""

    _destructor = "cudaFree"


class HostMemory(_Memory):
    """Pinned memory of the CPU, which a GPU copies from and to while the CPU goes on."""

    _destructor = "cudaFreeHost"

    @property
    def device_address(self) -> int:
        """Address by which the GPU reaches it, if it was allocated as mapped."""
        address = c_void_p()
        self._cudart.call("cudaHostGetDevicePointer", byref(address), self.address, 0)
        return address.value or 0

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return the beginning of it as an array, which must not be used once it is freed."""
        buffer = (ctypes.c_char * self.nbytes).from_address(self.address)
        array: npt.NDArray[Any] = np.ndarray(shape, dtype, memoryview(buffer))
        return array


class CudaStream(_Resource):
    """A queue of work for a GPU, done in its order while the CPU goes on."""

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
        """Queue a copy between addresses; the host's must be that of pinned memory."""
        self._cudart.call("cudaMemcpyAsync", to, source, nbytes, _KINDS[kind], self.handle)

    def fill(self, to: int, value: int, nbytes: int) -> None:
        """Queue the writing of a byte, from 0 to 255, to each of those at a GPU's address."""
        self._cudart.call("cudaMemsetAsync", to, value, nbytes, self.handle)

    def synchronize(self) -> None:
        """Wait for all queued work."""
        self._cudart.call("cudaStreamSynchronize", self.handle)

    def capture(self, work: Callable[[], bool]) -> CudaGraph | None:
        """Record the work that `work` queues, instead of doing it, for `CudaGraph.launch`.

        Returns:
            None if `work` returns False or a CUDA call fails; the stream can be used as before.
        """
        graph, executable = c_void_p(), c_void_p()
        try:
            with contextlib.suppress(CudaError):
                self._cudart.call("cudaStreamBeginCapture", self.handle, _THREAD_LOCAL)
                try:
                    wanted = work()
                finally:
                    # A stream that goes on capturing is unusable. A failure leaves no graph.
                    with contextlib.suppress(CudaError):
                        self._cudart.call("cudaStreamEndCapture", self.handle, byref(graph))
                if wanted and graph:
                    instantiate = "cudaGraphInstantiateWithFlags"
                    self._cudart.call(instantiate, byref(executable), graph, 0)
        finally:
            if graph:
                self._cudart.call("cudaGraphDestroy", graph)
        return CudaGraph(self._cudart, executable, self) if executable else None

    def destroy(self) -> None:
        """Give it back, once its work is done; a second time does nothing."""
        self._give_back()


class CudaGraph(_Resource):
    """Captured work on fixed addresses and in fixed shapes."""

    _destructor = "cudaGraphExecDestroy"

    def __init__(self, cudart: Binding, handle: c_void_p, stream: CudaStream) -> None:
        super().__init__(cudart, handle)
        self._stream = stream

    def launch(self) -> None:
        """Queue the work on the stream from which it was captured."""
        self._cudart.call("cudaGraphLaunch", self._live(), self._stream.handle)

    def destroy(self) -> None:
        """Give it back; a second time does nothing."""
        self._give_back()
