"""Rows of a list, whatever separates their cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2p_edge.calibration.lists.table import rows_of
from r2p_edge.errors import VideoError


def cells(text):
    return [row.cells for row in rows_of(text, Path("list.txt"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b.mp4 3\n\n c.avi\t4 \n", [("a b.mp4", "3"), ("c.avi", "4")]),
        ("# path label\n#\na.mp4 3\n", [("a.mp4", "3")]),
        ("#1 fan/a.mp4 3\n", [("#1 fan/a.mp4", "3")]),
        ("a, b.mp4 3\nc, d.mp4 4\n", [("a, b.mp4", "3"), ("c, d.mp4", "4")]),
        ("a, b.mp4 3\nc.mp4 4\n", [("a, b.mp4", "3"), ("c.mp4", "4")]),
        ('"a, b.mp4",3\nc.mp4,4\n', [("a, b.mp4", "3"), ("c.mp4", "4")]),
        ("a.mp4 40 brush hair\n", [("a.mp4", "40", "brush hair")]),
        ('a.mp4 "brush hair" 0.0 1.5\n', [("a.mp4", "brush hair", "0.0", "1.5")]),
        ("some/directory-1 163 1\nsome/directory 2 165 5\n", None),
        ("some/directory-1 163 1\nsome/directory-2 165 5\n", [("some/directory-1", "163", "1"),
         ("some/directory-2", "165", "5")]),
        ("take 7 3\ntake 4\n", [("take 7", "3"), ("take", "4")]),
        ("a.mp4", [("a.mp4",)]),
    ],
)  # fmt: skip
def test_cells(text, expected):
    if expected is not None:
        assert cells(text) == expected
    else:  # the smallest number of columns is that of all
        assert cells(text) == [("some/directory-1", "163", "1"), ("some/directory 2", "165", "5")]


def test_columns_that_are_not_the_same_in_every_line():
    with pytest.raises(VideoError, match=r"line 2 of list.txt is 'b.mp4 3 4'; expected a video"):
        cells("a.mp4 3\nb.mp4 3 4\n")
    with pytest.raises(VideoError, match=r"line 3 of list.txt is 'c.mp4'"):
        cells("a.mp4 3\nb.mp4 3\nc.mp4\n")


@pytest.mark.parametrize("text", ["1 " * 4000, "a" * 8000, "a.mp4" * 1600, '"' * 8000, "," * 8000])
def test_long_lines_take_no_time(text):
    rows_of(f"{text}\n" * 20, Path("list.txt"))
