"""Checks of the values of a spec; `where` names the value in errors."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from r2p_edge.errors import SpecError

_MAX_INT = 2**63 - 1  # in a record: the most that JSON readers of other languages can represent
_LISTED = 5  # names in an error
_MAX_DEPTH = 32  # of a record, far below any limit of the functions that walk one


def check_whole(group: str, spec: Any, limit: int, *names: str) -> None:
    """Raise SpecError if a field `names` of `spec` is not a whole number from 1 to `limit`."""
    for name in names:
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
            raise SpecError(
                f"{group}.{name} is {shown(value)}; it must be a whole number from 1 to {limit}"
            )


def is_number(value: Any) -> bool:
    """Return whether the value is a finite number within the range of a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_text(where: str, value: Any) -> None:
    """Raise SpecError if the value is not one line of text that UTF-8 can encode."""
    # A text of one line splits into that line alone; an empty one into none.
    if not isinstance(value, str) or not value.strip() or value.splitlines() != [value]:
        raise SpecError(f"{where} is {shown(value)}; it must be one line of text")
    _check_encodable(where, value)


def _check_encodable(where: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SpecError(
            f"{where} is {shown(value)}, which cannot be written as UTF-8; write it again"
        ) from error


def check_record(where: str, value: Any, depth: int = 1) -> None:
    """Raise SpecError if the value is not a dict that any JSON reader can read."""
    if depth > _MAX_DEPTH:
        raise SpecError(f"{where} is nested more than {_MAX_DEPTH} deep; make it flatter")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise SpecError(f"{where} has the key {shown(key)}; every key must be text")
            _check_encodable(f"a key of {where}", key)
            check_record(f"{where}.{plain(key)}", item, depth + 1)
    elif depth == 1:
        raise SpecError(f"{where} is {shown(value)}; it must be a dict")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            check_record(f"{where}[{number}]", item, depth + 1)
    elif isinstance(value, str):
        _check_encodable(where, value)
    elif not (value is None or isinstance(value, bool) or _fits_json(value)):
        raise SpecError(
            f"{where} is {shown(value)}; it must be text, a finite number of at most 64 bits, "
            "a list or a dict"
        )


def _fits_json(value: Any) -> bool:
    return is_number(value) and (isinstance(value, float) or abs(value) <= _MAX_INT)


def shown(value: Any) -> str:
    """Return the value as an error shows it: on one line, and short."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"a very large {type(value).__name__}"


def plain(name: str) -> str:
    """Return a field's name, some_of if it is long or would break the line of an error."""
    return name if name.isprintable() and len(name) < 80 else reprlib.repr(name)


def some_of(texts: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first texts of a list, and how many more there are, as an error lists them."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


def repeated(names: Iterable[str]) -> str:
    """Return the names that stand more than once, as an error lists them; "" if none does."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    return ", ".join(map(plain, twice[:_LISTED])) + (", ..." if twice[_LISTED:] else "")
