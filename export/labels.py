"""Label files: one class name per output of a model, in its order."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from r2p_edge.errors import SpecError
from r2p_edge.spec.checks import plain

_SHOWN = 5  # names in an error
_MAX_DIGITS = 9  # of a class index; Python refuses to convert thousands of them


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read the class names in a file, in the order of the class indices.

    The file has one name a line (blank lines and a header of # lines are skipped), or is UCF101's
    classInd.txt (`1 ApplyEyeMakeup`), or JSON: a list, {"0": "name"} or {"name": 0}.

    Raises:
        SpecError: the file cannot be read or is empty, a name occurs twice, or the numbers of a
            numbered list have gaps or repeat.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"labels {path} cannot be read as UTF-8 text ({error})") from error
    try:
        labels = _from_json(text) if text.lstrip()[:1] in ("[", "{") else _from_lines(text)
        if not labels:
            raise SpecError("there is no label; give one per output class")
        twice = sorted(label for label, count in Counter(labels).items() if count > 1)
        if twice:
            names = ", ".join(map(plain, twice[:_SHOWN])) + (", ..." if twice[_SHOWN:] else "")
            raise SpecError(f"{names} occurs more than once; names must differ")
    except SpecError as error:
        raise SpecError(f"labels {path}: {error}") from error
    return tuple(labels)


def _from_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    numbered = [re.fullmatch(r"(\d+)\s+(\S+)", line) for line in lines]
    pairs = [(_index(match[1]), match[2]) for match in numbered if match]
    if lines and len(pairs) == len(lines) and _is_index([number for number, _ in pairs]):
        return _by_index(pairs, first=min(number for number, _ in pairs))
    return lines


def _index(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise SpecError(
            f"an index has {len(digits)} digits; number the classes from 0 or 1 on, each once"
        )
    return int(digits)


def _is_index(numbers: list[int]) -> bool:
    """Return whether the numbers before names count them; "100 metres", "200 metres" do not."""
    return min(numbers) in (0, 1) and max(numbers) < 2 * len(numbers)


def _from_json(text: str) -> list[str]:
    try:
        data = json.loads(text)
    # A number of thousands of digits raises ValueError, too.
    except (ValueError, RecursionError) as error:
        raise SpecError(f"the file starts like JSON and is not valid JSON ({error})") from error
    if isinstance(data, list) and all(isinstance(label, str) for label in data):
        return data
    if isinstance(data, dict):
        if all(key.isdecimal() and isinstance(value, str) for key, value in data.items()):
            return _by_index([(_index(key), value) for key, value in data.items()], first=0)
        if all(_is_int(value) for value in data.values()):
            return _by_index([(value, key) for key, value in data.items()], first=0)
    raise SpecError('JSON labels are a list of names, {"0": "name", ...} or {"name": 0, ...}')


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _by_index(pairs: list[tuple[int, str]], first: int) -> list[str]:
    pairs = sorted(pairs)
    for expected, (number, label) in enumerate(pairs, first):
        if number != expected:
            raise SpecError(
                f"number {number} ({label}) was found where {expected} was expected; number the "
                f"classes from {first} on, each once"
            )
    return [label for _, label in pairs]
