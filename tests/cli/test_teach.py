"""`r2p-edge teach`: what it prints, and its exit codes."""

import json

import pytest
from exit_codes import DATA, USAGE
from graded import graded_folder
from requirements import needs

from r2p_edge.cli import main

pytestmark = [needs("onnx"), needs("onnxruntime")]


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    graded_folder(folder / "mine", {"rising": 2, "falling": 3})
    return folder / "mine"


def run(*words):
    return main([str(word) for word in words])


def test_the_report_for_people(model, mine, tmp_path, capsys):
    out = tmp_path / "mine.onnx"
    assert run("teach", model, "--videos", mine, "--out", out) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 2 classes of 2 to 3 videos, by nearest class mean\n")
    judged = "cross-validated in 3 parts: 100.0% of 5 videos right (95 % interval 56.5% to 100.0%)"
    assert f"  {judged}\n" in said
    assert "the new head was checked: its answers and NumPy's differ by at most" in said
    assert run("info", out) == 0
    shown = capsys.readouterr().out
    assert f"   taught  5 videos, by nearest class mean; {judged}\n" in shown
    assert "   parity  the head, on the features of the parent, verified against NumPy: " in shown
    assert "{" not in shown
    assert "[" not in shown
    assert "digests" not in shown


def test_what_was_measured_is_shown_again(model, mine, tmp_path, capsys):
    out, others = tmp_path / "mine.onnx", tmp_path / "others"
    graded_folder(others, {"rising": 1, "falling": 1}, first=100)
    assert run("teach", model, "--videos", mine, "--test", others, "--out", out) == 0
    (line,) = [
        each for each in capsys.readouterr().out.splitlines() if each.startswith("  measured: ")
    ]
    assert "100.0% of 2 videos right" in line
    assert run("info", out) == 0
    assert f" measured  {line.removeprefix('  measured: ')}\n" in capsys.readouterr().out


def test_the_report_for_machines(model, mine, tmp_path, capsys):
    words = ("--videos", mine, "--reject", "--save-features", tmp_path / "kept.npz")
    assert run("teach", model, *words, "--out", tmp_path / "m.onnx", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == ["falling", "rising", "none of these"]
    assert found["classes"] == {"falling": 3, "rising": 2}
    assert found["head"]["reject"]["label"] == "none of these"
    assert found["parity"]["max_rel"] < 1e-5
    words = ("--from", tmp_path / "kept.npz", "--out", tmp_path / "again.onnx")
    assert run("teach", model, *words) == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--add", "x"], USAGE, "--add takes classes to add to those of a file of features"),
        (["--videos", "x", "--from", "y"], USAGE, "give --add in its place"),
        (["--videos", "x"], DATA, "there is no folder x"),
        (["--videos", "x", "--split", "none.txt"], USAGE, "there is no file none.txt"),
        ([], USAGE, "nothing to learn from"),
    ],
    ids=["add", "from", "folder", "split", "nothing"],
)
def test_refusals(model, tmp_path, capsys, words, code, says):
    assert run("teach", model, *words, "--out", tmp_path / "m.onnx") == code
    assert says in capsys.readouterr().err
