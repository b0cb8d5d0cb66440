"""A reader of the sorted tables of LevelDB, which TensorFlow keeps the index of a checkpoint in.

A table is blocks of entries in the order of their keys, and a footer that says where the block
lies which lists the others::

    entry   varints shared, own and length, `own` bytes of the key, `length` bytes of the value
    block   entries, 4 bytes for each restart, 4 bytes their number
    after   1 byte for the kind of compression, 4 bytes for a masked CRC-32C of both
    footer  two handles (varint offset, varint size; the second of the list), zeros, 8 bytes

The key of an entry begins with the first `shared` bytes of the one before. Source:
google/leveldb doc/table_format.md, and tensorflow/core/lib/io/format.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from r2p_edge.export.checkpoints.crc32c import crc32c, unmasked

_MAGIC = bytes.fromhex("57fb808b247547db")  # at the end of a table
_FOOTER = 48
_TRAILER = 5  # behind a block
_KEY_LIMIT = 1 << 16  # bytes; no name of a variable is this long
_KEYS_LIMIT = 1 << 26  # bytes of all keys, which a table of a few megabytes could have terabytes of


def table_entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table, in order.

    Args:
        data: the file.

    Raises:
        ValueError: it is no such table, damaged, or compressed.
    """
    if len(data) < _FOOTER or not data.endswith(_MAGIC):
        raise ValueError("it does not end as a table of LevelDB's does")
    footer = data[-_FOOTER : -len(_MAGIC)]
    _, position = _handle(footer, 0)
    listing, _ = _handle(footer, position)
    total = 0
    before = None
    for _, value in _entries(_block(data, listing)):
        handle, _ = _handle(value, 0)
        for key, found in _entries(_block(data, handle)):
            if before is not None and key <= before:
                raise ValueError("its keys are not in their order")
            before = key
            total += len(key)
            if total > _KEYS_LIMIT:
                raise ValueError(f"its keys have more than {_KEYS_LIMIT} bytes")
            yield key, found


def _block(data: bytes, handle: tuple[int, int]) -> bytes:
    """Return the entries of a block."""
    start, size = handle
    end = start + size
    if end + _TRAILER > len(data) - _FOOTER or size < 4:
        raise ValueError(f"a block of {size} bytes at byte {start} is not in it")
    (crc,) = struct.unpack_from("<I", data, end + 1)
    if crc32c(memoryview(data)[start : end + 1]) != unmasked(crc):
        raise ValueError(f"the checksum of the block at byte {start} is another")
    if data[end]:
        raise ValueError("it is compressed, which TensorFlow has not done since 2016")
    (restarts,) = struct.unpack_from("<I", data, end - 4)
    if 4 * (restarts + 1) > size:
        raise ValueError(f"the block at byte {start} says that it has {restarts} restarts")
    return data[start : end - 4 * (restarts + 1)]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    position, key = 0, b""
    while position < len(block):
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        end = position + own + length
        if shared > len(key) or shared + own > _KEY_LIMIT or end > len(block):
            raise ValueError("an entry is longer than the block around it")
        key = key[:shared] + block[position : position + own]
        yield key, block[position + own : end]
        position = end


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Return where a block lies, (offset, size), and the position after that."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is cut off or too long")
