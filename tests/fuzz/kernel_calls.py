"""Calls of the frame kernel with arguments of every kind, right and wrong, in one process.

`kernel.py` runs it on an extension that was built with sanitizers, which end the process at a read
or write outside an array. Every so often the answer is compared with that of the twin in NumPy.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np

from r2p_edge.preprocess import _frames, _frames_py

_SIDES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)
_ODD = (0, -1, 32768, 1 << 31, 1 << 70, True, 2.0, "3", None, np.int8(4), float("nan"))
_POOL = np.random.default_rng(0).integers(0, 256, 1 << 18, dtype=np.uint8)


class Reshaping:
    """A number that changes an array while it is read."""

    def __init__(self, array: np.ndarray, number: int) -> None:
        self._array, self._number = array, number

    def __index__(self) -> int:
        self._array.shape = (self._array.size,)
        return self._number


class Pretending:
    """An object that says it is an array."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"shape": (1 << 40, 8, 3), "typestr": "|u1", "data": (8, True), "version": 3}


class Subclass(np.ndarray):
    """An array that tells another shape than it has."""

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (1 << 20, 1 << 20, 3)


def side(rng: random.Random) -> Any:
    return rng.choice(_ODD) if rng.random() < 0.03 else rng.choice(_SIDES)


def array(rng: random.Random, shape: tuple[int, ...], kind: type = np.uint8) -> Any:
    """Return an array of this shape, most often as it should be."""
    size = int(np.prod(shape)) if min(shape, default=1) >= 0 else 0
    way = rng.random()
    if way < 0.7 and kind is np.uint8:
        start = rng.randrange(1000)
        return _POOL[start : start + size].reshape(shape).copy()
    if way < 0.7:
        return np.empty(shape, kind)
    whole = np.zeros((*(2 * each + 2 for each in shape),), kind)
    views = (
        lambda: whole[tuple(slice(1, 1 + each) for each in shape)],
        lambda: whole[tuple(slice(None, 2 * each, 2) for each in shape)],
        lambda: whole[tuple(slice(each, 0, -1) for each in shape)],
        lambda: np.asfortranarray(np.zeros(shape, kind)),
        lambda: np.broadcast_to(np.zeros(shape[-1:], kind), shape),
        lambda: np.zeros(shape, rng.choice((np.int8, np.float32, np.float64, object, "V1", ">f4"))),
        lambda: np.frombuffer(bytes(size + 1), np.uint8)[1:].view(np.uint8).reshape(shape),
        lambda: np.zeros((*shape, 1), kind),
        lambda: np.zeros(shape[1:], kind),
        lambda: np.zeros((0, *shape[1:]), kind),
        lambda: np.zeros(shape, kind).view(Subclass),
        lambda: np.ndarray(shape, kind, bytearray(size * np.dtype(kind).itemsize + 8), 1),
        Pretending,
        lambda: None,
        lambda: [[0] * 3],
        lambda: memoryview(bytes(12)),
    )
    return rng.choice(views)()


def swap(rng: random.Random) -> Any:
    return rng.choice((True, False, True, False, True, False, 1, None, "yes"))


def floats(rng: random.Random) -> Any:
    if rng.random() < 0.9:
        return [rng.uniform(-2, 2) for _ in range(3)]
    return rng.choice(([1.0], "abc", None, [1.0, float("nan"), 2.0], np.ones(3, np.float32)))


# Of BT.601, as `frame.py` makes it. With others the two differ where sums leave 16 bits.
_MATRIX = [16, 9539, 13075, -3209, -6660, 16525]


def integers(rng: random.Random) -> Any:
    if rng.random() < 0.9:
        return rng.choice((_MATRIX, [rng.randint(-32768, 32767) for _ in range(6)]))
    return rng.choice(([1] * 5, [1 << 15] * 6, None, "abcdef", (0,) * 6, [1.5] * 6))


def one_call(rng: random.Random, compare: bool) -> bool:
    """Make one call; return whether it was taken."""
    numbers = [side(rng) for _ in range(4)]
    crop = [rng.choice(_SIDES) if rng.random() < 0.3 else 1 for _ in range(2)]
    if all(type(number) is int for number in numbers) and rng.random() < 0.9:
        crop = [rng.randint(1, max(number, 1)) for number in numbers[2:]]
    places = [rng.choice((0, 0, 0, 1, -1, 30)) for _ in range(2)]
    arguments = (*numbers, *places, *crop)
    if rng.random() < 0.2:
        shape = tuple(rng.choice(_SIDES[:8]) for _ in range(3))
        frames, out = array(rng, (*shape, 3)), array(rng, (3, *shape), np.float32)
        return _both("stack", (frames, out, floats(rng), floats(rng)), 1, compare)
    try:
        resizers = [module.Resizer(*arguments) for module in (_frames, _frames_py)]
    except (TypeError, ValueError, OverflowError):
        return False
    height, width = (int(number) for number in arguments[:2])
    out = array(rng, (*map(int, crop), 3))
    if rng.random() < 0.5:
        image = array(rng, (height, width, 3))
        arrays = type(image) is type(out) is np.ndarray and image.size >= out.size
        if arrays and image.flags.c_contiguous and rng.random() < 0.05:
            out = image.reshape(-1)[: out.size].reshape(out.shape)  # the same memory
        return _both("resize", (image, out, swap(rng)), 1, compare, resizers)
    half = ((height + 1) // 2, (width + 1) // 2)
    y, u, v = array(rng, (height, width)), array(rng, half), array(rng, half)
    matrix = integers(rng)
    if type(y) is np.ndarray and y.flags.c_contiguous and rng.random() < 0.02:
        matrix = [Reshaping(y, 1), 1, 1, 1, 1, 1]
    compare = compare and matrix is _MATRIX
    return _both("resize_yuv", (y, u, v, out, matrix, swap(rng)), 3, compare, resizers)


def _both(
    name: str,
    arguments: tuple[Any, ...],
    out: int,
    compare: bool,
    owners: Any = (_frames, _frames_py),
) -> bool:
    """Call the kernel, and with `compare` its twin; raise AssertionError where they differ."""
    taken = _call(getattr(owners[0], name), arguments)
    # The twin believes what a subclass says of itself.
    if not compare or any(type(argument) is Subclass for argument in arguments):
        return taken
    before = arguments[out].copy() if taken else None
    assert _call(getattr(owners[1], name), arguments) == taken, (name, arguments)
    if taken and name == "stack":
        np.testing.assert_array_equal(before, arguments[out])
    elif taken:
        difference = np.abs(before.astype(int) - arguments[out])
        assert difference.max(initial=0) <= 3, (name, difference.max())
    return taken


def _call(function: Any, arguments: tuple[Any, ...]) -> bool:
    try:
        function(*arguments)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def main(calls: int, seed: int) -> None:
    """Make that many calls and print how many were taken."""
    rng = random.Random(seed)
    taken = sum(one_call(rng, compare=number % 50 == 0) for number in range(calls))
    print(f"{calls} calls, {taken} taken, {calls - taken} refused")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
