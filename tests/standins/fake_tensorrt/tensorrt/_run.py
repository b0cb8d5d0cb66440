"""From a plan to results."""

from __future__ import annotations

import ctypes
import functools
import gc
import itertools
import os
import threading
import time

import numpy as np

from . import _cuda, _plan
from ._build import register
from ._core import (
    API,
    ENUMS,
    NUMBERS,
    RTX,
    Dims,
    IHostMemory,
    Owned,
    bound,
    check,
    error,
    size_t,
    sizes,
)

__all__ = ["ICudaEngine", "IExecutionContext", "IRuntimeCache", "IRuntimeConfig", "Runtime"]

_Mode, _Location = ENUMS["TensorIOMode"], ENUMS["TensorLocation"]
_Format, _DataType = ENUMS["TensorFormat"], ENUMS["DataType"]
_TYPES = {
    "tensor(float)": (_DataType.FLOAT, np.float32),
    "tensor(float16)": (_DataType.HALF, np.float16),
    "tensor(int8)": (_DataType.INT8, np.int8),
    "tensor(int32)": (_DataType.INT32, np.int32),
    "tensor(bool)": (_DataType.BOOL, np.bool_),
    "tensor(uint8)": (_DataType.UINT8, np.uint8),
}
if "INT64" in API["DataType"]:
    _TYPES["tensor(int64)"] = (_DataType.INT64, np.int64)


class _Tensor:
    def __init__(self, end, mode):
        self.name, self.mode = end.name, mode
        self.shape = tuple(size if isinstance(size, int) else -1 for size in end.shape)
        self.dtype, self.numpy = _TYPES[end.type]

    def nbytes(self, shape):
        return int(np.prod(shape)) * np.dtype(self.numpy).itemsize


class _Program:
    """The computation of a plan."""

    def __init__(self, record, model):
        self.record = record
        self._shapes = {}
        self._session = _plan.session(model, self.record)
        self.tensors = {
            end.name: _Tensor(end, mode)
            for ends, mode in (
                (self._session.get_inputs(), _Mode.INPUT),
                (self._session.get_outputs(), _Mode.OUTPUT),
            )
            for end in ends
        }

    def named(self, mode):
        return [each for each in self.tensors.values() if each.mode == mode]

    def profile(self, tensor):
        """Return the smallest, best and largest shape of an input."""
        return self.record["profile"].get(tensor.name) or [tensor.shape] * 3

    def run(self, arrays):
        """Return {name: array} of the outputs, as exact as the plan's precision."""
        outputs = self.named(_Mode.OUTPUT)
        found = self._session.run([each.name for each in outputs], arrays)
        if not self.record["typed"] and "FP16" in self.record["flags"]:
            found = [
                each.astype(np.float16).astype(each.dtype) if each.dtype == np.float32 else each
                for each in found
            ]
        return {tensor.name: array for tensor, array in zip(outputs, found)}

    def shapes(self, inputs):
        """Return {name: shape} of every tensor, given those of the inputs."""
        key = tuple(sorted(inputs.items()))
        if key not in self._shapes:
            zeros = {name: np.zeros(shape, self.tensors[name].numpy) for name, shape in key}
            outputs = {name: array.shape for name, array in self.run(zeros).items()}
            self._shapes[key] = {**inputs, **outputs}
        return self._shapes[key]


@bound
class Runtime(Owned):
    def __init__(self, logger):
        register(self, logger, "createInferRuntime")

    def deserialize_cuda_engine(self, serialized_engine):
        view = memoryview(serialized_engine)
        if not view.c_contiguous:
            raise BufferError("the buffer is not contiguous")
        try:
            record, model = _plan.read(bytes(view), NUMBERS, (b"vtrt" if RTX else b"ftrt",))
            here, there = _cuda.capability(), record["capability"]
            if here not in record.get("chips", [there]):
                raise _plan.PlanError(
                    6,
                    "The engine plan file is generated on an incompatible device, expecting "
                    f"compute {here} got compute {there}, please rebuild.",
                )
        except _plan.PlanError as refusal:
            error(self._logger, "IRuntime::deserializeCudaEngine", *refusal.args)
            error(self._logger, "IRuntime::deserializeCudaEngine", 4, "Deserialization failed.")
            return None
        return _or_none(ICudaEngine._make(self, _Program(record, model)), len(model))

    @property
    def engine_header_size(self):
        return _plan.HEADER_SIZE

    def get_engine_validity(self, buffer):
        header = bytes(memoryview(buffer))
        assert len(header) == _plan.HEADER_SIZE, "what is asked for is the header"
        validity, reason = ENUMS["EngineValidity"], ENUMS["EngineInvalidityDiagnostics"]
        if header[:4] != b"vtrt":
            return validity.INVALID, int(reason.MALFORMED_ENGINE)
        found = 0
        if tuple(header[24:28]) != NUMBERS:
            found |= int(reason.VERSION_MISMATCH)
        if _cuda.capability() not in _plan.chips(header):
            found |= int(reason.UNSUPPORTED_CC)
        if "FAKE_TENSORRT_INVALID" in os.environ:
            found |= int(os.environ["FAKE_TENSORRT_INVALID"])
        return (validity.INVALID if found else validity.VALID), found


