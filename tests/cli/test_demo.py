"""`r2p-edge demo`: its report."""

import contextlib
import json
import sys

import pytest
from requirements import needs

from r2p_edge.calibration import motion
from r2p_edge.demo import _Made, _usable_runtimes, run_demo
from r2p_edge.runtimes import RUNTIMES


@pytest.mark.slow
def test_demo(demo):
    report, folder = demo
    assert (report["clips"], report["classes"]) == (24, len(motion.CLASSES))
    result = next(r for r in report["results"] if r["runtime"] == "onnxruntime")
    assert result["precision"] == "fp32"
    assert result["top1"] >= 0.9
    assert result["agreement"] == 1
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p90"]
    videos = folder / "videos"
    assert len(list(videos.iterdir())) == len(motion.CLASSES)  # one of each class, to play with


def test_the_demo_counts_from_its_first_moment_on(tmp_path, monkeypatch):
    """Runtimes are looked for, which takes seconds, and artifacts of both precisions made."""
    seen = []

    def look():
        seen.append("runtimes")
        return ["onnxruntime", "openvino", "mindspore"], []

    def build(names, out, precision, progress):
        for number, name in enumerate(names):
            progress(f"calibrating for {name}", number, len(names))
        return [_Made(name, out / precision) for name in names], []

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("r2p_edge.demo._usable_runtimes", look)
    monkeypatch.setattr("r2p_edge.demo._build", build)
    monkeypatch.setattr("r2p_edge.demo._Run", stop)
    monkeypatch.setattr("r2p_edge.demo.Predictor", lambda *_, **__: contextlib.nullcontext())
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, 24, progress=lambda *step: seen.append(step))
    steps = [("exporting", done, 5) for done in range(6)]
    assert seen == [("exporting", 0, 1), "runtimes", *steps]


@pytest.mark.slow
def test_the_demo_on_the_command_line(run, demo, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("r2p_edge.demo.run_demo", lambda *how, **_: asked.append(how) or demo[0])
    code, output, _ = run("demo", "--num-clips", 24, "--out", tmp_path, "--json")
    assert (code, json.loads(output)) == (0, json.loads(json.dumps(demo[0])))
    assert asked == [(tmp_path, 24)]
    code, output, _ = run("demo")
    assert code == 0
    for result in demo[0]["results"]:
        assert f"{result['latency_ms']['p50']:.1f}" in output


@pytest.mark.slow
@needs("openvino")
def test_demo_has_a_row_for_each_runtime(demo):
    rows = {(row["runtime"], row["precision"]): row for row in demo[0]["results"]}
    both = [(name, how) for name in ("onnxruntime", "openvino") for how in ("fp32", "int8")]
    assert set(rows) >= set(both)
    assert max(rows[row]["top1"] for row in both) - min(rows[row]["top1"] for row in both) <= 0.01
    assert rows["openvino", "fp32"]["path"].endswith("motion-fp32.xml")
    assert rows["openvino", "int8"]["path"].endswith("motion-int8.xml")
    assert rows["openvino", "fp32"]["agreement"] == 1.0
    assert min(rows[row]["agreement"] for row in both) >= 0.98


@pytest.mark.long
@needs("openvino")
def test_demo_without_openvino(run, tmp_path, monkeypatch):

    for name in ("openvino", "mindspore"):
        monkeypatch.setitem(sys.modules, name, None)
    for clips in ("_CALIBRATED", "_JUDGED"):  # int8 is measured elsewhere
        monkeypatch.setattr(f"r2p_edge.demo.{clips}", 2)
    code, output, _ = run("demo", "--num-clips", 12, "--out", tmp_path, "--json")
    assert code == 0
    report = json.loads(output)
    rows = [(row["runtime"], row["precision"]) for row in report["results"]]
    assert rows == [("onnxruntime", "fp32"), ("onnxruntime", "int8")]
    reasons = {left["runtime"]: left["reason"] for left in report["left_out"]}
    assert "pip install openvino" in reasons["openvino"]


def test_a_runtime_that_nothing_is_exported_to_is_not_in_the_demo(monkeypatch):
    monkeypatch.setitem(RUNTIMES, "zeros", RUNTIMES["onnxruntime"])
    usable, left_out = _usable_runtimes()
    assert "zeros" not in {*usable, *(left["runtime"] for left in left_out)}
