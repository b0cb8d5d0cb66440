"""The tensors of PyTorch's pickles, as places in a file.

PyTorch pickles a tensor as a call of `torch._utils._rebuild_tensor_v2` with the persistent ID of
its storage, an offset, a shape and strides in elements. Source: pytorch/pytorch, torch/_utils.py,
torch/_tensor.py (`_reduce_ex_internal`) and torch/serialization.py (`persistent_id`), version 2.13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from r2p_edge.export.checkpoints.inert_pickle import Global, Instance, Known, mapping

_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
SIZES = {
    **dict.fromkeys(("bool", "int8", "uint8"), 1),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64"), 8),
}
"""Bytes of a number of each dtype that can be read."""
_AXES = 64  # the most that NumPy and PyTorch have


@dataclass(frozen=True)
class Storage:
    """Numbers in a row, under a key of the file.

    Attributes:
        key: the name of the file's record.
        dtype: of NumPy, or "bfloat16"; another name if NumPy has none for it.
        count: how many numbers.
    """

    key: str
    dtype: str
    count: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.count * SIZES.get(self.dtype, 0)


@dataclass(frozen=True, eq=False)
class TensorView:
    """A tensor of a file: a view of a storage.

    Attributes:
        offset: of the first number, in numbers.
        strides: from one number to the next on each axis, in numbers.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.strides)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("a tensor of impossible shape")
        if len(self.shape) != len(self.strides) or len(self.shape) > _AXES:
            raise ValueError("a tensor of impossible strides")
        steps = ((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if math.prod(self.shape) and self.offset + sum(steps) >= self.storage.count:
            raise ValueError("a tensor that reaches beyond its storage")


META = "without numbers"
"""Kind of a tensor on PyTorch's device meta."""
QUANTISED = "quantised"
"""Kind of a quantised tensor."""


@dataclass(frozen=True, eq=False)
class OtherTensor:
    """A tensor that is no view of a storage of numbers: quantised, sparse, nested or without data.

    Attributes:
        kind: what it is, such as "sparse".
    """

    kind: str


def storage_of(persistent_id: Any) -> Storage:
    """Return the storage of a persistent ID: ("storage", its class, key, device, count, ...).

    Raises:
        ValueError, TypeError: it is none.
    """
    word, kind, key, _, count, *_ = persistent_id
    if word != "storage" or not isinstance(kind, Global) or not isinstance(key, str):
        raise ValueError("no storage")
    if type(count) is not int or count < 0:
        raise ValueError("a storage of impossible length")
    return Storage(key, _DTYPES.get(kind.name, kind.name), count)


def _view(storage: Storage, offset: int, shape: Any, strides: Any, *_: Any) -> TensorView:
    return TensorView(storage, offset, _sizes(shape), _sizes(strides))


def _typed_view(
    storage: Storage, offset: int, shape: Any, strides: Any, _: Any, __: Any, dtype: Any, *___: Any
) -> TensorView | OtherTensor:
    """View a storage without a type, as tensors of newer dtypes have."""
    size = SIZES.get(dtype.name)
    if size is None:
        return OtherTensor(dtype.name)
    storage = Storage(storage.key, dtype.name, storage.size // size)
    return TensorView(storage, offset, _sizes(shape), _sizes(strides))


def _sizes(shape: Any) -> tuple[int, ...]:
    """Return a shape as a tuple; `torch.Size` is pickled as a call."""
    return tuple(shape.arguments[0] if isinstance(shape, Instance) else shape)


def _rebuilt(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """Return the tensor of a subclass of `torch.Tensor`."""
    if not isinstance(function, Global):
        raise TypeError("no function")
    return KNOWN[function](*arguments)


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """Return the dict of `OrderedDict()`, or of the pairs that old pickles give it."""
    return mapping(pair for pairs in arguments for pair in pairs)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Return the bytes that protocol 2 writes as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("no bytes")
    return text.encode("latin1")


def _torch(name: str, module: str = "torch._utils") -> Global:
    return Global(module, name)


KNOWN: Known = {
    Global("collections", "OrderedDict"): _mapping,
    Global("collections", "defaultdict"): lambda *_: {},
    Global("_codecs", "encode"): _encoded,
    Global("__builtin__", "bytes"): lambda: b"",  # of protocol 2, where it is empty
    _torch("_rebuild_tensor"): _view,
    _torch("_rebuild_tensor_v2"): _view,
    _torch("_rebuild_tensor_v3"): _typed_view,
    _torch("_rebuild_parameter"): lambda data, *_: data,
    _torch("_rebuild_parameter_with_state"): lambda data, *_: data,
    _torch("_rebuild_device_tensor_from_cpu_tensor"): lambda data, *_: data,
    _torch("_rebuild_from_type", "torch._tensor"): _rebuilt,
    _torch("_rebuild_from_type_v2", "torch._tensor"): _rebuilt,
    _torch("_rebuild_qtensor"): lambda *_: OtherTensor(QUANTISED),
    _torch("_rebuild_sparse_tensor"): lambda *_: OtherTensor("sparse"),
    _torch("_rebuild_nested_tensor"): lambda *_: OtherTensor("nested"),
    _torch("_rebuild_meta_tensor_no_storage"): lambda *_: OtherTensor(META),
    _torch("_rebuild_wrapper_subclass"): lambda *_: OtherTensor("wrapped"),
}
"""Functions in place of the names that PyTorch's tensors are pickled with."""
