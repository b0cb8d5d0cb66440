"""What a value of a spec must be; `where` names it in errors."""

from __future__ import annotations

import math
import reprlib
from typing import Any

from r2p_edge.errors import SpecError

_MAX_INT = 2**63 - 1  # in a record: what readers of JSON in other languages can hold
_MAX_DEPTH = 32  # of a record, far below any limit of the functions that walk one


def check_whole(group: str, spec: Any, limit: int, *names: str) -> None:
    """Raises SpecError where a field `names` of `spec` is no whole number from 1 to `limit`."""
    for name in names:
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
            raise SpecError(
                f"{group}.{name} is {shown(value)}; it must be a whole number from 1 to {limit}"
            )


def is_number(value: Any) -> bool:
    """Whether it is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_text(where: str, value: Any) -> None:
    """Raises SpecError where the value is not one line of text that UTF-8 can hold."""
    # What is left of a text of one line is that line; an empty text has none.
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
    """Raises SpecError where the value is no dict that JSON can hold and any reader can read."""
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
    """The value as an error shows it: on one line, and never long."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"an {type(value).__name__} beyond all bounds"


def plain(name: str) -> str:
    """A field's name as it is, unless it is long or would break the line of an error."""
    return name if name.isprintable() and len(name) < 80 else reprlib.repr(name)
