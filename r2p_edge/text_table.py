"""Tables of plain text, with their columns aligned, in blocks as wide as a terminal."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence

_WIDTH = 200  # of the output where it is no terminal, in columns


def terminal_width() -> int:
    """Return the columns of the terminal; plenty where the output is none."""
    return shutil.get_terminal_size((_WIDTH, 24)).columns


def rate_text(value: float) -> str:
    """Return a rate with one decimal, or with two significant digits where it is small."""
    if value <= 0 or value >= 1:
        return f"{value:.1f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"


def table_lines(
    names: Sequence[str], cells: Sequence[Sequence[str]], *, keys: int, width: int
) -> list[str]:
    """Return the lines of a table; each of its blocks begins with an empty one.

    Args:
        names: of the columns.
        cells: rows; one of fewer cells than there are names has those that name it and, in place
            of the others, one of any length, such as an error.
        keys: number of the first columns, which name a row and begin the first block; the others
            begin with the first one. They are aligned to the left, and all others to the right.
        width: most characters of a line, where it is not that of one column.
    """
    cells = [[" ".join(cell.split()) for cell in row] for row in cells]
    widths = [
        max(
            len(name),
            *(len(row[place]) for row in cells if len(row) == len(names) or place < keys),
        )
        for place, name in enumerate(names)
    ]
    lines = []
    for number, block in enumerate(_blocks(widths, keys, width)):
        lines += ["", _line(names, widths, keys, block)]
        for row in cells:
            if len(row) == len(names):
                lines.append(_line(row, widths, keys, block))
            elif number == 0:
                named = [*row[:keys], row[-1]]
                lines.append(_line(named, [*widths[:keys], 0], keys, range(keys + 1)))
    return lines


def _blocks(widths: Sequence[int], keys: int, most: int) -> list[list[int]]:
    """Return the columns of each block, as many as fit into a line; each begins with the names."""
    blocks = [list(range(keys))]
    for place in range(keys, len(widths)):
        length = sum(widths[each] + 2 for each in blocks[-1])
        if length + widths[place] > most and len(blocks[-1]) > keys:
            blocks.append([0])
        blocks[-1].append(place)
    return blocks


def _line(row: Sequence[str], widths: Sequence[int], keys: int, block: Iterable[int]) -> str:
    cells = [
        row[place].ljust(widths[place]) if place < keys else row[place].rjust(widths[place])
        for place in block
    ]
    return "  ".join(cells).rstrip()
