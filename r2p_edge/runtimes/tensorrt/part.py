"""Parts of a per-frame form on TensorRT: engines that run on memory of the GPU, which stays."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError, ModelError
from r2p_edge.runtimes.base import closed_model
from r2p_edge.runtimes.part import PartCall, PartMemory, PartModel, PartTensor
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.cudart.resources import DeviceMemory, HostMemory
from r2p_edge.runtimes.tensorrt.library import dims
from r2p_edge.runtimes.tensorrt.session import DTYPES, Session
from r2p_edge.spec import ModelSpec


class PartSession(Session):
    """An engine of a part, with a context and a stream; each run is told its tensors' addresses.

    Attributes:
        inputs, outputs: its tensors by name.
    """

    def _open(self, path: Path, spec: ModelSpec) -> None:
        self._stream = self._cuda.stream()
        self._stack.callback(self._stream.destroy)
        self._stack.callback(self._release)
        self._log.clear()
        self._load(path)
        names, inputs = self._names(path)
        found = {name: self._described(name) for name in names}
        open_ones = [name for name, tensor in found.items() if -1 in tensor.shape]
        if open_ones:
            raise ModelError(
                f"{', '.join(open_ones)} of {path} has no shape of its own; export the per-frame "
                "form again"
            )
        self.inputs = {name: found[name] for name in inputs}
        self.outputs = {name: found[name] for name in names if name not in inputs}
        self._bound: dict[str, int] = {}

    def _described(self, name: str) -> PartTensor:
        dtype = np.dtype(DTYPES[self._engine.get_tensor_dtype(name).name]).name
        return PartTensor(dims(self._engine.get_tensor_shape(name)), dtype)

    def memory(self, shape: tuple[int, ...], dtype: str, *, shown: bool) -> DeviceArray:
        """Return new memory of the GPU; see `PartModel.memory`.

        Raises:
            BackendError: there is too little.
        """
        with self._cuda.on(self._number):
            return DeviceArray(self, self._cuda, shape, dtype, shown)

    def run_on(self, addresses: Mapping[str, int]) -> None:
        """Compute the outputs at their addresses from the inputs at theirs.

        Raises:
            BackendError: TensorRT or CUDA failed.
        """
        with self._cuda.on(self._number):
            for name, address in addresses.items():
                if self._bound.get(name) == address:
                    continue
                if not self._context.set_tensor_address(name, address):
                    raise BackendError(
                        f"{self._trt.__name__} refuses memory for {name} ({self._log.reason()})"
                    )
                self._bound[name] = address
            self._log.clear()
            try:
                if not self._context.execute_async_v3(self._stream.handle):
                    raise BackendError(f"{self._trt.__name__} failed ({self._log.reason()})")
            finally:
                # No work may use the memory any more when this returns.
                self._stream.synchronize()
            if self._caches is not None:
                self._cache.keep()

    def fill(self, address: int, value: int, nbytes: int) -> None:
        """Write a byte to each of those at an address of the GPU."""
        with self._cuda.on(self._number):
            self._stream.fill(address, value, nbytes)
            self._stream.synchronize()

    def copy(self, array: npt.NDArray[Any], host: int, device: int, *, send: bool) -> None:
        """Copy an array in pinned memory to the GPU, or back."""
        with self._cuda.on(self._number):
            if send:
                self._stream.copy(device, host, array.nbytes, "host to device")
            else:
                self._stream.copy(host, device, array.nbytes, "device to host")
            self._stream.synchronize()


class DeviceArray(PartMemory):
    """Memory of a GPU, and pinned memory of the CPU where the host reads or writes it."""

    def __init__(
        self,
        session: PartSession,
        cuda: cudart.Cudart,
        shape: tuple[int, ...],
        dtype: str,
        shown: bool,
    ) -> None:
        self._session, self._size = session, int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = cuda.device_memory(self._size)
        weakref.finalize(self, _free, memory, os.getpid())
        array, self._host = np.empty(0, dtype), 0
        if shown:
            pinned = cuda.host_memory(self._size)
            weakref.finalize(self, _free, pinned, os.getpid())
            array, self._host = pinned.array(shape, dtype), pinned.address
        super().__init__(array, memory.address)

    @property
    def nbytes(self) -> int:
        return self._size

    def fill(self, value: int) -> None:
        with self._session.lock:
            self._session.fill(self.holder, value & 0xFF, self._size)  # of int8 a byte, too

    def send(self) -> None:
        with self._session.lock:
            self._session.copy(self.array, self._host, self.holder, send=True)

    def fetch(self) -> None:
        with self._session.lock:
            self._session.copy(self.array, self._host, self.holder, send=False)


def _free(memory: DeviceMemory | HostMemory, process: int) -> None:
    if os.getpid() == process:  # in a fork's copy CUDA does not work
        memory.free()


class TensorRTPart(PartModel):
    """An engine with one context, in which calls take turns."""

    batches = False

    def __init__(self, session: PartSession) -> None:
        self._session = session
        # Also at the interpreter's exit, before CUDA is unloaded.
        self._close = weakref.finalize(self, session.close)
        self.inputs, self.outputs = session.inputs, session.outputs

    def memory(self, shape: tuple[int, ...], dtype: str, *, shown: bool = True) -> PartMemory:
        return self._session.memory(shape, dtype, shown=shown)

    def holder(self, array: npt.NDArray[Any]) -> Any:
        raise BackendError("TensorRT runs on memory of the GPU; ask for it with memory()")

    def call(self) -> PartCall:
        return _Call(self)

    def run(self, addresses: Mapping[str, int]) -> None:
        """Run on tensors at these addresses; from any thread."""
        with self._session.lock:
            if not self._close.alive:
                raise closed_model()
            self._session.run_on(addresses)


class _Call(PartCall):
    def __init__(self, part: TensorRTPart) -> None:
        self._part = part
        self._addresses: dict[str, int] = {}

    def bind(self, name: str, holder: Any) -> None:
        self._addresses[name] = holder

    def run(self) -> None:
        self._part.run(self._addresses)
