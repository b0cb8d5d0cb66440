"""Damage within a valid file: one element of its structure changed, and the file whole around it.

A format is two functions: one takes a file apart into elements, of which some hold further
elements, and the other puts it together again, with lengths and checksums that are right.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from damage import damaged

from r2p_edge.export.checkpoints.crc32c import crc32c
from r2p_edge.export.checkpoints.sorted_table import table_entries


class Element(NamedTuple):
    """An element of a file.

    Attributes:
        head: what stands before its length: its name, number or type.
        body: its bytes, without name, length and checksum.
        holds: whether the body consists of elements.
    """

    head: Any
    body: bytes
    holds: bool = False


class Format(NamedTuple):
    """A format; `split` raises ValueError for bytes that are not of it."""

    split: Callable[[bytes], list[Element]]
    join: Callable[[list[Element]], bytes]

    def changed(self, data: bytes, rng: random.Random) -> bytes:
        """Return the file with one element changed, wherever in the tree it lies."""
        try:
            elements = self.split(data)
        except (ValueError, IndexError, struct.error):
            return damaged(data, rng)
        if not elements:
            return damaged(data, rng)
        number = rng.randrange(len(elements))
        head, body, holds = elements[number]
        if holds and rng.random() < 0.85:
            elements[number] = Element(head, self.changed(body, rng), holds)
            return self.join(elements)
        way = rng.randrange(6)
        if way == 0:
            del elements[number]
        elif way == 1:
            elements[number:number] = [elements[number]] * rng.choice((1, 2, 50))
        elif way == 2:
            other = rng.randrange(len(elements))
            elements[number], elements[other] = elements[other], elements[number]
        elif way == 3:
            elements[number] = Element(head, b"", holds)
        else:
            elements[number] = Element(head, damaged(body, rng), holds)
        return self.join(elements)


# RIFF (AVI, WebP): name, length, body, padded to an even length; a list begins with a type.


def _split_riff(data: bytes) -> list[Element]:
    elements, start = [], 0
    while start < len(data):
        name, size = struct.unpack_from("<4sI", data, start)
        if start + 8 + size > len(data):
            raise ValueError(name)
        body = data[start + 8 : start + 8 + size]
        if name in (b"RIFF", b"LIST"):
            elements.append(Element(name + body[:4], body[4:], holds=True))
        else:
            elements.append(Element(name, body))
        start += 8 + size + size % 2
    return elements


def _join_riff(elements: list[Element]) -> bytes:
    return b"".join(
        head[:4]
        + struct.pack("<I", len(head) - 4 + len(body))
        + head[4:]
        + body
        + bytes(len(body) % 2)
        for head, body, _ in elements
    )


# ISO base media (MP4, MOV, 3GP): length, name, body.

_BOXES = {
    b"moov",
    b"trak",
    b"mdia",
    b"minf",
    b"stbl",
    b"edts",
    b"dinf",
    b"udta",
    b"mvex",
    b"moof",
    b"traf",
}


def _split_boxes(data: bytes) -> list[Element]:
    elements, start = [], 0
    while start < len(data):
        size, name = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > len(data):
            raise ValueError(name)
        elements.append(Element(name, data[start + 8 : start + size], name in _BOXES))
        start += size
    return elements


def _join_boxes(elements: list[Element]) -> bytes:
    return b"".join(struct.pack(">I4s", 8 + len(body), head) + body for head, body, _ in elements)


# EBML (Matroska, WebM): number and length of variable size, body.

_MASTERS = {
    *(0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675, 0xA0, 0x1C53BB6B, 0xBB, 0xB7),
    *(0x114D9B74, 0x4DBB, 0x1A45DFA3, 0x1254C367, 0x7373, 0x67C8),
}


def _vint(data: bytes, start: int, *, keep: bool) -> tuple[int, int]:
    """Return a number and the place behind it; `keep` leaves the bit that tells its length."""
    length = 9 - data[start].bit_length()
    if length > 8:
        raise ValueError("no number")
    number = int.from_bytes(data[start : start + length], "big")
    return (number if keep else number & (1 << 7 * length) - 1), start + length


def _split_ebml(data: bytes) -> list[Element]:
    elements, start = [], 0
    while start < len(data):
        number, start = _vint(data, start, keep=True)
        size, start = _vint(data, start, keep=False)
        body = data[start : start + size]
        elements.append(Element(number, body, number in _MASTERS))
        start += size
    return elements


def _join_ebml(elements: list[Element]) -> bytes:
    return b"".join(
        head.to_bytes((head.bit_length() + 7) // 8 or 1, "big")
        + (1 << 56 | len(body)).to_bytes(8, "big")
        + body
        for head, body, _ in elements
    )


# MPEG transport streams: packets of 188 bytes. Flash video: tags between lengths.


def _split_packets(data: bytes) -> list[Element]:
    return [Element(None, data[start : start + 188]) for start in range(0, len(data), 188)]


def _joined(elements: list[Element]) -> bytes:
    return b"".join(body for _, body, _ in elements)


def _split_flv(data: bytes) -> list[Element]:
    elements, start = [Element(None, data[:13])], 13
    while start < len(data):
        size = int.from_bytes(data[start + 1 : start + 4], "big")
        head = data[start : start + 1] + data[start + 4 : start + 11]
        elements.append(Element(head, data[start + 11 : start + 11 + size]))
        start += 15 + size
    return elements


def _join_flv(elements: list[Element]) -> bytes:
    joined = b""
    for head, body, _ in elements:
        if head is None:
            joined += body
        else:
            size = len(body).to_bytes(4, "big")[1:]
            joined += head[:1] + size + head[1:] + body + struct.pack(">I", 11 + len(body))
    return joined


# Ogg: pages with a checksum.


def _ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def _split_ogg(data: bytes) -> list[Element]:
    elements, start = [], 0
    while start < len(data):
        if data[start : start + 4] != b"OggS":
            raise ValueError("no page")
        count = data[start + 26]
        table = start + 27
        size = sum(data[table : table + count])
        end = table + count + size
        elements.append(
            Element(
                (data[start + 4 : start + 22], data[table : table + count]),
                data[table + count : end],
            )
        )
        start = end
    return elements


def _join_ogg(elements: list[Element]) -> bytes:
    joined = b""
    for (fields, table), body, _ in elements:
        if sum(table) != len(body):
            table = bytes([255] * min(len(body) // 255, 254) + [len(body) % 255])
        page = b"OggS" + fields + bytes(4) + bytes([len(table)]) + table + body
        joined += page[:22] + struct.pack("<I", _ogg_crc(page)) + page[26:]
    return joined


# PNG: chunks with a checksum. JPEG: segments, the last of which is the picture.


def _split_png(data: bytes) -> list[Element]:
    elements, start = [Element(None, data[:8])], 8
    while start < len(data):
        size, name = struct.unpack_from(">I4s", data, start)
        elements.append(Element(name, data[start + 8 : start + 8 + size]))
        start += 12 + size
    return elements


def _join_png(elements: list[Element]) -> bytes:
    return b"".join(
        body
        if head is None
        else struct.pack(">I", len(body)) + head + body + struct.pack(">I", zlib.crc32(head + body))
        for head, body, _ in elements
    )


def _split_jpeg(data: bytes) -> list[Element]:
    elements, start = [Element(None, data[:2])], 2
    while start < len(data):
        marker, size = struct.unpack_from(">2sH", data, start)
        if marker == b"\xff\xda":
            elements.append(Element(None, data[start:]))
            break
        elements.append(Element(marker, data[start + 4 : start + 2 + size]))
        start += 2 + size
    return elements


def _join_jpeg(elements: list[Element]) -> bytes:
    return b"".join(
        body if head is None else head + struct.pack(">H", (len(body) + 2) & 0xFFFF) + body
        for head, body, _ in elements
    )


# Protocol buffers (ONNX, MindIR, .ckpt): fields by number. Which bytes are a message is not told.

_WIRE_VARINT, _WIRE_64, _WIRE_LENGTH, _WIRE_32 = 0, 1, 2, 5


def _varint(data: bytes, start: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[start]
        number |= (byte & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if not byte & 0x80:
            return number, start
        if shift > 63:
            raise ValueError("no number")


def _split_protobuf(data: bytes) -> list[Element]:
    elements, start = [], 0
    while start < len(data):
        key, start = _varint(data, start)
        wire = key & 7
        if not key >> 3 or wire not in (_WIRE_VARINT, _WIRE_64, _WIRE_LENGTH, _WIRE_32):
            raise ValueError("no field")
        end, size = start, {_WIRE_64: 8, _WIRE_32: 4}.get(wire, 0)
        if wire == _WIRE_VARINT:
            _, end = _varint(data, start)
        elif wire == _WIRE_LENGTH:
            size, start = _varint(data, start)
            end = start + size
        else:
            end = start + size
        if end > len(data):
            raise ValueError("cut off")
        body = data[start:end]
        # A long one is a tensor's values or a text.
        holds = wire == _WIRE_LENGTH and len(body) > 1 and _is_protobuf(body)
        elements.append(Element(key, body, holds))
        start = end
    return elements


def _is_protobuf(data: bytes) -> bool:
    try:
        _split_protobuf(data)
    except (ValueError, IndexError):
        return False
    return True


def _join_protobuf(elements: list[Element]) -> bytes:
    return b"".join(
        _as_varint(key) + (_as_varint(len(body)) if key & 7 == _WIRE_LENGTH else b"") + body
        for key, body, _ in elements
    )


def _as_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


# The index of a TensorFlow checkpoint: a table of messages by their keys.


def _split_table(data: bytes) -> list[Element]:
    if not data.endswith(_TABLE_END):  # a value of it
        return _split_protobuf(data)
    return [Element(key, value, True) for key, value in table_entries(data)]


def _join_table(elements: list[Element]) -> bytes:
    if elements and not isinstance(elements[0].head, bytes):
        return _join_protobuf(elements)
    entries = _table_block([(each.head, each.body) for each in elements])
    handle = _as_varint(0) + _as_varint(len(entries) - 5)
    listing = _table_block([(b"\xff", handle)])
    footer = bytes(2) + _as_varint(len(entries)) + _as_varint(len(listing) - 5)
    return entries + listing + footer.ljust(40, b"\0") + _TABLE_END


def _table_block(entries: list[tuple[bytes, bytes]]) -> bytes:
    parts = [
        _as_varint(0) + _as_varint(len(key)) + _as_varint(len(value)) + key + value
        for key, value in entries
    ]
    block = b"".join(parts) + struct.pack("<II", 0, 1) + b"\0"
    crc = crc32c(block)
    return block + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


_TABLE_END = bytes.fromhex("57fb808b247547db")

# Engines of TensorRT: a header of fixed fields.

_PLAN_FIELDS = (0, 4, 8, 16, 24, 28, 32, 40, 64)


def _split_plan(data: bytes) -> list[Element]:
    return [
        Element(None, data[start:end])
        for start, end in zip(_PLAN_FIELDS, (*_PLAN_FIELDS[1:], None))
    ]


RIFF = Format(_split_riff, _join_riff)
BOXES = Format(_split_boxes, _join_boxes)
EBML = Format(_split_ebml, _join_ebml)
PACKETS = Format(_split_packets, _joined)
PLAN = Format(_split_plan, _joined)
FLV = Format(_split_flv, _join_flv)
OGG = Format(_split_ogg, _join_ogg)
PNG = Format(_split_png, _join_png)
JPEG = Format(_split_jpeg, _join_jpeg)
TABLE = Format(_split_table, _join_table)
PROTOBUF = Format(_split_protobuf, _join_protobuf)
