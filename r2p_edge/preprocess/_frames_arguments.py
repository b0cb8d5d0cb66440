"""Checks of the frame kernel's arguments; `cpp_ext/python/arguments.h` makes the same in C++.

An argument of the wrong type raises TypeError, one of the wrong shape, layout or value ValueError.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 32767


def integer(value: object, name: str) -> int:
    """Return `value` as an int, if it is a whole number of any kind."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None


def side(value: object, name: str) -> int:
    """Return a length in pixels."""
    pixels = integer(value, name)
    if not 1 <= pixels <= MAX_SIDE:
        raise ValueError(f"{name} must be from 1 to {MAX_SIDE}, got {pixels}")
    return pixels


def check_flag(value: object, name: str) -> None:
    """Refuse what is not a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, got {type(value).__name__}")


def six_integers(values: object, name: str) -> list[int]:
    """Return six numbers that fit in int16."""
    expected = f"{name} must be 6 integers from -32768 to 32767"
    if not isinstance(values, Sequence) or len(values) != 6:
        raise TypeError(f"{expected}, got {type(values).__name__}")
    numbers = [integer(value, f"each number of {name}") for value in values]
    for number in numbers:
        if not -32768 <= number <= 32767:
            raise ValueError(f"{expected}, got {number}")
    return numbers


def three_floats(values: object, name: str) -> NDArray[np.float32]:
    """Return three finite numbers as float32 (3,)."""
    expected = f"{name} must be 3 finite numbers"
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise TypeError(f"{expected}, got {_describe(values)}") from None
    if array.shape != (3,):
        raise ValueError(f"{expected}, got {_describe(array)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{expected}, got {array[~np.isfinite(array)][0]}")
    return array


def check_array(
    array: object, name: str, dtype: type[np.generic], shape: tuple[int, ...], in_words: str = ""
) -> None:
    """Refuse what is not an array of this dtype and shape; a side of -1 is any from 1 on.

    Args:
        in_words: how an error shows the shape, if not as it is.
    """
    expected = f"{name} must be a {np.dtype(dtype)} array of shape {in_words or shape}"
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(f"{expected}, got {_describe(array)}")
    same = len(shape) == array.ndim and all(
        wanted in (-1, actual) for wanted, actual in zip(shape, array.shape)
    )
    if not same or array.size == 0:
        raise ValueError(f"{expected}, got {_describe(array)}")


def check_out(out: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Refuse what is not an array of this dtype and shape to write to."""
    check_array(out, "out", dtype, shape)
    check_dense(out, "out")
    if not out.flags.writeable:
        raise ValueError("out must be writable")


def check_plane(plane: NDArray[np.uint8], name: str, shape: tuple[int, int], widest: int) -> None:
    """Refuse what is not a plane with samples at most `widest` bytes apart."""
    check_array(plane, name, np.uint8, shape)
    if plane.shape[1] > 1 and not 1 <= plane.strides[1] <= widest:
        apart = "1 byte" if widest == 1 else "1 or 2 bytes"
        raise ValueError(f"{name} must have its samples {apart} apart, got strides {plane.strides}")


def check_dense(array: NDArray[Any], name: str) -> None:
    """Refuse an array with gaps, or with its axes in another order."""
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} must be C-contiguous and aligned")


def check_apart(source: NDArray[Any], out: NDArray[Any], name: str) -> None:
    """Refuse arrays that may have memory in common."""
    if np.may_share_memory(source, out):
        raise ValueError(f"out must not share memory with {name}")


def _describe(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.dtype} array of shape {value.shape}"