_COMPILED = b"kernels compiled for "


@bound
class IRuntimeCache(Owned):
    """A cache, to which a run adds what it compiled."""

    def _setup(self, logger, engine):
        self._logger, self._content, self._engine = logger, b"", engine

    def serialize(self):
        return IHostMemory(self._content)

    def deserialize(self, blob):
        content = bytes(memoryview(blob))
        if not content.startswith(_COMPILED + _cuda.capability().encode()):
            return False
        self._content = content
        return True

    def reset(self):
        self._content = b""
        return True


@bound
class IRuntimeConfig(Owned):
    def _setup(self, engine):
        self._engine, self._cache = engine, None

    def create_runtime_cache(self):
        return IRuntimeCache._make(self._engine._logger, self._engine)

    def set_runtime_cache(self, cache):
        self._cache = check(cache, IRuntimeCache)
        return True

    def get_runtime_cache(self):
        return self._cache


def _or_none(made, nbytes, before=lambda: None):
    """Return a new object, or None if the device has too little memory for it."""
    if _cuda.allocate(made, nbytes, before):
        return made
    message = f"Requested amount of GPU memory ({nbytes} bytes) could not be allocated."
    error(made._logger, f"{type(made).__name__}::allocate", 2, message)
    return None


@bound
class ICudaEngine(Owned):
    def _setup(self, runtime, program):
        self._runtime, self._program = runtime, program
        self._logger, self._device = runtime._logger, _cuda.device()

    def _tensor(self, name):
        found = self._program.tensors.get(check(name, str))
        if found is None:
            message = (
                f"Given invalid tensor name: {name}. Get valid tensor names with getIOTensorName()"
            )
            error(self._logger, "ICudaEngine", 3, message)
        return found

    @property
    def name(self):
        return self._program.record["name"]

    @property
    def num_io_tensors(self):
        return len(self._program.tensors)

    @property
    def num_layers(self):
        return self._program.record["layers"]

    @property
    def num_optimization_profiles(self):
        return 1

    def get_tensor_name(self, index):
        return list(self._program.tensors)[size_t(index)]

    def get_tensor_mode(self, name):
        tensor = self._tensor(name)
        return tensor.mode if tensor else _Mode.NONE

    def get_tensor_dtype(self, name):
        tensor = self._tensor(name)
        return tensor.dtype if tensor else _DataType.FLOAT

    def get_tensor_shape(self, name):
        tensor = self._tensor(name)
        return Dims(tensor.shape) if tensor else Dims._invalid()

    def get_tensor_location(self, name):
        return _Location.DEVICE

    def get_tensor_format(self, name):
        return _Format.LINEAR

    def get_tensor_format_desc(self, name):
        return "Row major linear format (TensorFormat::kLINEAR)"

    def get_tensor_profile_shape(self, name, profile_index):
        tensor = self._tensor(name)
        if tensor is None or tensor.mode != _Mode.INPUT or check(profile_index, int) != 0:
            return [Dims._invalid()] * 3
        return [Dims(shape) for shape in self._program.profile(tensor)]

    device_memory_size = device_memory_size_v2 = property(lambda self: _context_memory())

    if "ExecutionContextAllocationStrategy" in API:

        def create_execution_context(
            self, strategy=ENUMS["ExecutionContextAllocationStrategy"].STATIC
        ):
            if isinstance(strategy, IRuntimeConfig):
                made = self._context()
                if made is not None:
                    made._runtime_cache = strategy._cache
                return made
            check(strategy, ENUMS["ExecutionContextAllocationStrategy"])
            return self._context()

        def create_runtime_config(self):
            return IRuntimeConfig._make(self)

    else:

        def create_execution_context(self):
            return self._context()

    def _context(self):
        made = IExecutionContext._make(self)
        return _or_none(made, _context_memory(), functools.partial(_forget, made._jobs))


def _context_memory():
    return int(os.environ.get("FAKE_TENSORRT_CONTEXT_MEMORY", 1 << 20))


def _alone(method):
    """Raise if another thread is running: the real one's answers would be arbitrary."""

    @functools.wraps(method)
    def guarded(self, *args, **kwargs):
        if not self._lock.acquire(blocking=False):
            return self._refuse(method.__name__, "two threads are in one execution context")
        try:
            return method(self, *args, **kwargs)
        finally:
            self._lock.release()

    return guarded


