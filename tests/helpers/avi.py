"""AVI files taken apart into their chunks and put together again."""

from __future__ import annotations

import struct
from pathlib import Path


def video_chunks(path: Path) -> list[tuple[bool, bytes]]:
    """Return whether each picture of a file with no sound is a key frame, and its data."""
    data = path.read_bytes()
    start = data.index(b"movi") + 4
    index = data.rindex(b"idx1")
    count = struct.unpack_from("<I", data, index + 4)[0] // 16
    found = []
    for k in range(count):
        _, flags, offset, size = struct.unpack_from("<4sIII", data, index + 8 + 16 * k)
        begin = start - 4 + offset + 8
        found.append((bool(flags & 0x10), data[begin : begin + size]))
    return found


def with_chunks(path: Path, target: Path, chunks: list[tuple[bool, bytes]]) -> Path:
    """Write a file like another, with these pictures in place of its own; return its path."""
    data = path.read_bytes()
    movi = data.index(b"movi")
    body, index = b"movi", b""
    for key, content in chunks:
        index += struct.pack("<4sIII", b"00dc", 0x10 * key, len(body), len(content))
        body += struct.pack("<4sI", b"00dc", len(content)) + content + b"\0" * (len(content) % 2)
    head = bytearray(data[: movi - 4])
    struct.pack_into("<I", head, head.index(b"avih") + 8 + 16, len(chunks))
    struct.pack_into("<I", head, head.index(b"strh") + 8 + 32, len(chunks))
    rest = struct.pack("<I", len(body)) + body + b"idx1" + struct.pack("<I", len(index)) + index
    struct.pack_into("<I", head, 4, len(head) + len(rest) - 8)
    target.write_bytes(bytes(head) + rest)
    return target
