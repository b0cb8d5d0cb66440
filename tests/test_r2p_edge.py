"""The face of the package: its public names, each of which is imported when it is asked for."""

import ast
import importlib
import subprocess
import sys

import pytest
from paths import ROOT

import r2p_edge

# A name's home as type checkers read it; at run time a table says the same.
DECLARED = {
    alias.name: node.module
    for node in ast.walk(ast.parse((ROOT / "r2p_edge/__init__.py").read_text()))
    if isinstance(node, ast.ImportFrom) and node.module != "typing"
    for alias in node.names
}


def run(code):
    """Return what this code prints in a process that has imported nothing of the package."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_every_public_name_is_the_one_that_type_checkers_see():
    assert DECLARED.keys() == set(r2p_edge.__all__)
    for name, home in DECLARED.items():
        assert getattr(r2p_edge, name) is getattr(importlib.import_module(home), name), name


def test_a_name_is_imported_once(monkeypatch):
    assert r2p_edge.Predictor is vars(r2p_edge)["Predictor"]
    monkeypatch.setattr(r2p_edge, "Predictor", "another")
    assert r2p_edge.Predictor == "another"


@pytest.mark.parametrize("name", r2p_edge.__all__)
def test_a_name_can_be_asked_for_first(name):
    code = f"import r2p_edge; assert {name!r} in dir(r2p_edge); from r2p_edge import {name}"
    run(f"{code}; assert r2p_edge.{name} is {name}")


def test_a_star_imports_all_names():
    code = "from r2p_edge import *; import r2p_edge; print(sorted({*dir()} & {*r2p_edge.__all__}))"
    assert ast.literal_eval(run(code)) == sorted(r2p_edge.__all__)


@pytest.mark.slow
def test_the_rooms_are_attributes_of_the_package():
    for room in (
        *("artifact", "errors", "frame", "live", "prediction"),
        *("predictor", "preprocess", "runtimes", "spec", "video"),
    ):
        assert run(f"import r2p_edge; print(r2p_edge.{room}.__name__)") == f"r2p_edge.{room}\n"


def test_an_unknown_name_is_an_error_that_names_the_package():
    with pytest.raises(AttributeError, match="module 'r2p_edge' has no attribute 'Predictr'"):
        r2p_edge.Predictr  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Predictr' from 'r2p_edge'"):
        from r2p_edge import Predictr  # noqa: F401