@bound
class IExecutionContext(Owned):
    def _setup(self, engine):
        self._engine, self._program, self._logger = engine, engine._program, engine._logger
        self._inputs = {
            each.name: each.shape
            for each in self._program.named(_Mode.INPUT)
            if -1 not in each.shape
        }
        self._addresses = {}
        self._lock, self._jobs = threading.Lock(), {}
        self._changed, self._runtime_cache = True, None

    engine = property(lambda self: self._engine)

    def _refuse(self, function, message):
        error(self._logger, f"IExecutionContext::{function}", 3, message)
        return False

    @_alone
    def set_input_shape(self, name, shape):
        tensor = self._engine._tensor(name)
        shape = sizes(shape)
        if tensor is None or tensor.mode != _Mode.INPUT:
            return self._refuse("setInputShape", f"{name} is not an input")
        low, _, high = self._program.profile(tensor)
        if len(shape) != len(low) or not all(a <= b <= c for a, b, c in zip(low, shape, high)):
            return self._refuse(
                "setInputShape",
                f"Set dimension {shape} for tensor {name} does not satisfy any optimization "
                f"profiles. Valid range for profile 0: {low}..{high}.",
            )
        self._changed |= self._inputs.get(name) != shape
        self._inputs[name] = shape
        return True

    def get_tensor_shape(self, name):
        tensor = self._engine._tensor(name)
        if tensor is None:
            return Dims._invalid()
        shapes = self._inputs if self.infer_shapes() else self._program.shapes(self._inputs)
        return Dims(shapes.get(name, tensor.shape))

    def infer_shapes(self):
        inputs = self._program.named(_Mode.INPUT)
        return [each.name for each in inputs if each.name not in self._inputs]

    @_alone
    def set_tensor_address(self, name, memory):
        if self._engine._tensor(name) is None:
            return False
        self._addresses[name] = size_t(memory)
        return True

    def get_tensor_address(self, name):
        return self._addresses.get(check(name, str), 0)

    @_alone
    def execute_async_v3(self, stream_handle):
        stream = size_t(stream_handle)
        time.sleep(0.001)  # without the GIL: other threads may get in between
        refusal = self._refusal(stream)
        if refusal:
            return self._refuse("enqueueV3", refusal)
        if self._runtime_cache is not None and not self._runtime_cache._content:
            self._runtime_cache._content = _COMPILED + _cuda.capability().encode()
        _cuda.launch(stream, _execute, self._job())
        self._changed = False
        return True

    def _refusal(self, stream):
        if not stream:
            # The real one warns of it, synchronizes the whole device, and runs.
            return "Using default stream in enqueueV3() may lead to performance issues"
        if _cuda.device() != self._engine._device:
            return f"the engine is on device {self._engine._device}, not on {_cuda.device()}"
        unknown = self.infer_shapes()
        if unknown:
            return f"Not all dimensions of input tensor {unknown[0]} are specified."
        for name, shape in self._program.shapes(self._inputs).items():
            tensor, address = self._program.tensors[name], self._addresses.get(name)
            if not address:
                return f"Address is not set for {tensor.mode.name.lower()} tensor {name}."
            if not _cuda.is_device(address, tensor.nbytes(shape)):
                return f"an illegal memory access: {name} is not in device memory of its size"
        return None

    def _job(self):
        """Return the number of a job with the present shapes and addresses."""
        shapes = self._program.shapes(self._inputs)
        addresses = {name: self._addresses[name] for name in shapes}
        key = (tuple(shapes.items()), tuple(addresses.items()), self._changed)
        if key not in self._jobs:
            self._jobs[key] = next(_numbers)
            _job_of[self._jobs[key]] = _Job(self._program, shapes, addresses, self._changed)
        return self._jobs[key]


_job_of = {}
_numbers = itertools.count(1)


def _forget(jobs):
    for number in jobs.values():
        del _job_of[number]


class _Job:
    """One execution. A CUDA graph repeats it, which the one after a change of shape cannot be:
    it prepares the context, so it has to happen before the capture.
    """

    def __init__(self, program, shapes, addresses, prepares):
        self._program, self._shapes, self._addresses = program, shapes, addresses
        self._prepares, self._done = prepares, False

    def run(self):
        if self._prepares and self._done:
            raise RuntimeError("a CUDA graph captured a context's first execution")
        self._done = True
        for name, shape in self._shapes.items():
            if not _cuda.is_device(
                self._addresses[name], self._program.tensors[name].nbytes(shape)
            ):
                raise RuntimeError(f"the memory of {name} was freed before the execution")
        inputs = {each.name: self._read(each) for each in self._program.named(_Mode.INPUT)}
        for name, array in self._program.run(inputs).items():
            content = np.ascontiguousarray(array)
            ctypes.memmove(self._addresses[name], content.ctypes.data, content.nbytes)

    def _read(self, tensor):
        shape = self._shapes[tensor.name]
        content = ctypes.string_at(self._addresses[tensor.name], tensor.nbytes(shape))
        return np.frombuffer(content, tensor.numpy).reshape(shape)


@_cuda.WORK
def _execute(number):
    # Collecting garbage could free memory, which would wait for this very stream.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        if number not in _job_of:
            raise RuntimeError("an execution context is gone before its work was done")
        _job_of[number].run()
    finally:
        if was_enabled:
            gc.enable()


# A stream may get to it after this module is forgotten.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_execute))
