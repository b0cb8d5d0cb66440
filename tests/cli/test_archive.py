"""`r2p-edge predict` of folders and patterns, and with `--out`."""

import csv
import json
import re
import shutil

import pytest
from exit_codes import DATA, USAGE
from requirements import needs

from r2p_edge.archive import list_file, results


@pytest.fixture
def clips(clip, tmp_path):
    """A folder with two videos, one of them damaged."""
    folder = tmp_path / "clips"
    (folder / "sub").mkdir(parents=True)
    shutil.move(clip, folder / "sub" / "good one.mp4")
    (folder / "bad.avi").write_text("no video")
    return folder


def test_a_folder_and_a_pattern_are_printed(run, model, clips):
    code, output, errors = run("predict", model, clips, "--json")
    assert code == DATA
    bad, good = map(json.loads, output.splitlines())
    assert "bad.avi cannot be read" in bad["error"]
    assert good["video"] == str(clips / "sub/good one.mp4")
    code, output, errors = run("predict", model, f"{clips}/**/*.mp4", "--json")
    assert (code, errors) == (0, "")
    assert json.loads(output)["top"] == good["top"]


def test_a_pattern_that_nothing_fits(run, model, clips):
    code, output, _ = run("predict", model, "no*.mp4", clips / "sub", "--json")
    assert code == DATA
    failed, good = map(json.loads, output.splitlines())
    assert failed["error"].startswith("no file fits no*.mp4")
    assert good["label"]


@pytest.mark.slow
def test_a_table(run, model, clips, tmp_path):
    out = tmp_path / "results.csv"
    code, output, errors = run("predict", model, clips, "--out", out, "--workers", 1, "--top", 2)
    assert code == DATA
    assert output.startswith(f"{out}: 2 videos, 1 of them with an error\n  2 answered now, ")
    assert errors == ""
    assert re.search(r"\n  failed: .*bad\.avi cannot be read as a video", output)
    with out.open(newline="") as file:
        bad, good = csv.DictReader(file)
    assert "cannot be read" in bad["error"]
    answer = json.loads(run("predict", model, f"{clips}/sub", "--json")[1])
    assert [(good["label"], good["score"]), (good["label_2"], good["score_2"])] == [
        (each["label"], str(each["score"])) for each in answer["top"][:2]
    ]
    shutil.copy(clips / "sub/good one.mp4", clips / "bad.avi")
    resumed = ("predict", model, clips, "--out", out, "--top", 2, "--resume", "--json")
    report = {"out": str(out), "videos": 2, "failed": 1, "new": 0, "workers": 0}
    report["failures"] = [{"video": str(clips / "bad.avi"), "error": bad["error"]}]
    code, output, _ = run(*resumed)
    assert code == DATA
    assert json.loads(output).items() >= report.items()
    code, output, _ = run(*resumed, "--retry-failed")
    assert code == 0
    assert json.loads(output).items() >= {"failed": 0, "new": 1, "workers": 1}.items()
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["error"] for row in rows] == ["", ""]
    assert rows[0]["score"] == rows[1]["score"]


def test_refusals(fails, model, clips, tmp_path):
    out = ("--out", tmp_path / "r.csv")
    fails(USAGE, "there is no video to look at; give videos, or a folder", "predict", model)
    for option in ("--resume", "--retry-failed", ("--workers", "auto"), ("--shard", "1/2")):
        words = [option] if isinstance(option, str) else option
        fails(
            USAGE, f"{words[0]} is for answers that go into a file", "predict", model, clips, *words
        )
    for words, message in (
        (("--workers", "0"), "--workers is 0; it must be a number from 1 on, or auto"),
        (("--shard", "3"), "--shard is 3; it must be a share and their number, as in 3/20"),
        (("--shard", "0/2"), "shard 0/2 does not exist"),
        (("--timeout", "-1"), "timeout is -1.0; it must be"),
        (("--retry-failed",), "only with resume (--resume)"),
        (("--list", "list.xyz"), "give a .txt, .csv or .parquet file"),
    ):
        fails(USAGE, message, "predict", model, clips, *out, *words)
    fails(USAGE, "results are written to .csv", "predict", model, clips, "--out", "r.xml")
    fails(DATA, "list list.txt cannot be read", "predict", model, *out, "--list", "list.txt")


def test_parquet_without_pyarrow(fails, model, clips, tmp_path, monkeypatch):
    from r2p_edge._optional import import_library

    def absent():
        return import_library("no_such_pyarrow", "pip install pyarrow, or take CSV")

    monkeypatch.setattr(results, "import_parquet", absent)
    monkeypatch.setattr(list_file, "import_parquet", absent)
    message = "not installed; pip install pyarrow, or take CSV"
    fails(5, message, "predict", model, clips, "--out", tmp_path / "r.parquet")
    fails(5, message, "predict", model, "--list", "l.parquet", "--out", tmp_path / "r.csv")
    assert not (tmp_path / "r.parquet.journal").exists()


@pytest.mark.slow
@needs("pyarrow")
def test_parquet_in_parquet_out(run, model, clips, tmp_path):
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"path": ["good one.mp4"] * 2, "start": [None, 0.4]})
    parquet.write_table(table, tmp_path / "list.parquet")
    out = tmp_path / "results.parquet"
    code, _, errors = run(
        *("predict", model, clips / "sub", "--list", tmp_path / "list.parquet", "--out", out)
    )
    assert (code, errors) == (0, "")
    whole, part = parquet.read_table(out).to_pylist()
    assert (whole["start"], part["start"]) == (None, 0.4)
    assert whole["score"] != part["score"]
    assert part["span_start"] >= 0.4
