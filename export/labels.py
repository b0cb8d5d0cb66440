"""Labels: one class name per output of a model, in its order, of a file or a folder of classes."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import r2p_edge
from r2p_edge.errors import SpecError, VideoError
from r2p_edge.spec.checks import repeated
from r2p_edge.spec.text_files import read_text_file
from r2p_edge.video.class_folders import class_names

LISTS = Path(r2p_edge.__file__).parent / "assets" / "labels"
"""Folder of the label files that the package has."""

_HEADS = {"id", "idx", "index", "number", "num", "name", "label", "class", "category", "action"}
_NUMBER_FIRST = re.compile(r"(?P<number>\d+)[:.)]?\s+(?P<name>\S.*)")
_NUMBER_LAST = re.compile(r"(?P<name>\S.*?):?\s+(?P<number>\d+)")
_YAML = re.compile(r"names\s*:\s*([\[{].*)?|---|nc\s*:\s*\d+")  # as Ultralytics writes classes
_YAML_ITEM = re.compile(r"- \S")
_MAX_DIGITS = 9  # of a class index; Python refuses to convert thousands of them


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read the class names in a file or of a folder, in the order of the class indices.

    A folder has one folder of videos for each class, in the order of `class_names`.

    A file has one name a line (blank lines and a header of # lines are skipped), with or without
    its number before or after it, as in UCF101's classInd.txt (`1 ApplyEyeMakeup`) or in CSV
    (`id,name`, `0,air drumming`); or it is JSON: a list, {"0": "name"} or {"name": 0}. Quotes
    around a name are not part of it.

    Raises:
        SpecError: the file cannot be read, is empty or YAML, has numbers alone or one line with
            commas, a name occurs twice, or the numbers of a numbered list have gaps or repeat; or
            the folder is refused by `class_names`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return class_names(path)
        text = read_text_file(path)
    except VideoError as error:
        raise SpecError(f"labels {path} cannot be taken from this folder: {error}") from error
    except OSError as error:
        raise SpecError(
            f"labels {path} cannot be read ({error.strerror or error}); check the path"
        ) from error
    except ValueError as error:  # of the encoding
        raise SpecError(f"labels {path} cannot be read: {error}") from error
    try:
        labels = _from_json(text) if text.lstrip()[:1] in ("[", "{") else _from_lines(text)
        if not labels:
            raise SpecError("there is no label; give one per output class")
        if twice := repeated(labels):
            raise SpecError(f"{twice} occurs more than once; names must differ")
    except SpecError as error:
        raise SpecError(f"labels {path}: {error}") from error
    return tuple(labels)


def _from_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    _require_names(lines)
    pairs = _numbered(lines)
    if pairs is None:
        return [_unquoted(line) for line in lines]
    return _by_index(pairs, first=min(number for number, _ in pairs))


def _require_names(lines: Sequence[str]) -> None:
    """Raise SpecError for text whose lines are not names of classes."""
    if lines and all(line.isdecimal() for line in lines):
        raise SpecError(
            f"its lines are numbers alone ({', '.join(lines[:3])}), and names of classes were "
            "expected; write a name on each line, or, where the classes have no other names, a "
            'JSON list: ["0", "1"]'
        )
    if len(lines) == 1 and "," in lines[0]:
        raise SpecError(
            f"it has a single line with commas ({lines[0]!r:.60}); write each name on a line of "
            'its own, or, if this is one name, as a JSON list: ["one, two"]'
        )
    if any(map(_YAML.fullmatch, lines)) or (lines and all(map(_YAML_ITEM.match, lines))):
        raise SpecError(
            "it is YAML, which is not read here; write the names of its classes into a text file, "
            "one on each line in the order of their numbers"
        )


def _numbered(lines: Sequence[str]) -> list[tuple[int, str]] | None:
    """Return the numbers and names of a list that counts its classes; None if it does not."""
    body = lines[1:] if lines and _is_header(lines[0]) else lines
    for separator in (",", "\t", ";"):
        if pairs := _columns(body, separator):
            return pairs
    for pattern in (_NUMBER_FIRST, _NUMBER_LAST):
        matches = [match for line in body if (match := pattern.fullmatch(line))]
        if not body or len(matches) < len(body):
            continue
        pairs = [(_index(match["number"]), _unquoted(match["name"])) for match in matches]
        if _is_index(pairs, last=pattern is _NUMBER_LAST):
            return pairs
    return None


def _is_header(line: str) -> bool:
    """Return whether this is a line such as `id,name` or `class_name label`."""
    words = re.split(r"[,;\s]+", line.replace('"', "").casefold())
    return len(words) == 2 and all(re.split("[-_]", word)[-1] in _HEADS for word in words)


def _columns(lines: Sequence[str], separator: str) -> list[tuple[int, str]] | None:
    """Return the numbers and names of a table of two columns, one of them of numbers."""
    try:
        read = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        rows = [[cell.strip() for cell in row] for row in read]
    except csv.Error:  # a cell of more than 128 KiB
        return None
    if any(len(row) < 2 for row in rows):
        return None
    for column in (0, -1):
        if rows and all(row[column].isdecimal() for row in rows):
            break
    else:
        return None
    if wide := next((row for row in rows if len(row) > 2), None):
        raise SpecError(
            f"{separator.join(wide)!r:.100} has {len(wide)} columns; expected a number and a name, "
            'with quotes around a name that has a comma ("a, b")'
        )
    return [(_index(row[column]), _unquoted(row[-1 - column])) for row in rows]


def _unquoted(name: str) -> str:
    """Return a name without the quotes around it, which CSV and some JSON files leave there."""
    name = name.strip()
    return name[1:-1].strip() if len(name) > 2 and name[0] == name[-1] == '"' else name


def _index(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise SpecError(
            f"an index has {len(digits)} digits; number the classes from 0 or 1 on, each once"
        )
    return int(digits)


def _is_index(pairs: Sequence[tuple[int, str]], *, last: bool) -> bool:
    """Return whether the numbers beside names count them; "100 metres", "200 metres" do not.

    Args:
        pairs: numbers and names.
        last: whether the numbers come last, where they are more often words of the name, as in
            "player 1", "player 2".
    """
    numbers = [number for number, _ in pairs]
    if min(numbers) not in (0, 1) or max(numbers) >= 2 * len(numbers):
        return False
    if last and (len(set(numbers)) < len(pairs) or len({name for _, name in pairs}) < len(pairs)):
        return False
    return not all(str(number) in name.split() for number, name in pairs)  # "1 on 1", "2 on 2"


def _from_json(text: str) -> list[str]:
    try:
        data = json.loads(text)
    # A number of thousands of digits raises ValueError, too.
    except (ValueError, RecursionError) as error:
        raise SpecError(f"the file starts like JSON and is not valid JSON ({error})") from error
    if isinstance(data, list) and all(isinstance(label, str) for label in data):
        return [_unquoted(label) for label in data]
    if isinstance(data, dict):
        if all(_is_number(key) and isinstance(value, str) for key, value in data.items()):
            return _by_index([(_index(key), _unquoted(it)) for key, it in data.items()], first=0)
        if all(map(_is_number, data.values())):
            pairs = [(_index(str(value)), _unquoted(key)) for key, value in data.items()]
            return _by_index(pairs, first=0)
    raise SpecError('JSON labels are a list of names, {"0": "name", ...} or {"name": 0, ...}')


def _is_number(value: Any) -> bool:
    """Return whether this is a number from 0 on, or the digits of one as a string."""
    if isinstance(value, str):
        return value.isdecimal()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _by_index(pairs: list[tuple[int, str]], first: int) -> list[str]:
    pairs = sorted(pairs)
    for expected, (number, label) in enumerate(pairs, first):
        if number != expected:
            raise SpecError(
                f"number {number} ({label}) was found where {expected} was expected; number the "
                f"classes from {first} on, each once"
            )
    return [label for _, label in pairs]
