"""Parsing of JSON into dataclasses, with errors that name the field and what is allowed."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from r2p_edge.errors import SpecError
from r2p_edge.spec.checks import plain, shown

_T = typing.TypeVar("_T")


def parse_json(text: str | bytes, where: str, advice: str = "write it again") -> Any:
    """Return the value of a JSON text.

    Args:
        text: the text.
        where: its name in errors.
        advice: what to do about a text that is not JSON.

    Raises:
        SpecError: the text is not JSON, or too deeply nested to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise SpecError(f"{where} is not valid JSON (too deeply nested); {advice}") from error
    # Not JSONDecodeError alone: bytes that are not UTF-8, and numbers of thousands of digits.
    except ValueError as error:
        raise SpecError(f"{where} is not valid JSON ({error}); {advice}") from error


def parse_dataclass(kind: type[_T], value: Any) -> _T:
    """Return a parsed JSON value as the dataclass `kind`, its fields converted by their types.

    Raises:
        SpecError: a field is missing, unknown, or of another type.
    """
    return typing.cast(_T, _parse(kind, value, ""))


def _parse(kind: Any, value: Any, where: str) -> Any:
    """Return `value` (parsed JSON) as the type `kind`; `where` is its dotted name for errors."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _parse(inner, value, where)
    if dataclasses.is_dataclass(kind):
        return _parse_fields(kind, value, where)
    if origin is Literal:
        if value not in arguments:
            allowed = ", ".join(json.dumps(argument) for argument in arguments)
            raise SpecError(f"{where} is {shown(value)}; it must be one of {allowed}")
        return value
    if origin is tuple:
        fixed = arguments[-1] is not Ellipsis
        if not isinstance(value, list) or (fixed and len(value) != len(arguments)):
            length = f"{len(arguments)} items" if fixed else "items"
            raise SpecError(f"{where} is {shown(value)}; it must be a list of {length}")
        return tuple(_parse(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise SpecError(f"{where} is {shown(value)}; it must be a finite number") from error
    if origin is Mapping and arguments[1] is not Any:
        if not isinstance(value, dict):
            raise SpecError(f"{where} is {shown(value)}; it must be an object")
        return {
            name: _parse(arguments[1], item, f"{where}.{plain(name)}")
            for name, item in value.items()
        }
    base = dict if origin is not None else kind
    if not isinstance(value, base) or (isinstance(value, bool) and base is not bool):
        raise SpecError(f"{where} is {shown(value)}; it must be of type {base.__name__}")
    return value


def _parse_fields(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise SpecError(f"{where} is {shown(value)}; it must be an object")
    prefix = f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(str(name) for name in value if name not in fields)
    if unknown:
        raise SpecError(
            f"unknown field {', '.join(map(plain, (prefix + name for name in unknown)))}; "
            f"{where or 'a spec'} has {', '.join(fields)}"
        )
    missing = [
        name
        for name, field in fields.items()
        if name not in value
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SpecError(
            f"missing field {', '.join(prefix + name for name in missing)}; a spec states all "
            "that the answer depends on, so add it"
        )
    kinds = typing.get_type_hints(kind)
    return kind(**{name: _parse(kinds[name], item, prefix + name) for name, item in value.items()})
