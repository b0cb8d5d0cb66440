"""`r2p-edge benchmark`: its output, files and exit codes."""

from __future__ import annotations

import json

import pytest
from benchmark_rows import TRUTHS, fallen, measured, report
from exit_codes import BACKEND, DATA, MODEL, USAGE
from requirements import needs

import r2p_edge.benchmark


@pytest.fixture
def asked(monkeypatch):
    """Benchmarks that measure nothing; returns the arguments that they were given."""
    given = {}

    def benchmark(model, **options):
        given.update(options, model=model)
        return report([measured("m.onnx", 1), fallen("x.onnx", "it ended Python")], TRUTHS,
                      held_out=False)  # fmt: skip

    monkeypatch.setattr(r2p_edge.benchmark, "benchmark", benchmark)
    return given


def test_options_and_the_exit_code_of_a_row_that_failed(run, asked, tmp_path):
    file = tmp_path / "a.csv"
    code, output, errors = run(
        "benchmark", "a.pth", "--preset", "ucf101-mindspore", "--bn-eps", "0.001", "--out", file,
        "--runtimes", "onnxruntime, openvino,", "--num-clips", 3, "--labels", file.parent,
        "--threads", 2, "--videos", tmp_path, "--keep", tmp_path, "--timeout", "5",
    )  # fmt: skip
    assert code == BACKEND
    assert errors.startswith("r2p-edge: warning: int8 was calibrated on the videos")
    assert "x.onnx  failed: it ended Python\n" in output
    assert file.read_text().startswith("file,path,runtime,")
    assert callable(asked.pop("progress"))
    assert asked == {
        "model": "a.pth", "videos": tmp_path, "num_clips": 3, "keep": tmp_path, "threads": 2,
        "runtimes": ["onnxruntime", "openvino"], "timeout": 5.0,
        "recipe": {"preset": "ucf101-mindspore", "labels": str(tmp_path), "bn_eps": 0.001},
    }  # fmt: skip


def test_json_and_no_options(run, asked):
    code, output, _ = run("benchmark", "motion", "--json")
    assert code == BACKEND
    assert json.loads(output)["recommended"]["file"] == "m.onnx"
    assert (asked["runtimes"], asked["recipe"], asked["keep"]) == (None, {}, None)


def test_mistakes(fails, model, tmp_path):
    fails(USAGE, "ends in .txt; give", "benchmark", model, "--out", tmp_path / "a.txt")
    fails(DATA, "there is no folder", "benchmark", model, "--out", tmp_path / "no" / "a.md")
    fails(USAGE, "unknown runtime 'onx'", "benchmark", model, "--runtimes", "onx")
    fails(USAGE, "num_clips is -1", "benchmark", model, "--num-clips", -1)
    fails(MODEL, "does not exist", "benchmark", "no.xml", "--runtimes", "tensorrt")


@pytest.mark.slow
@needs("onnxruntime")
def test_a_folder_is_measured(run, model, tmp_path):
    code, output, errors = run(
        "benchmark", model.parent, "--runtimes", "onnxruntime,acl", "--num-clips", 2,
        "--out", tmp_path / "a.md",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    last = output.splitlines()[-1]
    assert last.startswith("Use model.onnx on onnxruntime fp32: ")
    assert last.endswith("; accuracy was not measured.")
    assert "left out: acl: not installed" in output
    assert "Use model.onnx on onnxruntime fp32" in (tmp_path / "a.md").read_text()
