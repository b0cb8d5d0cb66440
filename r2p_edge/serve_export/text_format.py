"""Protobuf's text format, in which Triton's configurations are written.

https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Enum(str):
    """The name of a value of an enumeration, which is written without quotation marks."""

    __slots__ = ()


def protobuf_text(message: Mapping[str, Any]) -> str:
    """Return a message as text.

    Args:
        message: values by the names of their fields: bool, int, float, str, `Enum`, a mapping for
            a message, or a list for a field that is repeated.
    """
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        repeated = isinstance(value, Sequence) and not isinstance(value, str)
        for each in value if repeated else [value]:
            if isinstance(each, Mapping):
                yield f"{indent}{name} {{"
                yield from _lines(each, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(each)}"


def _scalar(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum) or not isinstance(value, str):
        return str(value)
    # Bytes of other letters are written as octal numbers, which every reader understands.
    plain = {ord('"'): '\\"', ord("\\"): "\\\\"}
    octets = value.encode()
    return '"' + "".join(plain.get(o) or _octet(o) for o in octets) + '"'


def _octet(octet: int) -> str:
    return chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03o}"
