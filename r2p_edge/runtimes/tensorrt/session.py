"""One engine, loaded, with its execution context and buffers."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError, ModelError, SpecError, unreadable_model
from r2p_edge.runtimes.base import check_one_input, position
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.library import as_library, dims, logger_of, rebuild_command
from r2p_edge.runtimes.tensorrt.runtime_cache import RuntimeCache, unfitness
from r2p_edge.spec import ModelSpec

CONTRACT = "r2p_edge:"
"""Prefix of the network's name in an engine of ours; the digest of its contract follows."""

MAPPED, GRAPH = "R2P_CUDA_MAPPED", "R2P_CUDA_GRAPH"
"""Environment variables; 1 turns on what nobody has measured on a board yet: on integrated GPUs,
buffers that CPU and GPU share; and replaying a captured CUDA graph instead of launching kernels."""

_CLOSE_SECONDS = 10.0  # that closing a model waits for a run in progress

_logger = logging.getLogger(__name__)

# trt.nptype fails on old releases with new NumPy, and raises for types that NumPy lacks.
DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}
"""NumPy's types of tensors, by TensorRT's names."""


class _Tensor(NamedTuple):
    """An input or output: its address on the GPU, and the CPU's buffer with its address."""

    address: int
    host: int
    array: npt.NDArray[Any]


