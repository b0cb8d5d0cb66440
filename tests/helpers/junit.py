"""The results of a run of pytest, as `--junitxml` writes them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """A test: the file as a dotted path from the root, and the name with its parameters."""

    file: str
    name: str


def case_of(test: str) -> Case:
    """Return the case of a test, "tests/file.py::name"."""
    file, _, name = test.partition("::")
    return Case(file.removesuffix(".py").replace("/", "."), name)


def passed_cases(report: Path) -> set[Case]:
    """Return the tests that passed in the run of a JUnit file."""
    return {
        Case(case.get("classname", ""), case.get("name", ""))
        for case in ElementTree.parse(report).iter("testcase")
        if not case.findall("*[@message]")  # skipped, failure and error have one
    }
