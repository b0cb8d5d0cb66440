"""Diagnosis of this machine, of broken ones, and of poor ones."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path

import fake_mindspore_lite
import pytest
from doctor_reports import (
    INSTALL,
    without_av1,
    without_extension,
    without_extension_and_opencv,
    without_pyav,
    without_runtimes,
)
from requirements import needs

import r2p_edge
from r2p_edge.doctor import diagnosis, layers, probe, tables

ASSETS = Path(str(resources.files("r2p_edge") / "assets"))


@needs("onnxruntime")
@needs("openvino")
@pytest.mark.slow
def test_runtimes_that_are_installed_compute_on_the_cpu():
    report = diagnosis.diagnose()
    assert report["ready"]
    for name in ("onnxruntime", "openvino"):
        found = report["runtimes"][name]
        assert found["version"][0].isdigit()
        assert found["install"] is None
        cpu = found["devices"][0]
        assert cpu == {"device": "cpu", "conv3d": "ok", "conv2d": "ok"}
        assert f"{name} on cpu" in report["summary"][0]
        if len(found["devices"]) == 1:
            assert (found["status"], found["reason"]) == ("ok", None)


@pytest.mark.slow
def test_the_machine_and_its_decoders(monkeypatch):
    monkeypatch.setattr(diagnosis, "RUNTIMES", [])
    report = diagnosis.diagnose()
    assert json.loads(json.dumps(report)) == report
    pyav = report["decoders"]["pyav"]
    assert pyav["status"] == "ok"
    assert set(pyav["decoders"]) == {"h264", "hevc", "mpeg4", "av1", "vp9", "mjpeg"}
    assert pyav["decoders"]["h264"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", pyav["libraries"]["libavcodec"])
    assert report["packages"]["onnx"]["version"]
    machine = report["machine"]
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["r2p_edge"] == r2p_edge.__version__
    assert 1 <= machine["usable_cores"] <= machine["cores"]
    assert machine["memory"] is None or machine["memory"] > 1 << 28


@pytest.mark.slow
def test_nothing_but_the_base_install(tmp_path, monkeypatch):
    blocked = ("onnx", "openvino", "mindspore", "cv2", "opencv", "torch", "__editable__")
    site = tmp_path / "site"
    site.mkdir()
    folders = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
    for entry in itertools.chain(*(folder.iterdir() for folder in folders if folder.is_dir())):
        link = site / entry.name
        if not entry.name.startswith(blocked) and not link.exists():
            link.symlink_to(entry)
    if not (site / "r2p_edge").exists():
        (site / "r2p_edge").symlink_to(Path(r2p_edge.__file__).parent)
    rest = [entry for entry in sys.path if not entry.endswith("-packages")]
    monkeypatch.setattr(sys, "path", [str(site), *rest])

    report = diagnosis.diagnose()
    assert not report["ready"]
    assert report["summary"][0].startswith("Not ready: no runtime runs a model here (pip install ")
    for name, install in INSTALL.items():
        found = report["runtimes"][name]
        assert (found["status"], found["install"]) == ("missing", install)
        assert found["reason"] == f"{name} is not installed"
        assert found["devices"] == []
    opencv = report["decoders"]["opencv"]
    assert (opencv["status"], opencv["install"]) == (
        "missing",
        "pip install opencv-python-headless",
    )
    assert report["decoders"]["pyav"]["status"] == "ok"
    for name in ("onnx", "torch"):
        package = {"version": None, "install": f"pip install {name}"}
        assert report["packages"][name] == package


BROKEN = {
    "library": (
        'raise ImportError("libtbb.so.12: cannot open shared object file")',
        r"openvino is installed but cannot be imported \(libtbb.so.12: cannot open shared .*",
    ),
    "driver": (
        'raise RuntimeError("CUDA driver\\n  too old")',
        r"openvino .* cannot be imported \(CUDA driver too old\).*",
    ),
    "dependency": ("import a_package_that_is_nowhere", r".*a_package_that_is_nowhere.*"),
    "abort": (
        'import os, sys; print("Illegal\\tinstruction", file=sys.stderr, flush=True); os.abort()',
        rf"it ended Python \(signal {signal.SIGABRT:d}, .*\), which said last: Illegal instruction",
    ),
    "exit": ("raise SystemExit(0)", r"it ended Python \(exit code 0\)"),
    "message": (
        'import sys; sys.exit("no licence")',
        r"it ended Python \(exit code 1\), which said last: no licence",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("code", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_runtime_that_cannot_be_imported(library, monkeypatch, code, reason):
    library("openvino", code)
    monkeypatch.setattr(diagnosis, "RUNTIMES", ["openvino"])
    report = diagnosis.diagnose()
    found = report["runtimes"]["openvino"]
    assert (found["status"], found["version"], found["install"]) == ("broken", None, None)
    assert re.fullmatch(reason, found["reason"])
    assert f"openvino: {found['reason']}" in report["summary"]
    assert report["decoders"]["pyav"]["status"] == "ok"


def test_no_other_python_can_be_started(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = diagnosis.ask("pyav", 60)
    assert found["status"] == "broken"
    assert "could not be started (No such file or directory)" in found["reason"]


@pytest.mark.slow
def test_a_device_that_ends_the_process_keeps_what_was_known(fake, report):
    found = fake("cpu,crash,cpu2")
    cpu, crash, last = found["devices"]
    assert found["status"] == "failing"
    assert found["version"] == "1.2.3"
    assert cpu == {"device": "cpu", "conv3d": "ok", "conv2d": "ok"}
    assert crash["conv3d"] == "ok"
    assert crash["conv2d"].startswith(f"it ended Python (signal {signal.SIGABRT:d}, ")
    assert crash["conv2d"].endswith("which said last: bad address")
    assert last == {"device": "cpu2", "conv3d": "not checked", "conv2d": "not checked"}
    report["runtimes"]["openvino"] = found
    ready, (head, *troubles) = diagnosis._summary(report)
    assert ready
    assert head == "Ready: onnxruntime on cpu, openvino on cpu, openvino on crash (conv3d only)"
    assert troubles == [f"openvino on crash, conv2d: {crash['conv2d']}"]


def test_a_runtime_that_takes_no_test_model(fake, report):
    found = fake("cpu", suffixes=".engine")
    assert found["status"] == "unchecked"
    assert found["devices"] == [{"device": "cpu", "conv3d": "not checked", "conv2d": "not checked"}]
    report["runtimes"] = {"fake": found}
    ready, (head, *_) = diagnosis._summary(report)
    assert not ready
    assert head == "Not ready: no runtime runs a model here"


@needs("onnx")
@needs("onnxruntime")
def test_what_a_device_lacks_by_nature_is_no_defect(report, tmp_path, monkeypatch, capsys):
    import onnx

    found = probe.blank("mindspore_lite")
    with fake_mindspore_lite.installed():
        # The stand-in reads its own files only, and like the library refuses that of conv3d.
        made = {}
        for layer, size in layers.LAYERS.items():
            model = onnx.load(ASSETS / f"{layer}.onnx")
            strides = onnx.helper.make_attribute("strides", [1] * len(size))
            model.graph.node[0].attribute.append(strides)  # without which Lite loads none
            onnx.save(model, tmp_path / f"{layer}.onnx")
            made[layer] = fake_mindspore_lite.write_mindir(
                tmp_path / f"{layer}.mindir", tmp_path / f"{layer}.onnx"
            )
        monkeypatch.setattr(probe, "model_of", lambda layer, suffixes: made.get(layer))
        for _ in probe.steps("mindspore_lite", found):
            assert found["status"] != "ok"
    assert (found["status"], found["reason"]) == ("ok", None)
    assert found["devices"] == [{"device": "cpu", "conv3d": "none", "conv2d": "ok"}]
    report["runtimes"] = {"mindspore_lite": found}
    ready, summary = diagnosis._summary(report)
    assert ready
    assert summary == [
        "Ready: mindspore_lite on cpu (conv2d only)",
        "mindspore_lite on cpu has no 3-D convolutions; export with --graph conv2d",
    ]
    tables.print_diagnosis({"ready": ready, "summary": summary, **report})
    cells = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["mindspore_lite", "ok", "2.7.0", "cpu", "none", "ok"] in cells


def test_all_is_well(report):
    ready, summary = diagnosis._summary(report)
    assert ready
    assert summary == ["Ready: onnxruntime on cpu, openvino on cpu, openvino on gpu"]


@pytest.mark.parametrize(
    ("spoil", "ready", "sentences"),
    [
        (
            without_extension,
            True,
            ["C++ extension: no module; OpenCV and NumPy preprocess instead, slower"],
        ),
        (without_extension_and_opencv, False, ["no frame can be preprocessed"]),
        (without_pyav, False, ["Not ready: no video can be read", "pyav: no libz"]),
        (
            without_runtimes,
            False,
            [f"Not ready: no runtime runs a model here ({INSTALL['onnxruntime']})"],
        ),
        (without_av1, True, ["pyav: its FFmpeg cannot decode av1"]),
    ],
)
def test_the_verdict(report, spoil, ready, sentences):
    spoil(report)
    found, summary = diagnosis._summary(report)
    assert found is ready
    assert summary[0].startswith("Ready: " if ready else "Not ready: ")
    for sentence in sentences:
        assert sentence in "\n".join(summary)


@pytest.mark.parametrize(
    ("bits", "libc", "sentence"),
    [
        (2**31 - 1, "glibc", "this Python has 32 bits"),
        (2**63 - 1, "musl", "this Linux does not use glibc"),
        (2**63 - 1, "glibc", None),
    ],
)
def test_platforms_without_wheels(report, monkeypatch, bits, libc, sentence):
    monkeypatch.setattr(sys, "maxsize", bits)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.libc_ver", lambda: (libc, "1"))
    assert len(diagnosis._summary(report)[1]) == 1
    without_runtimes(report)
    summary = diagnosis._summary(report)[1]
    assert len(summary) == 1 + bool(sentence)
    assert summary[-1].startswith(sentence or "Not ready")


def test_an_extension_that_cannot_be_loaded(monkeypatch):
    # None stands for a module whose import failed.
    monkeypatch.setitem(sys.modules, "r2p_edge.preprocess._frames", None)
    monkeypatch.setattr("r2p_edge.preprocess.preprocessor.compiled", False)
    found = diagnosis._kernel()
    assert (found["compiled"], found["reason"]) == (
        False,
        "import of r2p_edge.preprocess._frames halted; None in sys.modules",
    )
    assert "C++ compiler" in found["install"]


@pytest.mark.slow
def test_importing_doctor_brings_in_no_library():
    code = "import sys, r2p_edge.doctor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"av", "cv2", "rich", "onnxruntime", "openvino", "onnx"} & set(done.stdout.split())
