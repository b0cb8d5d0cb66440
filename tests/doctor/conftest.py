"""Fixtures of the tests of doctor."""

from __future__ import annotations

import pytest
from alarm import set_alarm

from r2p_edge import _isolated
from r2p_edge.doctor import diagnosis, probe
from r2p_edge.doctor.layers import LAYERS


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Put a package of this name and this code in front of the one that is installed."""

    def library(name, code):
        folder = tmp_path / "libraries" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(code)
        monkeypatch.syspath_prepend(folder.parent)

    return library


@pytest.fixture
def alarm(tmp_path, monkeypatch):
    """Let a process that hangs say when its time is up; see `RING`."""
    set_alarm(tmp_path, monkeypatch)


@pytest.fixture
def fake(monkeypatch):
    """Return the report on a fake runtime with these devices."""

    def fake(devices, suffixes=".onnx", timeout=60.0):
        monkeypatch.setenv("FAKE_DEVICES", devices)
        monkeypatch.setenv("FAKE_SUFFIXES", suffixes)
        child = _isolated._COMMAND.replace("from r2p_edge", "import fake_runtime; from r2p_edge")
        monkeypatch.setattr(_isolated, "_COMMAND", child)
        return diagnosis.ask("fake", timeout)

    return fake


@pytest.fixture
def report():
    """A report in which all is well."""
    layers = dict.fromkeys(LAYERS, "ok")
    fine = {"status": "ok", "version": "1.0", "reason": None, "install": None}
    return {
        "runtimes": {
            "onnxruntime": {**fine, "devices": [{"device": "cpu", **layers}]},
            "openvino": {
                **fine,
                "version": "2026.4.1-22982-e213a147257-releases/2026/4",
                "devices": [{"device": "cpu", **layers}, {"device": "gpu", **layers}],
            },
        },
        "decoders": {
            "pyav": {
                **fine,
                "libraries": {"libavcodec": "62.28.102"},
                "decoders": dict.fromkeys(probe._DECODERS, True),
            },
            "opencv": {**fine, "gstreamer": False, "flow": ["farneback", "dis"]},
        },
        "kernel": {"compiled": True, "reason": None, "install": None},
        "packages": {name: {"version": "1.0", "install": None} for name in ("onnx", "torch")},
        "machine": {
            "os": "Linux-6.12.25+rpt-rpi-2712-aarch64-with-glibc2.36",
            "architecture": "aarch64",
            "cpu": "Raspberry Pi 5 Model B Rev 1.0",
            "cores": 4,
            "usable_cores": 4,
            "memory": 8 << 30,
            "python": "3.11.2",
            "r2p_edge": "0.1.0",
            "features": {"asimddp": True, "i8mm": False, "bf16": False, "sve": False},
            "int8": "fast",
        },
    }