class Session:
    """An engine with its context, stream and buffers, made once and kept until `close`.

    Runs take its lock, for which `close` waits: at the interpreter's exit a daemon thread may be in
    one, and would read freed memory. TensorRT's objects are attributes and never local variables,
    which an exception's traceback would keep alive.

    Args:
        path: the engine.
        spec: its contract.
        number: of the GPU.
        module: TensorRT's, or that of TensorRT for RTX.
        caches: folder of runtime caches, which the latter alone has; None for none.

    Attributes:
        input, output: the tensors of the clip and of the answer.
        contract: digest in the engine's name; None if another program built it.
        lock: to be taken around `run`.
    """

    contract: str | None
    input: _Tensor
    output: _Tensor

    def __init__(
        self,
        path: Path,
        spec: ModelSpec,
        number: int,
        module: ModuleType,
        caches: Path | None = None,
    ) -> None:
        self._cuda, self._number, self._stack = cudart.load(), number, ExitStack()
        self._trt, self._caches = as_library(module), caches
        self._process = os.getpid()
        self.lock = threading.Lock()
        self._logger, self._log = logger_of(module)
        try:
            with self._cuda.on(number):
                self._open(path, spec)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, spec: ModelSpec) -> None:
        """Load the engine and allocate everything that runs need."""
        self._stream = self._cuda.stream()
        self._stack.callback(self._stream.destroy)
        # The context is freed before the buffers that it uses, and these before their stream.
        buffers = self._stack.enter_context(ExitStack())
        self._stack.callback(self._release)
        self._log.clear()
        self._load(path)
        self.contract = _contract(self._engine.name)
        names, inputs = self._names(path)
        check_one_input(path, len(inputs))
        self._set_shape(inputs[0], path, spec)
        tensors = {name: self._tensor(name, buffers) for name in names}
        outputs = [name for name in names if name not in inputs]
        self.input = tensors[inputs[0]]
        self.output = tensors[outputs[position("output", spec.output.name, outputs)]]
        self._graph = None
        if os.environ.get(GRAPH) == "1":
            # The set-up in the first run cannot be captured.
            self.run(np.zeros_like(self.input.array))
            self._graph = self._stream.capture(self._enqueue)
            if self._graph is not None:
                self._stack.callback(self._graph.destroy)
            else:
                _logger.warning("%s cannot be captured as a CUDA graph; it runs without", path)

    def _load(self, path: Path) -> None:
        """Deserialise the engine and make its context.

        Raises:
            BackendError: TensorRT does not run here, or GPU memory is short.
            ModelError: the file cannot be read, or TensorRT refuses the engine.
        """
        name = self._trt.__name__
        try:
            self._runtime = self._trt.Runtime(self._logger)
        except TypeError as error:  # pybind11's answer to a null pointer
            raise BackendError(
                f"{name} cannot run {path} here ({self._log.reason()}); check that the GPU's "
                "driver is new enough for it and that GPU memory is free"
            ) from error
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise unreadable_model(path, error) from error
        asked = hasattr(self._runtime, "get_engine_validity")  # of TensorRT for RTX alone
        if asked and (reason := unfitness(self._runtime, plan)):
            raise ModelError(
                f"{path} does not fit this GPU, its driver or {name} {self._trt.__version__} "
                f"({reason}); build it for them: {rebuild_command(path, name=name)}"
            )
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            if "memory" in self._log.reason().lower():
                raise self._no_room(path)
            raise ModelError(
                f"{name} {self._trt.__version__} cannot load {path} ({self._log.reason()}); build "
                f"the engine for this machine: {rebuild_command(path, name=name)}"
            )
        if self._caches is None:
            self._context = self._engine.create_execution_context()
        else:
            gpu = f"{self._trt.__version__}-sm{self._cuda.chip(self._number).compute_capability}"
            self._cache = RuntimeCache(self._caches, plan, gpu)
            self._context = self._cache.context(self._engine)
        if self._context is None:
            raise self._no_room(path)

    def _no_room(self, path: Path) -> BackendError:
        """Return the error to raise where GPU memory is short."""
        return BackendError(
            f"{self._trt.__name__} cannot run {path} here ({self._log.reason()}); "
            f"{self._cuda.free_memory() >> 20} MiB of GPU memory are free, so close what else uses "
            "it"
        )

    def _release(self) -> None:
        """Free TensorRT's objects, in the order in which they depend on each other."""
        for name in ("_context", "_cache", "_engine", "_runtime"):
            self.__dict__.pop(name, None)

    def _names(self, path: Path) -> tuple[list[str], list[str]]:
        """Return the names of all tensors, and of the inputs.

        Raises:
            ModelError: a tensor is of an unsupported kind.
        """
        trt = self._trt
        count = self._engine.num_io_tensors
        names = [self._engine.get_tensor_name(number) for number in range(count)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        inputs = [name for name in names if modes[name] == trt.TensorIOMode.INPUT]
        for name in names:
            kind = self._engine.get_tensor_dtype(name).name
            if (
                kind not in DTYPES
                or self._engine.get_tensor_format(name) != trt.TensorFormat.LINEAR
                or self._engine.get_tensor_location(name) != trt.TensorLocation.DEVICE
            ):
                raise ModelError(
                    f"tensor {name} of {path} is {kind} in "
                    f"{self._engine.get_tensor_format_desc(name)}; expected one of "
                    f"{', '.join(DTYPES)} in linear format on the GPU, so build the engine "
                    "without formats of its own"
                )
        return names, inputs

    def _set_shape(self, name: str, path: Path, spec: ModelSpec) -> None:
        """Give the input its shape; open axes of the engine are filled as in the spec.

        Raises:
            SpecError: the engine was not built for that shape.
            ModelError: the size of an output depends on the data.
        """
        shape = dims(self._engine.get_tensor_shape(name))
        if len(shape) == len(spec.input_shape):
            shape = tuple(want if size < 0 else size for size, want in zip(shape, spec.input_shape))
        if not self._context.set_input_shape(name, self._trt.Dims(list(shape))):
            least, _, most = map(dims, self._engine.get_tensor_profile_shape(name, 0))
            raise SpecError(
                f"{path} takes {least} to {most} and its spec says {spec.input_shape}; correct "
                "clip, crop and input in the spec"
            )
        count = self._engine.num_io_tensors
        names = [self._engine.get_tensor_name(number) for number in range(count)]
        open_ones = [other for other in names if -1 in dims(self._context.get_tensor_shape(other))]
        if open_ones:
            raise ModelError(
                f"{', '.join(open_ones)} of {path} has no shape of its own; export the model with "
                "fixed shapes"
            )

    def _tensor(self, name: str, buffers: ExitStack) -> _Tensor:
        """Return buffers for a tensor, registered with the context."""
        shape = dims(self._context.get_tensor_shape(name))
        dtype = np.dtype(DTYPES[self._engine.get_tensor_dtype(name).name])
        nbytes = int(np.prod(shape)) * dtype.itemsize
        shared = os.environ.get(MAPPED) == "1" and self._cuda.chip(self._number).integrated
        host = self._cuda.host_memory(nbytes, mapped=shared)
        buffers.callback(host.free)
        if shared:
            address = host.device_address
        else:
            device = self._cuda.device_memory(nbytes)
            buffers.callback(device.free)
            address = device.address
        if not self._context.set_tensor_address(name, address):
            raise BackendError(
                f"{self._trt.__name__} refuses a buffer for {name} ({self._log.reason()})"
            )
        return _Tensor(address, host.address, host.array(shape, dtype))

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the output for one input, a new array.

        Raises:
            BackendError: TensorRT or CUDA failed.
        """
        with self._cuda.on(self._number):
            np.copyto(self.input.array, batch)
            self._log.clear()
            try:
                if self._graph is not None:
                    self._graph.launch()
                elif not self._enqueue():
                    raise BackendError(f"{self._trt.__name__} failed ({self._log.reason()})")
            finally:
                # No work may use the buffers any more when this returns.
                self._stream.synchronize()
            if self._caches is not None:
                self._cache.keep()
            answer: npt.NDArray[Any] = self.output.array.copy()
            return answer

    def _enqueue(self) -> bool:
        """Queue a run on the stream: input to the GPU, the network, output back."""
        one, other = self.input, self.output
        if one.address != one.host:
            self._stream.copy(one.address, one.host, one.array.nbytes, "host to device")
        done = bool(self._context.execute_async_v3(self._stream.handle))
        if other.address != other.host:
            self._stream.copy(other.host, other.address, other.array.nbytes, "device to host")
        return done

    def close(self) -> None:
        """Free everything; a run in progress is waited for, up to ten seconds."""
        if os.getpid() != self._process:
            return  # a fork's copy, in which CUDA does not work
        if not self.lock.acquire(timeout=_CLOSE_SECONDS):
            return  # a run hangs, and keeps what it uses
        with ExitStack() as last:
            last.callback(self.lock.release)
            # A second time, because after an unrecoverable CUDA error `on` fails before the first.
            last.callback(self._stack.close)
            with self._cuda.on(self._number):
                self._stack.close()


def _contract(name: str) -> str | None:
    """Return the digest in the name of an engine's network, if r2p_edge wrote it."""
    return name.removeprefix(CONTRACT) if name.startswith(CONTRACT) else None
