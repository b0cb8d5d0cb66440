"""Lists of videos and of parts of them, as text, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from r2p_edge.archive.listed import Listed
from r2p_edge.archive.parquet import import_parquet
from r2p_edge.errors import UsageError, VideoError, one_line

VIDEO_COLUMNS = ("video", "path", "file", "filename")
"""Names of the column of videos in a list; the first one that it has is taken."""

START_COLUMNS, END_COLUMNS = ("start", "start_time"), ("end", "end_time")
"""Names of the columns of a part's seconds, which a list need not have."""


def read_list(path: str | Path) -> list[Listed]:
    """Return the videos of a list, in its order.

    A `.txt` has a path in each line, and after tabs a part's start and end in seconds if wanted;
    blank lines and those that begin with `# ` do not count. A `.csv` and a `.parquet` name their
    columns (`VIDEO_COLUMNS`, `START_COLUMNS`, `END_COLUMNS`), others do not count; a `.csv`
    without such names has these three in this order. A start or an end may be left out.

    Raises:
        UsageError: it has another suffix.
        VideoError: it cannot be read, names no video, or has a row that is not a video and a part.
        MissingDependencyError: Parquet needs pyarrow.
    """
    path = Path(path)
    readers = {".txt": _read_text, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise UsageError(
            f"list {path} ends in {path.suffix or 'no suffix'}; give a .txt, .csv or .parquet file"
        )
    listed = readers[path.suffix.lower()](path)
    if not listed:
        raise VideoError(f"list {path} names no video; expected a path in each line or row")
    return listed


def _read_text(path: Path) -> list[Listed]:
    found = []
    for number, line in enumerate(_text_of(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("# "):
            continue
        cells = line.split("\t")
        found.append(_row(cells, f"line {number} of {path}"))
    return found


def _read_csv(path: Path) -> list[Listed]:
    text = _text_of(path)
    first = text.partition("\n")[0]
    separators = [each for each in ",;\t" if _place(first.strip().split(each), VIDEO_COLUMNS) >= 0]
    read = csv.reader(io.StringIO(text, newline=""), delimiter=(separators or [","])[0])
    try:
        rows = [(read.line_num, row) for row in read if row]
    except csv.Error as error:
        raise VideoError(
            f"line {read.line_num} of {path} is not CSV ({error}); write the list again"
        ) from error
    places = (0, 1, 2)
    if separators:
        (_, header), *rows = rows
        places = (
            _place(header, VIDEO_COLUMNS),
            _place(header, START_COLUMNS),
            _place(header, END_COLUMNS),
        )
    return [
        _row(
            [row[place] if 0 <= place < len(row) else "" for place in places],
            f"line {number} of {path}",
        )
        for number, row in rows
    ]


def _read_parquet(path: Path) -> list[Listed]:
    parquet = import_parquet()
    try:
        names = parquet.read_schema(path).names
        wanted = [name for name in _places(names, str(path)) if name is not None]
        return listed_in(parquet.read_table(path, columns=wanted), str(path))
    except VideoError:
        raise
    except Exception as error:  # OSError and classes of pyarrow's own
        raise VideoError(
            f"list {path} cannot be read as Parquet ({one_line(error)}); write it again"
        ) from error


def listed_in(table: Any, where: str) -> list[Listed]:
    """Return the videos of a table of pyarrow; see `read_list`.

    Args:
        table: the table.
        where: its name in errors.

    Raises:
        VideoError: it has no column of videos, or a row that is not a video and a part.
    """
    names = _places(table.column_names, where)
    empty = [None] * table.num_rows
    columns = [empty if name is None else table.column(name).to_pylist() for name in names]
    return [
        _row(cells, f"row {number} of {where}") for number, cells in enumerate(zip(*columns), 1)
    ]


def _places(names: Sequence[str], where: str) -> list[str | None]:
    """Return the names of the columns of videos, starts and ends; None for one that is absent.

    Raises:
        VideoError: there is no column of videos.
    """
    places = [_place(names, wanted) for wanted in (VIDEO_COLUMNS, START_COLUMNS, END_COLUMNS)]
    if places[0] < 0:
        raise VideoError(
            f"{where} has the columns {', '.join(names)}; expected one named "
            f"{' or '.join(VIDEO_COLUMNS)}"
        )
    return [names[place] if place >= 0 else None for place in places]


def _text_of(path: Path) -> str:
    """Return the text of a list; paths that are no UTF-8 stay what they are."""
    try:
        return path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise VideoError(
            f"list {path} cannot be read ({error.strerror}); check the path"
        ) from error


def _place(names: Sequence[str], wanted: Iterable[str]) -> int:
    """Return the position of the first wanted name that is there; -1 if none is."""
    known = [name.strip().strip('"').casefold() for name in names]
    return next((known.index(name) for name in wanted if name in known), -1)


def _row(cells: Sequence[Any], where: str) -> Listed:
    """Return a row of a path and, if wanted, a start and an end.

    Raises:
        VideoError: it is something else.
    """
    video, start, end = (*cells, None, None)[:3]
    if not isinstance(video, str) or not video or len(cells) > 3:
        raise VideoError(
            f"{where} is {list(cells)!r:.200}; expected the path of a video and, if only a part of "
            "it is meant, its start and end in seconds"
        )
    seconds = [_seconds(start, where), _seconds(end, where)]
    if None not in seconds and not seconds[0] < seconds[1]:  # type: ignore[operator]
        raise VideoError(f"{where} has a part from {start} to {end} s; the end must come after")
    return Listed(os.fsdecode(video), *seconds)


def _seconds(cell: Any, where: str) -> float | None:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        seconds = float(cell)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise VideoError(
            f"{where} has {cell!r:.100} where the start or the end of a part may stand; expected a "
            "number of seconds, or nothing"
        )
    return seconds
