"""The pages name every number that Prometheus is told, and no other."""

import re

import pytest
from kserve import serving_brightness
from paths import ROOT

from r2p_edge.page import Board


def named_in(page):
    """Return the names in the tables of a page of docs."""
    return re.findall(r"^\| `(r2p_\w+)", (ROOT / "docs" / page).read_text(), re.MULTILINE)


def told(text):
    """Return the names in Prometheus's text format."""
    return re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)


def test_those_of_the_page():
    board = Board(["door"])
    board.counts.follow(dict)
    assert sorted(named_in("live-page.md")) == sorted(told(board.counts.metrics.text()))


@pytest.mark.slow
def test_those_of_the_server(tmp_path):
    with serving_brightness(tmp_path) as server:
        text = server.model.numbers.metrics.text()
    assert sorted(named_in("serving.md")) == sorted(told(text))
