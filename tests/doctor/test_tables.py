"""Diagnosis as tables."""

from __future__ import annotations

import re

import pytest
from doctor_reports import without_extension, without_runtimes

from r2p_edge.doctor import diagnosis, probe, tables
from r2p_edge.runtimes import mindspore_lite


def spoiled(report):
    """Return the report with everything missing and broken at once."""
    without_extension(report)
    without_runtimes(report)
    report["runtimes"]["openvino"] |= {
        "install": None,
        "version": "2026.4.1-22982-e213a147257-releases/2026/4",
        "status": "failing",
        "devices": [{"device": "gpu", "conv3d": "no [kernel] " * 12, "conv2d": "not checked"}],
    }
    report["decoders"]["opencv"] |= {"status": "missing", "install": "pip install 'r[opencv]'"}
    report["packages"]["onnx"] = {"version": None, "install": "pip install onnx"}
    report["machine"] |= {"cpu": None, "memory": None, "features": None, "int8": "unknown"}
    return report


def printed(report, capsys):
    ready, summary = diagnosis._summary(report)
    tables.print_diagnosis({"ready": ready, "summary": summary, **report})
    return capsys.readouterr().out


@pytest.mark.parametrize("spoil", [lambda report: report, spoiled], ids=["well", "spoiled"])
def test_tables_fit_into_80_columns(report, spoil, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    text = re.sub("\x1b\\[[0-9;]*m", "", printed(spoil(report), capsys))
    assert max(map(len, text.splitlines())) <= 80
    for name in ("onnxruntime", "openvino", "2026.4.1", "PyAV", "INT8 on CPU", "conv3d"):
        assert name in text


@pytest.mark.parametrize("terminal", [True, False])
def test_an_address_is_not_cut(report, terminal, capsys, monkeypatch):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
    missing = {"status": "missing", "install": mindspore_lite._INSTALL}
    report["runtimes"]["mindspore_lite"] = {**probe.blank("mindspore_lite"), **missing}
    text = re.sub("\x1b\\[[0-9;]*m", "", printed(report, capsys))
    assert mindspore_lite.DOWNLOADS in text
    assert f"mindspore_lite is missing: {mindspore_lite._INSTALL}" in " ".join(text.split())
    if terminal:
        assert max(map(len, text.splitlines())) <= 80


def test_without_a_terminal_nothing_is_cut(report, capsys):
    report["machine"]["os"] = "Linux-" + "x" * 90
    assert report["machine"]["os"] in printed(report, capsys)


def test_tables_without_a_terminal(report, capsys):
    lines = [line.rstrip() for line in printed(report, capsys).splitlines()]
    assert lines[0] == "Ready: onnxruntime on cpu, openvino on cpu, openvino on gpu"
    assert max(map(len, lines)) <= 80
    cells = [line.split() for line in lines]
    assert ["openvino", "ok", "2026.4.1", "gpu", "ok", "ok"] in cells
    assert ["decoders", "h264,", "hevc,", "mpeg4,", "av1,", "vp9,", "mjpeg"] in cells


def test_what_is_missing_is_printed(report, capsys):
    text = printed(spoiled(report), capsys)
    first, second, third = text.splitlines()[:3]
    assert first == (
        "Not ready: no runtime runs a model here (pip install onnxruntime); no frame "
        "can be preprocessed without the C++ extension or OpenCV "
        "(pip install opencv-python-headless)"
    )
    assert second.startswith("openvino on gpu, conv3d: no [kernel] no [kernel]")
    assert third == "C++ extension: no module"
    cells = [line.split() for line in text.splitlines()]
    assert ["onnxruntime", "missing", "-", "-", "-", "-"] in cells
    assert ["openvino", "failing", "2026.4.1", "gpu", "failed", "not", "checked"] in cells
    assert ["onnxruntime", "missing:", "pip", "install", "onnxruntime"] in cells
    assert ["preprocessing", "slow;", "compile", "it"] in cells
