"""Files of results, as `predict --out` and `eval --out` write them, read again."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r2p_edge.archive.parquet import import_parquet
from r2p_edge.archive.rows import ArchiveRow, ColumnType, columns_of
from r2p_edge.calibration.examined import evaluation_columns
from r2p_edge.errors import MissingDependencyError, SpecError, UsageError, VideoError, one_line
from r2p_edge.spec.checks import is_number

_KINDS = {**columns_of(1, 2), **evaluation_columns(1)}
_RANKED = re.compile(r"(label|score)_[0-9]+")
_TOLD = {
    "text": "a text",
    "whole": "a whole number",
    "number": "a number",
    "truth": "true or false",
}
_LOWEST = {"rank": 1, "views": 1}
_NEEDED = ("video", "label", "score", "model", "error")


def read_results(path: str | Path) -> list[ArchiveRow]:
    """Return the rows of a file of results.

    Args:
        path: .csv, .jsonl or .parquet.

    Raises:
        UsageError: it has another suffix.
        VideoError: it cannot be read, has no rows, or not the columns of results.
        MissingDependencyError: Parquet needs pyarrow.
        SpecError: it is of a model that gives values.
    """
    path = Path(path)
    readers = {".csv": _read_csv, ".jsonl": _read_lines, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise UsageError(
            f"{path} ends in {path.suffix or 'no suffix'}; results are {', '.join(readers)} files, "
            "as predict --out and eval --out write them"
        )
    try:
        rows = list(readers[path.suffix.lower()](path))
    except OSError as error:
        raise VideoError(
            f"results {path} cannot be read ({error.strerror or error}); check the path"
        ) from error
    if not rows:
        raise VideoError(f"results {path} have no rows; make them again")
    lacking = [name for name in _NEEDED if name not in rows[0]]
    if lacking:
        raise VideoError(
            f"{path} has no column {lacking[0]}, so that it is no file of results; give one that "
            "predict --out or eval --out wrote"
        )
    for number, row in enumerate(rows, 1):
        _check(row, path, number)
    return rows


def _read_csv(path: Path) -> Iterator[ArchiveRow]:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        former = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # of the whole process
        try:
            reader = csv.DictReader(file)
            for number, row in enumerate(reader, 1):
                if None in row or None in row.values():
                    raise _damaged(path, number, "more or fewer cells than there are columns")
                yield {
                    name: _typed(name, cell, path, number) for name, cell in row.items() if cell
                } | {name: None for name, cell in row.items() if not cell}
        except csv.Error as error:
            raise VideoError(f"{path} is not CSV ({error}); make the results again") from error
        finally:
            csv.field_size_limit(former)


def _typed(name: str, cell: str, path: Path, number: int) -> Any:
    """Return a cell as the value that it was written from."""
    kind = _kind_of(name)
    try:
        if kind == "whole":
            return int(cell)
        if kind == "number":
            return float(cell)
    except ValueError:
        raise _damaged(
            path, number, f"{cell!r:.60} in column {name}, which is {_TOLD[kind]}"
        ) from None
    return cell == "true" if kind == "truth" else cell


def _kind_of(name: str) -> ColumnType:
    if match := _RANKED.fullmatch(name):
        return "text" if match[1] == "label" else "number"
    return _KINDS.get(name, "text")


def _check(row: ArchiveRow, path: Path, number: int) -> None:
    """Raise VideoError where a row is not as `predict` or `eval` writes it."""
    for name, value in row.items():
        kind = _kind_of(name)
        right = {
            "text": isinstance(value, str),
            "whole": type(value) is int and value >= _LOWEST.get(name, 0),
            "number": is_number(value),
            "truth": isinstance(value, bool),
        }
        if value is not None and not right[kind] and (name in _KINDS or _RANKED.fullmatch(name)):
            raise _damaged(path, number, f"{value!r:.60} in column {name}, which is {_TOLD[kind]}")
    needed = ("video",) if row.get("error") is not None else ("video", "label", "score")
    for name in needed:
        if row.get(name) is None:
            raise _damaged(path, number, f"nothing in column {name}")
    if row.get("kind") == "values":
        raise SpecError(
            f"{path} has the answers of a model that gives values and no classes, so that there is "
            "no accuracy to report; give results of a model of classes"
        )


def _read_lines(path: Path) -> Iterator[ArchiveRow]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise _damaged(path, number, "no JSON object")
        yield row


def _read_parquet(path: Path) -> Iterator[ArchiveRow]:
    try:
        with import_parquet().ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (OSError, MissingDependencyError):
        raise
    except Exception as error:  # classes of pyarrow's own
        raise VideoError(
            f"{path} cannot be read as Parquet ({one_line(error)}); make the results again"
        ) from error


def _damaged(path: Path, number: int, found: str) -> VideoError:
    return VideoError(f"row {number} of {path} has {found}; make the results again")
