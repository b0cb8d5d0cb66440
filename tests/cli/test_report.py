"""`r2p-edge report` and `r2p-edge eval --report`."""

import json

import pytest
from answers_of_models import answered, of_pairs, write_rows
from exit_codes import DATA, MODEL, USAGE


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows = 1.csv", of_pairs([("run", "run"), ("sit", "run")]))


def test_a_page_and_its_figures(run, rows, tmp_path):
    out = tmp_path / "report.html"
    code, output, errors = run("report", rows, "--out", out)
    assert code == 0
    assert output.startswith(f"{out}: 2 videos, 3 classes\n\nmodel   runs on ")
    assert "m.onnx  onnxruntime on cpu, fp32  50.0%  9.5% to 90.5%" in output
    assert "the model cannot be looked at: model models/m.onnx does not exist" in errors
    assert out.read_text().startswith("<!DOCTYPE html>")
    code, output, _ = run("report", rows, "--out", out, "--json")
    report = json.loads(output)
    assert (report["out"], report["videos"], report["results"][0]["top1"]) == (str(out), 2, 0.5)


def test_no_better_than_chance_is_a_warning(run, tmp_path):
    wrong = write_rows(tmp_path / "r.csv", of_pairs(list(zip("ab" * 6, "ba" * 6))))
    code, _, errors = run("report", wrong, "--out", tmp_path / "report.html")
    assert code == 0
    assert "r2p-edge: warning: models/m.onnx: top-1 is 0.0% on 12 clips, which is not" in errors


def test_without_classes(run, tmp_path):
    rows = write_rows(tmp_path / "r.csv", [answered("a.mp4", "run")])
    code, output, errors = run("report", rows, "--out", tmp_path / "r.html")
    assert (code, output) == (0, f"{tmp_path / 'r.html'}: 1 video, 2 classes\n")
    assert "give a list of videos and classes (--truth FILE)" in errors


def test_what_is_wrong(fails, rows, model, tmp_path):
    out = ("--out", tmp_path / "report.html")
    fails(DATA, "cannot be read", "report", tmp_path / "absent.csv", *out)
    fails(USAGE, "ends in .txt; results are", "report", tmp_path / "a.txt", *out)
    fails(USAGE, "a report is an .html file", "report", rows, "--out", tmp_path / "a.pdf")
    fails(DATA, "there is no folder", "report", rows, "--out", tmp_path / "absent" / "a.html")
    fails(USAGE, "for --truth", "report", rows, *out, "--truth", tmp_path / "absent.txt")
    fails(MODEL, "give the file that answered", "report", rows, *out, "--model", model)
    fails(USAGE, "-1 videos to show", "report", rows, *out, "--worst", -1)
    eval_ = ("eval", model, "--videos", tmp_path, "--report")
    fails(USAGE, "-1 videos to show", *eval_, tmp_path / "a.html", "--worst", -1)
    report = ("--report", tmp_path / "a.txt")
    fails(USAGE, "a report is an .html file", "eval", model, "--videos", tmp_path, *report)
    assert not (tmp_path / "report.html").exists()
