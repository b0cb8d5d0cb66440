"""Reading of small JSON files into dataclasses, with errors that name the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from r2p_edge.errors import ModelError, SpecError, unreadable_model
from r2p_edge.spec.checks import shown
from r2p_edge.spec.parsing import parse_dataclass, parse_json

_LONGEST = 1 << 20  # bytes; a registry of all that was published has a fiftieth of it
_Kind = TypeVar("_Kind")


def read_json_file(path: Path, what: str, advice: str) -> Any:
    """Return the JSON value in a file.

    Args:
        path: the file.
        what: the kind of file, for errors.
        advice: what to do about a damaged one.

    Raises:
        ModelError: the file cannot be read, is no JSON, or is longer than 1 MiB.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise unreadable_model(path, error) from error
    if len(content) > _LONGEST:
        raise ModelError(f"{what} {path} has more than {_LONGEST} bytes; {advice}")
    try:
        return parse_json(content, f"{what} {path}")
    except SpecError as error:
        raise ModelError(str(error).replace("write it again", advice)) from error


def parse_record(kind: type[_Kind], value: Any, where: str, advice: str) -> _Kind:
    """Return a JSON object as a dataclass of these very fields.

    Args:
        kind: the dataclass; its `__post_init__` may raise SpecError.
        value: what JSON gave.
        where: name of the object in errors.
        advice: what to do about a wrong one.

    Raises:
        ModelError: it is no object, or a field is missing, unknown, or of another type.
    """
    if not isinstance(value, dict):
        raise ModelError(f"{where} is {shown(value)}, which is no object; {advice}")
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    missing = [name for name in fields if name not in value]
    unknown = [shown(name) for name in value if name not in fields]
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown[:5])}"
        raise ModelError(f"{where} {wrong}, and its fields are {', '.join(fields)}; {advice}")
    try:
        return parse_dataclass(kind, value)
    except SpecError as error:
        raise ModelError(f"{where}: {error}") from error
