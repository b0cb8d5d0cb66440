"""Damage that knows nothing of formats: files as disks, networks and editors leave them."""

from __future__ import annotations

import random
from collections.abc import Callable

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return a copy with one to four damages; never the same bytes, unless there are none."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_WAYS)(changed, rng)
    return bytes(changed) if changed != data else data[: len(data) // 2]


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 8, 64))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + _length(data, rng)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + _length(data, rng)]
    data[start:start] = piece * rng.choice((1, 1, 2, 16))


def _overwrite(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    length = _length(data, rng)
    filling = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    data[start : start + length] = filling


def _set_number(data: bytearray, rng: random.Random) -> None:
    """Write a number at the edge of what its bytes hold, in either byte order."""
    size = rng.choice((1, 2, 4, 8))
    start = rng.randrange(len(data) + 1)
    number = rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    data[start : start + size] = number.to_bytes(size, rng.choice(("big", "little")))


def _length(data: bytearray, rng: random.Random) -> int:
    return rng.choice((1, 4, 16, 188, 1024, len(data) // 2 + 1))


_WAYS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _cut, _remove, _repeat, _overwrite, _set_number, _set_number),
)
