"""Lists whose first line names their columns, such as Kinetics' CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from r2p_edge.calibration.lists.columns import COLUMNS, OF_EACH_FRAME
from r2p_edge.calibration.lists.entries import Entry, Part, Subset, short_name
from r2p_edge.calibration.lists.table import Row
from r2p_edge.errors import VideoError
from r2p_edge.spec.class_names import fold

_OF_FRAMES = {"startframe", "endframe", "startfrm", "endfrm", "framestart", "frameend", "offset"}


def entries_by_header(rows: Sequence[Row], where: Path) -> tuple[list[Entry], Subset | None]:
    """Return the entries of rows under a header, and the subset if a column says it.

    A video of Kinetics, whose column is an id, is looked for as `<id>_<start>_<end>`, the name
    of a clip that was cut already, and else as `<id>`, of which start to end is the part.

    Raises:
        VideoError: the header lacks a column, or a row does not fit it.
    """
    header, *rows = rows
    words = [fold(cell) for cell in header.cells]
    _check(words, header, rows, where)
    places = {
        what: words.index(name)
        for what, names in COLUMNS.items()
        if (name := next((name for name in names if name in words), None)) is not None
    }
    timed = "start" in places and "end" in places
    youtube = "path" not in places
    if timed and not youtube and words[places["start"]] in ("start", "begin"):
        _check_seconds([row.cells[places["start"]] for row in rows], header, where)
    entries = []
    for row in rows:
        cells = {what: row.cells[place] for what, place in places.items()}
        part = _part(cells, row, where) if timed else None
        name = short_name(cells["id"] if youtube else cells["path"])
        names: list[tuple[str, Part | None]] = [(name, part)]
        if youtube and part is not None and all(second.is_integer() for second in part):
            start, end = map(int, part)
            names[:0] = [(f"{name}_{start:06d}_{end:06d}", None), (f"{name}_{start}_{end}", None)]
        entries.append(Entry(row.line, tuple(names), cells.get("label")))
    if entries and all(str(entry.label).isdecimal() for entry in entries):
        entries = [replace(entry, label=int(str(entry.label))) for entry in entries]
    splits = [row.cells[places["split"]] for row in rows] if "split" in places else []
    return entries, _subset(splits, where)


def _check(words: Sequence[str], header: Row, rows: Sequence[Row], where: Path) -> None:
    seen = f"the first line of {where} is {header.text!r:.200}"
    if OF_EACH_FRAME & set(words):
        raise VideoError(
            f"{seen}, a list with a line for each frame, as SlowFast's for Something-Something and "
            "Charades; give a list with a line for each video, of the form path label"
        )
    if _OF_FRAMES & set(words):
        raise VideoError(
            f"{seen}, whose ranges are in frames; give them in seconds, in columns named "
            "start_time and end_time"
        )
    if not rows:
        raise VideoError(f"{seen} and there is no line of a video after it")


def _check_seconds(starts: Sequence[str], header: Row, where: Path) -> None:
    if all(start.isdecimal() for start in starts):
        raise VideoError(
            f"the first line of {where} is {header.text!r:.200} and its ranges may be in seconds "
            "or in frames; name the columns start_time and end_time if they are seconds"
        )


def _part(cells: Mapping[str, str], row: Row, where: Path) -> Part:
    found = [re.fullmatch(r"\d{1,9}(\.\d*)?", cells[what]) for what in ("start", "end")]
    if all(found) and float(cells["start"]) < float(cells["end"]):
        return float(cells["start"]), float(cells["end"])
    raise VideoError(
        f"line {row.line} of {where} is {row.text!r:.200}; expected a start in seconds and an end "
        "after it"
    )


def _subset(values: Sequence[str], where: Path) -> Subset | None:
    names = {value.casefold() for value in values}
    if len(names) > 1:
        raise VideoError(
            f"{where} has videos of the splits {', '.join(sorted(names))}; give a list of one of "
            "them"
        )
    return None if not names else "train" if names == {"train"} else "test"
