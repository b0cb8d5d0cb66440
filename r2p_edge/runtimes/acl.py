"""Offline models of Ascend NPUs, `.om`, through CANN's own Python interface, pyACL.

It comes with every CANN (the toolkit and the runtime nnrt alike), has no wheel to find and no rules
for files. Signatures, return values and restrictions are those of CANN's reference of pyACL, on
hiascend.com: document/detail/en/canncommercial/800/apiref/appdevgapi/aclpythondevg_01_NUMBER, with
0006 (finalize), 0009 (get_recent_err_msg), 0017 (destroy_data_buffer), 0124 (rt.memcpy), 0154
(mdl.execute), 0204 (mdl.destroy_desc), 0212 (mdl.get_output_dims), 0217 (mdl.get_input_data_type),
0921 (return codes), and in its Chinese edition 0005 (init) and 0188 (mdl.add_dataset_buffer).
Functions return the code last, or alone; 0 is success.
"""

from __future__ import annotations

import atexit
import math
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, one_line
from r2p_edge.runtimes.ascend import (
    OfflineRuntime,
    device_number,
)
from r2p_edge.runtimes.base import (
    Options,
    as_input,
    check_one_input,
    closed_model,
    position,
)
from r2p_edge.spec import ModelSpec

_INSTALL = (
    "it comes with CANN and is found in its environment: source set_env.sh of "
    "/usr/local/Ascend/cann (before 8.5 ascend-toolkit, or nnrt), and start again"
)
_HUGE_FIRST = 0  # ACL_MEM_MALLOC_HUGE_FIRST
_TO_DEVICE, _TO_HOST = 1, 2  # aclrtMemcpyKind, which the library ignores
_REPEATED = 100002  # ACL_ERROR_REPEAT_INITIALIZE
_TYPES = {0: "float32", 1: "float16", 2: "int8", 3: "int32", 4: "uint8"}  # aclDataType

_REBUILD = "the file is damaged or for another CANN; build it again with the CANN that is here"
_BUSY = "the chip failed at the work; npu-smi info shows its health, and a restart clears it"
_MEMORY = "the chip has no memory left; close what else uses it"
_CODES = {
    100003: "it cannot be read; check its owner and mode",
    100012: _REBUILD,
    100013: _REBUILD,
    100014: "it cannot be read; check its owner and mode",
    107001: "there is no such card; npu-smi info lists them",
    107002: "there is no context in this thread",
    145002: "it cannot be read; check its owner and mode",
    145006: _REBUILD,
    200000: _MEMORY,
    207001: _MEMORY,
    245000: _MEMORY,
    500002: "CANN refuses the model; check that ATC compiled it for this chip",
    507011: _BUSY,
    507014: _BUSY,
    507015: _BUSY,
    507033: "the card cannot be opened; join the group HwHiAiUser, and see npu-smi info",
    545001: "CANN refuses the model; check that ATC compiled it for this chip",
}

_lock = threading.Lock()
_open: WeakSet[Acl] = WeakSet()
_initialized = False


