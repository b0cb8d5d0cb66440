"""The text of a list as rows of cells, whatever separates them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.calibration.lists.columns import is_header
from r2p_edge.errors import VideoError
from r2p_edge.spec.text_files import read_text_file
from r2p_edge.video.video_folder import VIDEO_SUFFIXES

_LONGEST = 8192  # characters of a line: a path has at most 4096

_SUFFIX = "|".join(suffix[1:] for suffix in sorted(VIDEO_SUFFIXES))
_WITH_SUFFIX = re.compile(
    rf"""(?P<name>"[^"]+"|'[^']+'|.*\.(?:{_SUFFIX}))(?:\s+(?P<rest>\S.*))?""", re.IGNORECASE
)
_SUFFIX_AND_MORE = re.compile(rf".*\.(?:{_SUFFIX})\s+\S", re.IGNORECASE)
_NUMBER = r"-?\d+(?:\.\d*)?"
_WITHOUT_SUFFIX = re.compile(rf"(?P<name>\S.*?)(?P<rest>(?:\s+{_NUMBER})*)")
_LABEL = re.compile(rf"(?P<before>(?:{_NUMBER}\s+)*)(?P<label>\S.*?)(?P<after>(?:\s+{_NUMBER})*)")


@dataclass(frozen=True)
class Row:
    """A line that is not blank.

    Attributes:
        line: its number, from 1 on.
        text: the line.
        cells: its columns.
    """

    line: int
    text: str
    cells: tuple[str, ...]


def read_text(path: Path) -> str:
    """Return the text of a list.

    Raises:
        VideoError: it cannot be read, or is in another encoding; see `read_text_file`.
    """
    try:
        return read_text_file(path)
    except OSError as error:
        raise VideoError(f"list {path} cannot be read ({error}); check the path") from error
    except ValueError as error:
        raise VideoError(f"list {path} cannot be read: {error}") from error


def rows_of(text: str, where: Path) -> list[Row]:
    """Split the text of a list into rows of the same number of cells, the name of the video first.

    Cells are separated by commas, semicolons, tabs or spaces, as all lines have it; names may have
    spaces in them. Blank lines and # lines before the first row are left out.

    Raises:
        VideoError: there is no row, or the rows do not have the same number of cells.
    """
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    while lines and re.match("#(\\s|$)", lines[0][1]):
        lines.pop(0)
    if not lines:
        raise VideoError(f"list {where} names no video; expected lines as in trainlist01.txt")
    number, longest = max(lines, key=lambda numbered: len(numbered[1]))
    if len(longest) > _LONGEST:
        raise VideoError(
            f"line {number} of {where} has {len(longest)} characters; expected a video in each line"
        )
    for separator in (",", "\t", ";"):
        rows = _separated(lines, separator)
        if rows is not None:
            return rows
    return _spaced(lines, where)


def _separated(lines: Sequence[tuple[int, str]], separator: str) -> list[Row] | None:
    """Return the rows if every line has the same number of these separators, at least one."""
    read = csv.reader([line for _, line in lines], delimiter=separator, skipinitialspace=True)
    try:
        cells = [tuple(cell.strip() for cell in row) for row in read]
    except csv.Error:  # a cell of more than 128 KiB
        return None
    widths = {len(row) for row in cells}
    if len(cells) != len(lines) or len(widths) > 1 or widths <= {0, 1}:
        return None
    if any(_SUFFIX_AND_MORE.match(cell) for row in cells for cell in row):  # a comma in a name
        return None
    return [Row(number, line, row) for (number, line), row in zip(lines, cells)]


def _spaced(lines: Sequence[tuple[int, str]], where: Path) -> list[Row]:
    """Return the rows of lines whose cells are separated by spaces."""
    number, first = lines[0]
    if is_header(first.split()):
        header = Row(number, first, tuple(first.split()))
        rows = [Row(n, line, tuple(line.split())) for n, line in lines[1:]]
        if all(len(row.cells) == len(header.cells) for row in rows):
            return [header, *rows]
        return [header, *_spaced(lines[1:], where)]
    found = [(_cells(line), _WITH_SUFFIX.fullmatch(line) is not None) for _, line in lines]
    # A name without a suffix may end with numbers of its own.
    width = next((len(cells) for cells, sure in found if sure), min(len(c) for c, _ in found))
    rows = []
    for (number, line), (cells, sure) in zip(lines, found):
        extra = len(cells) - width
        if extra < 0 or (extra and sure):
            raise VideoError(
                f"line {number} of {where} is {line!r:.200}; expected a video with the same "
                "columns in every line, such as <Class>/<video> with a class id after it in all "
                "lines or in none, as in trainlist01.txt"
            )
        if extra:
            cells = (line.rsplit(maxsplit=width - 1)[0] if width > 1 else line, *cells[extra + 1 :])
        rows.append(Row(number, line, cells))
    return rows


def _cells(line: str) -> tuple[str, ...]:
    """Return the name of a line and the cells behind it."""
    match = _WITH_SUFFIX.fullmatch(line)
    if match is None:
        match = _WITHOUT_SUFFIX.fullmatch(line)
        assert match is not None
        return (match["name"], *match["rest"].split())
    name = match["name"].strip("\"'")
    if match["rest"] is None:
        return (name,)
    rest = match["rest"]
    if re.fullmatch(rf"{_NUMBER}(\s+{_NUMBER})*", rest):
        return (name, *rest.split())
    label = _LABEL.fullmatch(rest)
    assert label is not None
    return (name, *label["before"].split(), label["label"].strip("\"'"), *label["after"].split())
