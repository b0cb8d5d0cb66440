"""The forms of a list without a header, told apart by the kinds of their columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.calibration.lists.columns import names_a_video
from r2p_edge.calibration.lists.entries import Entry, Part, short_name
from r2p_edge.calibration.lists.table import Row
from r2p_edge.errors import VideoError

Label = str | int | None


@dataclass(frozen=True)
class Form:
    """A form of the columns after the name of the video.

    Attributes:
        name: the columns.
        writers: data sets and programs that write it.
        read: returns the label of such columns, and the part of the video.
    """

    name: str
    writers: str
    read: Callable[[Sequence[str]], tuple[Label, Part | None]]


def _label(cell: str) -> Label:
    return int(cell) if cell.isdecimal() else cell


_WITH_PART = Form(
    "path label start end",
    "DALI, seconds with a decimal point",
    lambda cells: (_label(cells[0]), (float(cells[1]), float(cells[2]))),
)
_FRAMES = Form(
    "path frames label",
    "mmaction2's rawframes, TSN, TSM, GluonCV, VideoMAE V2",
    lambda cells: (_label(cells[1]), None),
)

FORMS: dict[tuple[str, ...], Form] = {
    (): Form("path", "UCF101's test lists", lambda cells: (None, None)),
    ("whole",): Form(
        "path label",
        "UCF101's train lists, mmaction2, SlowFast, PyTorchVideo, VideoMAE",
        lambda cells: (_label(cells[0]), None),
    ),
    ("text",): Form("path label", "class names", lambda cells: (cells[0], None)),
    ("whole", "whole"): _FRAMES,
    ("whole", "text"): _FRAMES,
    ("whole", "seconds"): Form(
        "path label start",
        "DALI, seconds with a decimal point",
        lambda cells: (_label(cells[0]), (float(cells[1]), math.inf)),
    ),
    ("whole", "seconds", "seconds"): _WITH_PART,
    ("text", "seconds", "seconds"): _WITH_PART,
}
"""By the kinds of the columns after the name; see `kinds_of`."""

_AMBIGUOUS = {
    ("whole", "whole", "whole"): "path label start end of DALI, in seconds or in frames, or path "
    "offset frames label of mmaction2",
    ("text", "whole", "whole"): "path label start end, in seconds or in frames",
}
_KNOWN = "path; path label; path frames label; path label start end"


def listed_entries(rows: Sequence[Row], where: Path) -> tuple[str, list[Entry]]:
    """Return the name of the form of these rows, and their entries.

    Raises:
        VideoError: they have no known form, or one that two programs read differently.
    """
    _check_that_paths_come_first(rows, where)
    kinds = kinds_of(rows)
    if kinds not in FORMS:
        raise _unknown(rows[0], kinds, where)
    form = FORMS[kinds]
    entries = []
    for row in rows:
        label, part = form.read(row.cells[1:])
        if part is not None and not 0 <= part[0] < part[1]:
            raise VideoError(
                f"line {row.line} of {where} is {row.text!r:.200}, of the form {form.name}; the "
                "end must come after the start"
            )
        entries.append(Entry(row.line, ((short_name(row.cells[0]), part),), label))
    return form.name, entries


def kinds_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the kind of each column after the first.

    "whole" if every cell is a whole number from 0 on, "seconds" if the numbers of the column or of
    the other one of a range have a decimal point anywhere, "negative" if one is below 0, and
    "text" otherwise.
    """
    kinds = [_kind([row.cells[column] for row in rows]) for column in range(1, len(rows[0].cells))]
    if len(kinds) == 3 and "seconds" in kinds[1:]:
        kinds[1:] = ["seconds" if kind == "whole" else kind for kind in kinds[1:]]
    return tuple(kinds)


def _kind(cells: Sequence[str]) -> str:
    if all(re.fullmatch(r"\d{1,9}", cell) for cell in cells):
        return "whole"
    if all(re.fullmatch(r"\d{1,9}(\.\d*)?", cell) for cell in cells):
        return "seconds"
    if all(re.fullmatch(r"-?\d{1,9}(\.\d*)?", cell) for cell in cells):
        return "negative"
    return "text"


def _check_that_paths_come_first(rows: Sequence[Row], where: Path) -> None:
    """Refuse lists of classes, with a number before each name, and videos in another column."""
    row = rows[0]
    columns = zip(*(row.cells for row in rows))
    has_videos = [all(map(names_a_video, column)) for column in columns]
    if any(has_videos) and not has_videos[0]:
        raise VideoError(
            f"line {row.line} of {where} is {row.text!r:.200}, with a video in column "
            f"{has_videos.index(True) + 1}; expected it in the first ({_KNOWN}), or a first line "
            "that names the columns"
        )
    if all(re.fullmatch(r"\d+\s+[^/\\.]+", row.cells[0]) for row in rows):
        raise VideoError(
            f"line {row.line} of {where} is {row.text!r:.200}; expected a video at its beginning "
            f"({_KNOWN}), and not a list of classes such as classInd.txt"
        )


def _unknown(row: Row, kinds: tuple[str, ...], where: Path) -> VideoError:
    seen = f"line {row.line} of {where} is {row.text!r:.200}"
    if kinds in _AMBIGUOUS:
        return VideoError(
            f"{seen}, which may be {_AMBIGUOUS[kinds]}; write seconds with a decimal point (0.0 "
            "4.0), or a list of the form path label or path frames label"
        )
    words = {"whole": "number", "negative": "negative number"}
    form = " ".join(["path", *(words.get(kind, kind) for kind in kinds)])
    return VideoError(
        f"{seen}, of the form {form}; expected one of {_KNOWN}, or a first line that names the "
        "columns"
    )
