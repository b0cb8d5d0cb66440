"""A reader of MindSpore's `.ckpt` files that needs no MindSpore and skips training state.

A file is a sequence of protobuf messages, one per tensor, with neither header nor length::

    Checkpoint   repeated Value value = 1
    Value        string tag = 1, and one of TensorProto tensor = 2, MapTensorProto maptensor = 3
    TensorProto  repeated int64 dims = 1, string tensor_type = 2, bytes tensor_content = 3

Source: mindspore/python/mindspore/train/serialization.py (`_exec_save`, `_parse_ckpt_proto`) and
mindspore/ccsrc/utils/checkpoint.proto, as of MindSpore 1.5 to 2.10.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from r2p_edge.artifact import protobuf
from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.tensor_file import ReadResult, StoredTensor, read_tensors
from r2p_edge.export.checkpoints.training_state import training_state

ENCRYPTED = (0x7F3A5ED8, 0x7F3A5ED9, 0x7F3A5EDA)
"""First four bytes, little-endian, of a file saved with `enc_key`: AES-GCM, AES-CBC, SM4-CBC."""

_CRC_MARK = b"crc_num"
_CRC_DIGITS = 10  # big-endian CRC-32 after the mark, padded to ten bytes
_NAME_LIMIT = 1 << 16  # bytes; no parameter name is this long, a damaged length may be
_DIMS_LIMIT = 32  # the most axes that NumPy allows

_DTYPES = (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "bfloat16", "bool"),
)
_NOT_TENSORS = ("str", "random_op")


def read_mindspore_ckpt(file: BinaryIO) -> ReadResult:
    """Read the network's parameters from a `.ckpt` file.

    Training state is skipped while reading, so its size costs no memory. The CRC-32 that
    `save_checkpoint(crc_check=True)` appends is verified.

    Returns:
        Arrays of the stored shapes, floating-point ones as float32, others as stored; and the
        file's sha256.

    Raises:
        CheckpointError: the file is encrypted, damaged, truncated, or contains something other
            than tensors.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if int.from_bytes(file.read(4), "little") in ENCRYPTED:
        raise CheckpointError(
            "the file is encrypted; load it in MindSpore with dec_key and save it without enc_key"
        )
    end, expected = _trailer(file, size)
    tensors = list(_stored_tensors(file, end))
    if not tensors:
        raise CheckpointError("there is no tensor in the file; give a MindSpore checkpoint")
    state = training_state({tensor.name for tensor in tensors})
    wanted = [tensor for tensor in tensors if tensor.name not in state]
    result = read_tensors(file, wanted, crc_end=end)
    if expected is not None and result.crc32 != expected:
        raise CheckpointError(
            f"the file's CRC-32 is {result.crc32:08x} but it was saved with {expected:08x}; "
            "the file is damaged, download it again"
        )
    return result


class _Value(NamedTuple):
    tag: str
    dtype: str
    dims: tuple[int, ...]
    span: tuple[int, int]


def _trailer(file: BinaryIO, size: int) -> tuple[int, int | None]:
    """Return the end of the messages, and the CRC-32 after them if there is one."""
    length = len(_CRC_MARK) + _CRC_DIGITS
    file.seek(max(0, size - length))
    tail = file.read(length)
    if not tail.startswith(_CRC_MARK):
        return size, None
    return size - length, int.from_bytes(tail[len(_CRC_MARK) :], "big")


def _stored_tensors(file: BinaryIO, end: int) -> Iterator[StoredTensor]:
    file.seek(0)
    try:
        values = list(_values(file, end))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(
            f"the file cannot be read as a MindSpore checkpoint ({error}); it is damaged or "
            "truncated, download it again"
        ) from error
    seen = set()
    # A large tensor is several values in a row under one tag, each with the shape of the whole.
    for tag, group in itertools.groupby(values, key=lambda value: value.tag):
        slices = list(group)
        dtype, dims = slices[0].dtype, slices[0].dims
        if tag in seen or any((s.dtype, s.dims) != (dtype, dims) for s in slices):
            raise CheckpointError(
                f"tensor {tag} is there twice, differently; the file is damaged, download it again"
            )
        seen.add(tag)
        if dtype in _NOT_TENSORS:
            continue
        if dtype not in _DTYPES:
            raise CheckpointError(
                f"tensor {tag} is of type {dtype}; save the checkpoint with floating-point weights"
            )
        spans = tuple(value.span for value in slices)
        # MindSpore 1.x writes a scalar's shape as [0]; 2.x writes none.
        shape = () if dims == (0,) and any(length for _, length in spans) else dims
        yield StoredTensor(tag, dtype, shape, spans)


def _values(file: BinaryIO, end: int) -> Iterator[_Value]:
    for field in protobuf.fields(file, end):
        if (field.number, field.wire_type) != (1, protobuf.LENGTH):
            raise ValueError(f"byte {field.start} does not start a tensor")
        yield _value(file, file.tell() + field.value, field.start)


def _value(file: BinaryIO, end: int, start: int) -> _Value:
    tag, tensor = None, None
    for field in protobuf.fields(file, end):
        if field.wire_type != protobuf.LENGTH:
            continue
        if field.number == 1:
            tag = _text(file, field.value)
        elif field.number == 2:
            tensor = _tensor(file, file.tell() + field.value)
        elif field.number == 3:
            raise CheckpointError(
                f"{tag or 'a value'} is a hash table (MapParameter), which no video network has; "
                "save the checkpoint without it"
            )
    if tag is None or tensor is None:
        raise ValueError(f"the message at byte {start} has no name or no tensor")
    return _Value(tag, *tensor)


def _tensor(file: BinaryIO, end: int) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    dtype, span = None, (0, 0)
    dims: list[int] = []
    for field in protobuf.fields(file, end):
        length = field.wire_type == protobuf.LENGTH
        if field.number == 1 and field.wire_type == protobuf.VARINT:
            dims.append(_signed(field.value))
        elif field.number == 1 and length:  # the same numbers, packed
            dims += map(_signed, protobuf.packed_varints(file, file.tell() + field.value))
        elif field.number == 2 and length:
            dtype = _text(file, field.value).lower()
        elif field.number == 3 and length:
            span = (file.tell(), field.value)
        if len(dims) > _DIMS_LIMIT:
            raise ValueError(f"a tensor has more than {_DIMS_LIMIT} dimensions")
    if dtype is None:
        raise ValueError("a tensor has no type")
    return dtype, tuple(dims), span


def _text(file: BinaryIO, length: int) -> str:
    if length > _NAME_LIMIT:
        raise ValueError(f"a name is {length} bytes long")
    return file.read(length).decode()


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
