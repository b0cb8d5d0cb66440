"""The report of a benchmark as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import json
import re

import pytest
from benchmark_rows import RIGHT, TRUTHS, fallen, measured, report

from r2p_edge.benchmark import print_benchmark, write_benchmark
from r2p_edge.benchmark.candidates import LeftOut
from r2p_edge.errors import OutputError, UsageError


@pytest.fixture
def found():
    rows = [
        measured("m-fp32.onnx", 10),
        measured("m-int8.xml", 2, runtime="openvino"),
        fallen("m-fp32-conv2d.onnx", "it ended\nPython | badly"),
    ]
    left_out = (LeftOut("tensorrt", "not installed"), LeftOut("acl", "not installed"))
    return report(rows, TRUTHS, others=0.8, temporary=True, left_out=left_out)


@pytest.mark.parametrize("columns", [60, 80, 400])
def test_every_figure_is_shown_within_the_width(found, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_benchmark(found)
    printed = capsys.readouterr().out
    for text in ("p50 ms", "all cores", "above", "top-1 (95 %)", "100.0% (98% to 100%)", "800.0"):
        assert text in printed
    table = printed.split("\n\nThe machine")[0].splitlines()[2:]
    assert max(len(line) for line in table if "failed" not in line) <= max(columns, 62)
    assert printed.count("failed: it ended Python | badly") == 1


def test_sentences_below_the_table(found, capsys):
    print_benchmark(found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3] == (
        "The machine was busy: other programs used 0.8 of 2 cores, so the times are too long. All "
        "rows took turns, so their ratios hold."
    )
    assert lines[-2] == "left out: tensorrt, acl: not installed"
    assert lines[-1] == (
        "Use m-int8.xml on openvino fp32: 2.0 ms a clip, 5.00 times as fast as onnxruntime fp32; "
        "right on 100.0% of 200 clips, where onnxruntime fp32 is on 100.0%; --keep DIR keeps the "
        "file."
    )


@pytest.mark.parametrize(
    ("others", "clips", "heats", "uncertain"),
    [(0.8, 200, 1, False), (1.2, 200, 1, True), (0.8, 8, 1, True), (0.8, 200, 2, True),
     (0.1, 8, 2, False)],
    ids=["some work", "much work", "few clips", "two groups", "quiet"],
)  # fmt: skip
def test_ratios_that_a_busy_machine_makes_uncertain(others, clips, heats, uncertain, capsys):
    rows = [measured("m.onnx", 10, RIGHT[:clips]), measured("n.onnx", 5, RIGHT[:clips])]
    groups = [rows] if heats == 1 else [rows[:1], rows[1:]]
    found = report(rows, TRUTHS[:clips], others=others, heats=groups)
    print_benchmark(found)
    printed = capsys.readouterr().out
    assert found["other_programs"]["ratios_uncertain"] is uncertain
    assert ("run it again on a quiet machine" in printed) is uncertain
    assert ("their ratios hold" in printed) is (found["other_programs"]["busy"] and not uncertain)


def test_rates_of_slow_rows_are_not_rounded_away(capsys):
    row = measured("m.onnx", 41_000.0)
    row.throughputs = [0.0123, 0.0125]
    print_benchmark(report([row], TRUTHS))
    printed = capsys.readouterr().out
    assert re.search(r" 0\.024\b", printed)
    assert re.search(r" 0\.012\b", printed)


def test_files_have_the_same_figures(found, tmp_path):
    for name in ("a.json", "a b=é.csv", "a.MD"):
        write_benchmark(found, tmp_path / name)
    assert json.loads((tmp_path / "a.json").read_text()) == found
    with (tmp_path / "a b=é.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["m-int8.xml", "m-fp32.onnx", "m-fp32-conv2d.onnx"]
    assert [row["latency_ms_p50"] for row in rows] == ["2.0", "10.0", ""]
    assert [row["recommended"] for row in rows] == ["True", "False", "False"]
    assert rows[2]["error"] == "it ended\nPython | badly"
    assert rows[0]["top1_low"] == str(found["results"][0]["top1_interval"][0])
    lines = (tmp_path / "a.MD").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in table} == {16}
    assert r"failed: it ended Python \| badly" in table[-1]


def test_names_that_are_no_text(found, tmp_path):
    found["model"] = found["results"][0]["file"] = found["recommended"]["file"] = "a\udcff\n.onnx"
    for suffix in (".json", ".csv", ".md"):
        write_benchmark(found, tmp_path / f"r{suffix}")
        (tmp_path / f"r{suffix}").read_text("utf-8")
    assert json.loads((tmp_path / "r.json").read_text())["model"] == "a\udcff\n.onnx"


def test_files_that_cannot_be_written(found, tmp_path):
    with pytest.raises(
        UsageError, match=r"ends in .txt; give a file that ends in .json, .csv, .md"
    ):
        write_benchmark(found, tmp_path / "a.txt")
    with pytest.raises(OutputError, match="there is no folder"):
        write_benchmark(found, tmp_path / "no" / "a.json")
    assert list(tmp_path.iterdir()) == []
