"""TensorRT: engines (`.engine`, `.plan`) on NVIDIA GPUs, from TensorRT 8.6 to 11.

An engine runs only with the TensorRT that built it and on the kind of GPU that it was built on.
The library says so, if at all, in its log and by answering None; so all that can be known is
compared before it is called.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import warnings
import weakref
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, ModelError, SpecError, UsageError
from r2p_edge.runtimes.base import Options, Runtime, as_input, position
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.plan_header import read_plan
from r2p_edge.spec.model_spec import ModelSpec

if TYPE_CHECKING:
    import tensorrt as trt

CONTRACT = "r2p_edge:"
"""What the network of an engine of ours is named: this, and the digest of its contract."""

MAPPED, GRAPH = "R2P_CUDA_MAPPED", "R2P_CUDA_GRAPH"
"""Environment variables; 1 turns on what nobody has measured on a board yet: on integrated GPUs,
buffers that CPU and GPU share; and replaying a captured CUDA graph instead of launching kernels."""

CLOSE_SECONDS = 10.0
"""How long closing a model waits for a run of it that is not done."""

_JETSON = Path("/etc/nv_tegra_release")

# trt.nptype fails on old releases with new NumPy, and raises for types that NumPy lacks.
_DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}


class TensorRT(Runtime):
    """One engine with one execution context. Devices: "cuda", "cuda:1"."""

    name = "tensorrt"
    builds_from = (".onnx",)

    def __init__(self, session: _Session, spec: ModelSpec, device: str) -> None:
        self._session = session
        # At the interpreter's exit too, while CUDA is still there to free from.
        self._close = weakref.finalize(self, session.close)
        self.device = device
        self.precision = spec.precision
        self.input_shape = session.input.array.shape
        self.input_dtype = session.input.array.dtype.name
        self.output_shape = session.output.array.shape
        self.contract = session.contract

    @staticmethod
    def library() -> ModuleType:
        library = import_library("tensorrt", _install())
        import tensorrt as trt

        if not hasattr(trt.IExecutionContext, "execute_async_v3"):
            raise BackendError(
                f"tensorrt {trt.__version__} lacks named tensors; install 8.6 or newer, which "
                "JetPack 6 has"
            )
        return library

    @classmethod
    def devices(cls) -> list[str]:
        cls.library()
        count = cudart.load().device_count()
        return [f"cuda:{number}" if number else "cuda" for number in range(count)]

    @classmethod
    def prepare(cls, model: Path, folder: Path, options: Options) -> Path:
        from r2p_edge.runtimes.tensorrt.build import BuildOptions, plan_from_onnx

        if options.precision not in (None, "fp32"):
            raise BackendError(f"an engine in {options.precision} is not made for a trial")
        number = device_number(options.device or "cuda", cls.devices())
        plan = folder / f"{model.stem}.engine"
        plan.write_bytes(plan_from_onnx(model, BuildOptions(model.stem, "fp32", number=number)))
        return plan

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> TensorRT:
        _check_options(path, spec, options)
        cls.library()
        import tensorrt as trt

        _check_version(path, spec, trt.__version__)
        device = (options.device or "cuda").removesuffix(":0")
        number = device_number(device, cls.devices())
        _check_chip(path, spec, cudart.load().chip(number))
        return cls(_Session(path, spec, number), spec, device)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = as_input(batch, self)
        with self._session.lock:
            if not self._close.alive:
                raise BackendError("this model is closed; open it again")
            return self._session.run(array)

    def close(self) -> None:
        self._close()


def device_number(device: str, available: list[str]) -> int:
    """Of "cuda" or "cuda:1".

    Raises:
        BackendError: there is no such device.
    """
    if device not in available:
        raise BackendError(
            f"tensorrt has no device {device!r} here; it has {', '.join(available) or 'none'}: "
            + ("choose one of them" if available else "check that the GPU's driver is loaded")
        )
    return available.index(device)


class Log:
    """What TensorRT said of errors; it answers with None and tells the reason here alone."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=20)

    def add(self, message: str) -> None:
        self._lines.append(" ".join(message.split()))

    def clear(self) -> None:
        self._lines.clear()

    def reason(self) -> str:
        """The last errors; TensorRT tells the cause first and then what failed of it."""
        lines = list(dict.fromkeys(self._lines))[-3:]
        return " / ".join(line[:300] for line in lines) or "it gave no reason"


class Logger(NamedTuple):
    """What TensorRT is given to log to, and what it logged."""

    logger: trt.ILogger
    log: Log


@functools.cache
def logger_of(library: ModuleType) -> Logger:
    """The process's one logger for a `tensorrt` module.

    TensorRT logs to the first one alone as long as anything uses that, so that its reasons may go
    to another library's.
    """
    import tensorrt as trt

    log = Log()

    class ErrorLogger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # asked for by pybind11

        # Called from threads of TensorRT, where an exception would be printed and lost.
        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                log.add(msg)

    return Logger(ErrorLogger(), log)


class _Tensor(NamedTuple):
    """An input or output: where the GPU finds it, and this side's buffer for it."""

    address: int
    host: int
    array: npt.NDArray[Any]


