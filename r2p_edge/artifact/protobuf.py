"""The part of the protobuf wire format that is needed to walk a large file without loading it.

Its users (the metadata of an ONNX file, the tensors of a MindSpore checkpoint, the inputs of a
MindIR) need a few small fields of files of gigabytes, where the protobuf library would read
everything and stops at 2 GiB. Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from r2p_edge.errors import ModelError, unreadable_model

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message.

    For LENGTH fields `value` is the payload's length and the file stands at its first byte; what
    the caller leaves unread is skipped. For the others it is the number itself.
    """

    number: int
    wire_type: int
    value: int
    start: int


@contextlib.contextmanager
def open_model(path: Path, kind: str) -> Iterator[BinaryIO]:
    """Open a model file to walk its messages in the `with` block.

    Args:
        kind: name of the format in the error, e.g. "ONNX".

    Raises:
        ModelError: the file cannot be read; or the block raises ValueError, as it is not whole.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise unreadable_model(path, error) from error
    except ValueError as error:
        raise ModelError(
            f"{path} is not a whole {kind} file ({error}); copy or export it again"
        ) from error


def fields(file: BinaryIO, end: int) -> Iterator[Field]:
    """Yield the fields of the message that spans from the file's position to `end`, in order.

    Raises:
        ValueError: the bytes are not a protobuf message, or end too early.
    """
    while (start := file.tell()) < end:
        key = _varint(file, end)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ValueError(f"byte {start} does not start a protobuf field")
        if wire_type == VARINT:
            yield Field(number, wire_type, _varint(file, end), start)
        elif wire_type == LENGTH:
            length = _varint(file, end)
            payload = file.tell()
            if payload + length > end:
                raise ValueError(f"the field at byte {start} is longer than the message around it")
            yield Field(number, wire_type, length, start)
            file.seek(payload + length)
        elif wire_type in (FIXED64, FIXED32):
            size = 8 if wire_type == FIXED64 else 4
            data = file.read(size)
            if len(data) < size or file.tell() > end:
                raise ValueError(f"the field at byte {start} is cut off")
            yield Field(number, wire_type, int.from_bytes(data, "little"), start)
        else:
            raise ValueError(f"byte {start} does not start a protobuf field")


def packed_varints(file: BinaryIO, end: int) -> Iterator[int]:
    """Yield the numbers of a packed repeated field that spans from the file's position to `end`.

    Raises:
        ValueError: the last number is cut off.
    """
    while file.tell() < end:
        yield _varint(file, end)


def _varint(file: BinaryIO, end: int) -> int:
    """Read one number of variable length, which must not go beyond `end`."""
    value = shift = 0
    while shift < 70:
        byte = file.read(1)
        if not byte or file.tell() > end:
            raise ValueError(f"the number at byte {file.tell()} is cut off")
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value
        shift += 7
    raise ValueError(f"the number before byte {file.tell()} is longer than 64 bits")
