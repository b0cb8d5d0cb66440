"""The laws of the house that a linter does not know: words, names and sizes."""

import ast
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from paths import ROOT

_LISTED = subprocess.check_output(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
)
_CODE = {".py", ".pyi", ".cpp", ".h", ".hpp"}
FILES = [
    file
    for file in map(Path, _LISTED.splitlines())
    if file.suffix in _CODE and (ROOT / file).exists()
]
PACKAGE = [file for file in FILES if file.parts[0] in ("r2p_edge", "export", "calibration")]
OUTSIDE_TESTS = [file for file in FILES if file.parts[0] != "tests"]

# A docstring says what a function does or a thing is, in a sentence that stands by itself.
NOT_AN_OPENING = {"what", "of", "whether", "those", "which", "also"}

# Public names that stand in several modules for a reason.
SHARED_NAMES = {
    "add": "adds its verb to the parser, in each module of cli that is a verb",
    "run": "runs the verb",
    "show": "shows its result to people",
}


def public_names(tree):
    """The module-level names that a file defines for others."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def parsed(file):
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_public_name_is_defined_once():
    homes = defaultdict(set)
    for file in PACKAGE:
        if file.suffix == ".py" and file.name != "_frames_py.py":  # the twin of _frames
            for name in public_names(parsed(file)):
                if not name.startswith("_"):
                    homes[name].add(str(file))
    twice = {name: found for name, found in homes.items() if len(found) > 1}
    assert twice.keys() == SHARED_NAMES.keys(), twice
    assert len(SHARED_NAMES) <= 10


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix == ".py"], ids=str)
def test_docstrings_open_with_a_verb_or_a_noun(file):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(parsed(file)):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            opening = text.split()[0].strip("`,;:.\"'").lower()
            where = getattr(node, "name", "the module")
            assert opening not in NOT_AN_OPENING, f"{file}, {where}: {text.splitlines()[0]}"


def test_files_are_short():
    lengths = {file: len((ROOT / file).read_text().splitlines()) for file in OUTSIDE_TESTS}
    assert max(lengths.values()) <= 400, max(lengths, key=lengths.get)
    assert statistics.median(lengths.values()) <= 150
