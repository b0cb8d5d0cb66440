"""Tables of answers as files: CSV, JSON lines and Parquet, with the same columns in each."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from r2p_edge.archive.parquet import import_parquet
from r2p_edge.archive.rows import ArchiveRow, ColumnType
from r2p_edge.artifact.atomic import atomic_file
from r2p_edge.errors import UsageError

_GROUP = 10_000  # rows of a Parquet file that are in memory at once

Columns = Mapping[str, ColumnType]
"""Columns by name, see `columns_of`."""


def check_results_file(path: Path) -> None:
    """Make sure, before long work, that results can be written in the format of this suffix.

    Raises:
        UsageError: there is no such format.
        MissingDependencyError: Parquet needs pyarrow.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(
            f"{path} ends in {path.suffix or 'no suffix'}; results are written to "
            f"{', '.join(_WRITERS)}"
        )
    if path.suffix.lower() == ".parquet":
        import_parquet()


def write_results(path: Path, columns: Columns, rows: Iterable[ArchiveRow]) -> None:
    """Write a table, all of it or nothing.

    Args:
        path: the file, whose suffix chooses the format.
        columns: see `columns_of`.
        rows: in order; columns that a row lacks are empty in it.

    Raises:
        OutputError: the file cannot be written; what was there before is still there.
    """
    with atomic_file(path) as draft:
        _WRITERS[path.suffix.lower()](draft, columns, rows)


def _write_csv(path: Path, columns: Columns, rows: Iterable[ArchiveRow]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(row.get(name)) for name in columns])


def _cell(value: Any) -> Any:
    """Return a value as other programs read it: `true` and `false`, and nothing for None."""
    return str(value).lower() if isinstance(value, bool) else as_utf8(value)


def _write_lines(path: Path, columns: Columns, rows: Iterable[ArchiveRow]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            # What is no UTF-8 in a path becomes "\udcff", which JSON reads as Python's path has it.
            text = json.dumps({name: row.get(name) for name in columns}, ensure_ascii=False)
            file.write(f"{text}\n")


def _write_parquet(path: Path, columns: Columns, rows: Iterable[ArchiveRow]) -> None:
    parquet = import_parquet()
    schema = schema_of(columns)
    with parquet.ParquetWriter(path, schema) as writer:
        for group in _groups(rows):
            writer.write_table(table_of(group, columns))


def _groups(rows: Iterable[ArchiveRow]) -> Iterator[list[ArchiveRow]]:
    remaining = iter(rows)
    while group := list(islice(remaining, _GROUP)):
        yield group


def schema_of(columns: Columns) -> Any:
    """Return columns as a schema of pyarrow."""
    import pyarrow

    types = {
        "text": pyarrow.string(),
        "whole": pyarrow.int64(),
        "number": pyarrow.float64(),
        "truth": pyarrow.bool_(),
    }
    return pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])


def table_of(rows: Iterable[ArchiveRow], columns: Columns) -> Any:
    """Return rows as a table of pyarrow."""
    import pyarrow

    return pyarrow.Table.from_pylist(
        [{name: as_utf8(row.get(name)) for name in columns} for row in rows],
        schema=schema_of(columns),
    )


def as_utf8(value: Any) -> Any:
    """Return a text with the bytes of a path that are no UTF-8 written out, as `\\xff`."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


_WRITERS: dict[str, Callable[[Path, Columns, Iterable[ArchiveRow]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
}