class _Tensor(NamedTuple):
    """An input or output of a model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int  # in the device's memory, in bytes


class Acl(OfflineRuntime):
    """One loaded model with its context and device memory. Devices: "ascend", "ascend:1"."""

    name = "acl"

    def __init__(
        self, acl: ModuleType, path: Path, spec: ModelSpec, device: str, precision: str
    ) -> None:
        self._acl = acl
        self._lock = threading.Lock()
        self.device, self.precision = device, precision
        number = device_number(device)
        with ExitStack() as held:
            self._do("rt.set_device", number)
            held.callback(self._do, "rt.reset_device", number)
            self._context = self._make("rt.create_context", number)
            held.callback(self._do, "rt.destroy_context", self._context)
            self._model = self._make("mdl.load_from_file", str(path))
            held.callback(self._do, "mdl.unload", self._model)
            description = acl.mdl.create_desc()
            held.callback(self._do, "mdl.destroy_desc", description)
            self._do("mdl.get_desc", description, self._model)
            inputs = self._tensors(description, "input")
            outputs = self._tensors(description, "output")
            check_one_input(path, len(inputs))
            _check_static(path, inputs + outputs)
            self._input = inputs[0]
            self._output = position("output", spec.output.name, _names(outputs, spec))
            self._answer = outputs[self._output]
            self._feeds, (self._fed,) = self._dataset(held, inputs)
            self._results, self._memory = self._dataset(held, outputs)
            self._held: ExitStack | None = held.pop_all()
        self.input_shape, self.input_dtype = self._input.shape, self._input.dtype
        self.output_shape = self._answer.shape

    @staticmethod
    def library() -> ModuleType:
        acl = import_library("acl", _INSTALL)
        if not hasattr(acl, "mdl"):
            raise MissingDependencyError(
                f"the module acl in {getattr(acl, '__file__', 'this Python')} is not CANN's; "
                f"{_INSTALL}"
            )
        return acl

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> Acl:
        acl, device, precision = cls._settled(path, spec, options)
        _initialize(acl)
        try:
            model = cls(acl, path, spec, device, precision)
        except _CallError as error:
            kind = ModelError if error.function == "mdl.load_from_file" else BackendError
            raise kind(f"acl cannot load {path} on {device} ({error})") from error
        with _lock:
            _open.add(model)
        return model

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = as_input(batch, self)
        output = np.empty(self._answer.shape, self._answer.dtype)
        source = self._memory[self._output]
        # The memory of a model is one for all threads: filling it, running and reading it belong
        # together (aclmdlExecute, restrictions).
        with self._lock:
            if self._held is None:
                raise closed_model()
            try:
                self._do("rt.set_context", self._context)  # of the calling thread
                self._copy(self._fed, self._input.size, array.ctypes.data, array.nbytes, _TO_DEVICE)
                self._do("mdl.execute", self._model, self._feeds, self._results)
                self._copy(output.ctypes.data, output.nbytes, source, output.nbytes, _TO_HOST)
            except _CallError as error:
                raise BackendError(f"acl failed on {self.device} ({error})") from error
        return output.astype(np.float32, copy=False)

    def close(self) -> None:
        with self._lock:
            held, self._held = self._held, None
            if held is None:
                return
            try:
                # Everything is freed in the context in which it was made, the context last.
                held.callback(self._do, "rt.set_context", self._context)
                held.close()
            except _CallError as error:
                raise BackendError(f"acl cannot free a model on {self.device} ({error})") from error

    def _do(self, function: str, *arguments: Any) -> None:
        """Call a function that returns a code alone."""
        _check(self._acl, function, _function(self._acl, function)(*arguments))

    def _make(self, function: str, *arguments: Any) -> Any:
        """Call a function that returns something and a code; return the former."""
        found, code = _function(self._acl, function)(*arguments)
        _check(self._acl, function, code)
        return found

    def _copy(self, target: int, room: int, source: int, count: int, kind: int) -> None:
        self._do("rt.memcpy", target, room, source, count, kind)

    def _tensors(self, description: Any, end: Literal["input", "output"]) -> list[_Tensor]:
        mdl, found = self._acl.mdl, []
        for index in range(getattr(mdl, f"get_num_{end}s")(description)):
            dims = self._make(f"mdl.get_{end}_dims", description, index)
            kind = getattr(mdl, f"get_{end}_data_type")(description, index)
            found.append(
                _Tensor(
                    name=getattr(mdl, f"get_{end}_name_by_index")(description, index),
                    shape=tuple(dims["dims"][: dims["dimCount"]]),
                    dtype=_TYPES.get(kind, f"type {kind} of ACL"),
                    size=getattr(mdl, f"get_{end}_size_by_index")(description, index),
                )
            )
        return found

    def _dataset(self, held: ExitStack, tensors: list[_Tensor]) -> tuple[Any, list[int]]:
        """Return a dataset with memory on the device for these tensors, and the addresses."""
        dataset = self._acl.mdl.create_dataset()
        held.callback(self._do, "mdl.destroy_dataset", dataset)
        addresses = []
        for tensor in tensors:
            address = self._make("rt.malloc", tensor.size, _HUGE_FIRST)
            held.callback(self._do, "rt.free", address)
            # A data buffer does not own its memory, nor a dataset its buffers.
            buffer = self._acl.create_data_buffer(address, tensor.size)
            held.callback(self._do, "destroy_data_buffer", buffer)
            dataset = self._make("mdl.add_dataset_buffer", dataset, buffer)
            addresses.append(address)
        return dataset, addresses


class _CallError(Exception):
    """A function of the library that returned a code."""

    def __init__(self, function: str, code: int, said: str) -> None:
        self.function, self.code = function, code
        reason = _CODES.get(code, "see CANN's table of return codes")
        super().__init__(f"acl.{function} returned {code}: {reason}{said and f'; it says: {said}'}")


def _function(acl: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function from its name, "init" or "rt.malloc"."""
    found: Any = acl
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def _check(acl: ModuleType, function: str, code: int) -> None:
    """Make sure that a function succeeded.

    Raises:
        _CallError: it did not.
    """
    if code == 0:
        return
    # Of this thread, and gone once it is read; CANN from 5.0 on has it.
    last = getattr(acl, "get_recent_err_msg", lambda: None)()
    raise _CallError(function, code, one_line(Exception(last)) if last else "")


def _initialize(acl: ModuleType) -> None:
    """Initialise the library, once in a process; another library may have done it."""
    global _initialized
    with _lock:
        if _initialized:
            return
        code = acl.init()
        if code != _REPEATED:
            try:
                _check(acl, "init", code)
            except _CallError as error:
                raise BackendError(f"acl cannot start ({error})") from error
            # It has to end before the process does, and not in a destructor.
            atexit.register(_finalize, acl)
        _initialized = True


def _finalize(acl: ModuleType) -> None:
    """Free what is open and end the library, at the end of the process."""
    with _lock:
        models = list(_open)
    for model in models:
        model.close()
    acl.finalize()


def _names(tensors: list[_Tensor], spec: ModelSpec) -> list[str]:
    """Return the tensors' names; ATC writes "Add_12:0:logits" for an output named logits."""
    wanted = spec.output.name
    return [wanted if each.name.endswith(f":{wanted}") else each.name for each in tensors]


def _check_static(path: Path, tensors: list[_Tensor]) -> None:
    """Make sure that the tensors have one size and fill their memory.

    Raises:
        ModelError: they do not.
    """
    for tensor in tensors:
        if min(tensor.shape, default=1) < 1:
            raise ModelError(
                f"{path} has open axes ({tensor.name} is {tensor.shape}), and this runs fixed "
                "shapes; build it again with ATC's --input_shape"
            )
        if tensor.dtype not in _TYPES.values():
            raise ModelError(
                f"{tensor.name} of {path} is {tensor.dtype}, and expected was one of "
                f"{', '.join(_TYPES.values())}; export the model again"
            )
        needed = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        if tensor.size < needed:
            raise ModelError(
                f"{tensor.name} of {path} is {tensor.shape} {tensor.dtype}, {needed} bytes, and "
                f"has {tensor.size} on the device; build it again"
            )
