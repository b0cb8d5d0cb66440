"""Aligned tables of text."""

from __future__ import annotations

import pytest

from r2p_edge.text_table import rate_text, table_lines

NAMES = ["model", "on", "top-1", "p50 ms"]
CELLS = [["a.onnx", "cpu", "99.5%", "1.2"], ["b\n.xml", "-", "error: it\nended"]]


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1234.56, "1234.6"), (7.12, "7.1"), (0.96, "0.96"), (0.0243, "0.024"), (0.0, "0.0")],
    ids=str,
)
def test_rates_keep_two_digits(rate, text):
    assert rate_text(rate) == text


def test_columns_are_aligned_and_a_row_may_end_early():
    assert table_lines(NAMES, CELLS, keys=2, width=80) == [
        "",
        "model   on   top-1  p50 ms",
        "a.onnx  cpu  99.5%     1.2",
        "b .xml  -    error: it ended",
    ]


@pytest.mark.parametrize("width", [1, 20, 24])
def test_a_narrow_terminal_gets_blocks_that_begin_with_the_names(width):
    assert table_lines(NAMES, CELLS, keys=2, width=width) == [
        "",
        "model   on   top-1",
        "a.onnx  cpu  99.5%",
        "b .xml  -    error: it ended",
        "",
        "model   p50 ms",
        "a.onnx     1.2",
    ]
