"""Checks of the numbers that configure a stream: True and False do not count as numbers."""

from __future__ import annotations

import numbers
from collections.abc import Callable

from r2p_edge.errors import UsageError


def is_whole(value: object) -> bool:
    """Return True for a whole number, of Python or NumPy."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_count(name: str, value: object) -> None:
    """Check that an argument is a whole number from 1 on.

    Raises:
        UsageError: it is not.
    """
    passed = is_whole(value) and value >= 1  # type: ignore[operator]
    _check(name, value, passed, "a whole number from 1 on")


def check_number(name: str, value: object, allowed: Callable[[float], bool], expected: str) -> None:
    """Check that an argument is a real number in its range.

    Args:
        allowed: returns True for a number in the range.
        expected: the range in words.

    Raises:
        UsageError: it is not.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    _check(name, value, real and allowed(float(value)), expected)  # type: ignore[arg-type]


def _check(name: str, value: object, passed: bool, expected: str) -> None:
    if not passed:
        raise UsageError(f"{name} is {value!r}; it must be {expected}")