class _Session:
    """An engine with its context, stream and buffers, made once and kept until `close`.

    Runs hold its lock, for which `close` waits: at the interpreter's exit a daemon thread may be in
    one, and would read what is gone.

    No local variable holds what is TensorRT's, or an exception that somebody keeps would, too.
    """

    def __init__(self, path: Path, spec: ModelSpec, number: int) -> None:
        self._cuda, self._number, self._stack = cudart.load(), number, ExitStack()
        self._process = os.getpid()
        self.lock = threading.Lock()
        self._log = logger_of(TensorRT.library()).log
        try:
            with self._cuda.on(number):
                self._open(path, spec)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, spec: ModelSpec) -> None:
        self._stream = self._cuda.stream()
        self._stack.callback(self._stream.destroy)
        # The context goes before the buffers that it knows, and these before their stream.
        buffers = self._stack.enter_context(ExitStack())
        self._stack.callback(self._release)
        self._log.clear()
        self._load(path)
        self.contract = _contract(self._engine.name)
        names, inputs = self._names(path)
        self._set_shape(inputs[0], path, spec)
        tensors = {name: self._tensor(name, buffers) for name in names}
        outputs = [name for name in names if name not in inputs]
        self.input = tensors[inputs[0]]
        self.output = tensors[outputs[position("output", spec.output.name, outputs)]]
        self._graph = None
        if os.environ.get(GRAPH) == "1":
            # What the first run sets up cannot be captured.
            self.run(np.zeros_like(self.input.array))
            self._graph = self._stream.capture(self._enqueue)
            if self._graph is not None:
                self._stack.callback(self._graph.destroy)

    def _load(self, path: Path) -> None:
        import tensorrt as trt

        try:
            self._runtime = trt.Runtime(logger_of(TensorRT.library()).logger)
        except TypeError as error:  # what pybind11 makes of a null pointer
            raise BackendError(
                f"tensorrt cannot run {path} here ({self._log.reason()}); check that the GPU's "
                "driver is new enough for it and that GPU memory is free"
            ) from error
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            if "memory" in self._log.reason().lower():
                raise self._no_room(path)
            raise ModelError(
                f"tensorrt {trt.__version__} cannot load {path} ({self._log.reason()}); build the "
                f"engine on this machine: {_rebuild(path)}"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._no_room(path)

    def _no_room(self, path: Path) -> BackendError:
        return BackendError(
            f"tensorrt cannot run {path} here ({self._log.reason()}); "
            f"{self._cuda.free_memory() >> 20} MiB of GPU memory are free, so close what else uses "
            "it"
        )

    def _release(self) -> None:
        for name in ("_context", "_engine", "_runtime"):
            self.__dict__.pop(name, None)

    def _names(self, path: Path) -> tuple[list[str], list[str]]:
        """Of all tensors, and of the inputs, which must be one.

        Raises:
            ModelError: there are more, or a tensor is of a kind that is not handled here.
        """
        import tensorrt as trt

        count = self._engine.num_io_tensors
        names = [self._engine.get_tensor_name(number) for number in range(count)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        inputs = [name for name in names if modes[name] == trt.TensorIOMode.INPUT]
        if len(inputs) != 1:
            raise ModelError(f"{path} has {len(inputs)} inputs; expected one clip")
        for name in names:
            kind = self._engine.get_tensor_dtype(name).name
            if (
                kind not in _DTYPES
                or self._engine.get_tensor_format(name) != trt.TensorFormat.LINEAR
                or self._engine.get_tensor_location(name) != trt.TensorLocation.DEVICE
            ):
                raise ModelError(
                    f"tensor {name} of {path} is {kind} in "
                    f"{self._engine.get_tensor_format_desc(name)}; expected one of "
                    f"{', '.join(_DTYPES)} in linear format on the GPU, so build the engine "
                    "without formats of its own"
                )
        return names, inputs

    def _set_shape(self, name: str, path: Path, spec: ModelSpec) -> None:
        """Gives the input its shape; axes that the engine leaves open are as in the spec.

        Raises:
            SpecError: the engine was not built for that.
            ModelError: an output is as large as the data makes it.
        """
        import tensorrt as trt

        shape = dims(self._engine.get_tensor_shape(name))
        if len(shape) == len(spec.input_shape):
            shape = tuple(want if size < 0 else size for size, want in zip(shape, spec.input_shape))
        if not self._context.set_input_shape(name, trt.Dims(list(shape))):
            least, _, most = map(dims, self._engine.get_tensor_profile_shape(name, 0))
            raise SpecError(
                f"{path} takes {least} to {most} and its spec says {spec.input_shape}; correct "
                "clip, crop and input in the spec"
            )
        count = self._engine.num_io_tensors
        names = [self._engine.get_tensor_name(number) for number in range(count)]
        open_ones = [other for other in names if -1 in dims(self._context.get_tensor_shape(other))]
        if open_ones:
            raise ModelError(f"{', '.join(open_ones)} of {path} has no shape of its own; fix it")

    def _tensor(self, name: str, buffers: ExitStack) -> _Tensor:
        """Buffers for a tensor, made known to the context."""
        shape = dims(self._context.get_tensor_shape(name))
        dtype = np.dtype(_DTYPES[self._engine.get_tensor_dtype(name).name])
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
            raise BackendError(f"tensorrt refuses a buffer for {name} ({self._log.reason()})")
        return _Tensor(address, host.address, host.array(shape, dtype))

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        with self._cuda.on(self._number):
            np.copyto(self.input.array, batch)
            self._log.clear()
            try:
                if self._graph is not None:
                    self._graph.launch()
                elif not self._enqueue():
                    raise BackendError(f"tensorrt failed ({self._log.reason()})")
            finally:
                # Nothing may read or write the buffers any more when this returns.
                self._stream.synchronize()
            answer: npt.NDArray[Any] = self.output.array.copy()
            return answer

    def _enqueue(self) -> bool:
        """Puts a run onto the stream: input to the GPU, the network, output back."""
        one, other = self.input, self.output
        if one.address != one.host:
            self._stream.copy(one.address, one.host, one.array.nbytes, "host to device")
        done = bool(self._context.execute_async_v3(self._stream.handle))
        if other.address != other.host:
            self._stream.copy(other.host, other.address, other.array.nbytes, "device to host")
        return done

    def close(self) -> None:
        if os.getpid() != self._process:
            return  # a fork's copy, in which CUDA does not work
        if not self.lock.acquire(timeout=CLOSE_SECONDS):
            return  # a run hangs, and what it uses stays its own
        with ExitStack() as last:
            last.callback(self.lock.release)
            # After an error that CUDA does not recover from, `on` fails before it came to that.
            last.callback(self._stack.close)
            with self._cuda.on(self._number):
                self._stack.close()


def dims(found: trt.Dims) -> tuple[int, ...]:
    """A shape; -1 for an open axis."""
    return tuple(found[axis] for axis in range(len(found)))


def _contract(name: str) -> str | None:
    return name.removeprefix(CONTRACT) if name.startswith(CONTRACT) else None


def _check_options(path: Path, spec: ModelSpec, options: Options) -> None:
    if options.threads is not None or options.cache is not None:
        raise UsageError("tensorrt has neither threads nor a cache of models; leave them out")
    if options.precision not in (None, spec.precision):
        raise BackendError(
            f"{path} was built to compute in {spec.precision} and not in {options.precision}; "
            "build an engine of that precision: " + _rebuild(path, str(options.precision))
        )


def _check_version(path: Path, spec: ModelSpec, version: str) -> None:
    """Compares who built the engine with who is to run it.

    Raises:
        ModelError: it is no engine, or that of another version.
    """
    try:
        plan = read_plan(path)
    except OSError as error:
        raise ModelError(
            f"model {path} cannot be read ({error.strerror}); check its permissions"
        ) from error
    target = spec.target or {}
    if not plan.recognised and target.get("runtime") != "tensorrt":
        raise ModelError(
            f"{path} does not begin as an engine of TensorRT 8.6 or newer does; give an engine, "
            "or export the model"
        )
    built = plan.version or _numbers(str(target.get("tensorrt", "")))
    here = _numbers(version)
    # The Python module names three numbers or four.
    if any(one != other for one, other in zip(built, here)):
        raise ModelError(
            f"{path} was built by TensorRT {'.'.join(map(str, built))} and this is {version}; an "
            f"engine runs with the version that built it, so build it here: {_rebuild(path)}"
        )


def _check_chip(path: Path, spec: ModelSpec, chip: cudart.Chip) -> None:
    """Compares the GPU that the engine was built on with the one that is to run it.

    Raises:
        ModelError: it is of another generation.
    """
    target = spec.target or {}
    built = target.get("compute_capability", chip.compute_capability)
    if built != chip.compute_capability:
        raise ModelError(
            f"{path} was built for a GPU of compute capability {built} and this one has "
            f"{chip.compute_capability}; build it here: {_rebuild(path)}"
        )
    count = target.get("multiprocessors", chip.multiprocessors)
    if count != chip.multiprocessors:
        # Of another model; or of the same in another power mode, where it still runs.
        warnings.warn(
            f"{path} was tuned on a GPU of {count} multiprocessors and this one has "
            f"{chip.multiprocessors}; it may be slower than one that is built here: "
            f"{_rebuild(path)}",
            RuntimeWarning,
            stacklevel=2,
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Of "10.13.3.9.post1": (10, 13, 3, 9)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _rebuild(path: Path, precision: str | None = None) -> str:
    option = f" --precision {precision}" if precision else ""
    return f"r2p-edge export MODEL.onnx --to tensorrt{option} --out {path.parent}"


def _install() -> str:
    if _JETSON.exists():
        return (
            "it comes with JetPack (sudo apt install nvidia-jetpack) for the system's Python, so "
            "make the environment with python3 -m venv --system-site-packages"
        )
    return "pip install tensorrt, or tensorrt-cu12 where the driver is older than r580"
