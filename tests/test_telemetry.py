"""Using the package tells nobody of it, and leaves nothing in the home folder.

On a machine that has never seen it: in continuous integration libraries say less, and where they
have written something once they write no more.
"""

from __future__ import annotations

import ast
import os
import sys
import types

import numpy as np
import pytest
from file_server import serving
from networks import SMALL, spec_for
from paths import EXAMPLES, ROOT
from real_mindspore_lite import FOLDER, environment, needs_real_lite
from requirements import needs, require
from traced import traced
from videos import written

from r2p_edge._telemetry import ONNXRUNTIME_SWITCH, OPENVINO_REPORTER, no_telemetry

R2P = (sys.executable, "-m", "r2p_edge")


def quiet(command, folder, *allowed, code=0, **variables):
    """Run a command that may write below `work` and `allowed`; return what it printed.

    Nothing is left in its HOME and its TMPDIR, and it connects to nothing.
    """
    done = traced(command, folder, **variables)
    assert done.code == code, done.output
    assert done.connections == set()
    assert done.outside(folder / "work", folder / "tmp", *allowed) == []
    assert list((folder / "home").iterdir()) == []
    assert list((folder / "tmp").iterdir()) == []
    return done.output


@pytest.fixture(autouse=True)
def _strace():
    require("strace")


def test_the_tracer_sees_connections_and_files(tmp_path):
    """See those of children too, in any folder, and to machines that do not answer."""
    child = (
        "import os, pathlib, socket; pathlib.Path('a').write_text(''); os.mkdir('../b');"
        "pathlib.Path.home().joinpath('ü').touch(); os.rename('a', '../tmp/c');"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9));"
        "s = socket.socket(socket.AF_INET6); s.settimeout(0.1); s.connect_ex(('::1', 7))"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    done = traced([sys.executable, "-c", parent], tmp_path)
    assert done.connections == {"192.0.2.1:9", "::1:7"}
    work = tmp_path / "work"
    assert {
        work / "a",
        tmp_path / "b",
        tmp_path / "home" / "ü",
        tmp_path / "tmp" / "c",
    } <= done.files
    assert done.outside(work, tmp_path / "tmp") == [tmp_path / "b", tmp_path / "home" / "ü"]


IMPORT = "from r2p_edge.runtimes import runtime_type; runtime_type({!r}).library()"


@pytest.mark.slow
@needs("openvino_telemetry")
def test_openvino_says_nothing(tmp_path):
    told = traced([sys.executable, "-c", "import openvino"], tmp_path)
    assert (tmp_path / "home" / "intel").is_dir(), told.output  # what this is about
    (tmp_path / "quiet").mkdir()
    after = f"; import {OPENVINO_REPORTER}.main"  # which others may import
    quiet([sys.executable, "-c", IMPORT.format("openvino") + after], tmp_path / "quiet")


def test_what_was_imported_before_stays(monkeypatch):
    theirs = types.ModuleType(OPENVINO_REPORTER)
    monkeypatch.setitem(sys.modules, OPENVINO_REPORTER, theirs)
    monkeypatch.setenv(ONNXRUNTIME_SWITCH, "0")
    with no_telemetry():
        with no_telemetry(), pytest.raises(ImportError):
            __import__(OPENVINO_REPORTER)
        with pytest.raises(ImportError):
            __import__(OPENVINO_REPORTER)
    assert sys.modules[OPENVINO_REPORTER] is theirs
    assert os.environ[ONNXRUNTIME_SWITCH] == "0"


@pytest.mark.slow
def test_every_import_of_a_library_that_reports_is_a_quiet_one():
    """`import_library` does it; a statement stands in a `with no_telemetry()`."""
    for folder in ("r2p_edge", "export", "calibration"):
        for path in (ROOT / folder).rglob("*.py"):
            loud = [name for name in _imported(ast.parse(path.read_text())) if _reports(name)]
            assert loud == [], path


def _reports(name):
    return name.split(".")[0] in ("onnxruntime", "openvino", "openvino_telemetry")


def _imported(node):
    """Yield the modules that are imported outside of a `with no_telemetry()`."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.With) and "no_telemetry()" in map(ast.unparse, node.items):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


@pytest.fixture(scope="module")
def openvino_model(motion_model, tmp_path_factory):
    require("openvino")
    from r2p_edge.export import openvino_from_onnx

    path = tmp_path_factory.mktemp("ir") / "motion.xml"
    openvino_from_onnx(motion_model, path)
    return path


ANSWER = '"label": "slide left"'  # that of the clip


@pytest.mark.slow
def test_predict_and_stream_on_onnxruntime(motion_model, clip, tmp_path):
    assert ANSWER in quiet([*R2P, "predict", motion_model, clip, "--json"], tmp_path)
    assert ANSWER in quiet([*R2P, "stream", motion_model, clip, "--json"], tmp_path)


@pytest.mark.slow
def test_predict_and_stream_on_openvino(openvino_model, clip, tmp_path):
    assert ANSWER in quiet([*R2P, "predict", openvino_model, clip, "--json"], tmp_path)
    assert ANSWER in quiet([*R2P, "stream", openvino_model, clip, "--json"], tmp_path)


@pytest.mark.slow
def test_an_address_is_connected_to_and_nothing_else(motion_model, tmp_path):
    written(tmp_path / "clip.ts", np.arange(50) / 25, codec="libx264", rate=25)
    with serving(tmp_path) as server:
        done = traced([*R2P, "predict", motion_model, server.url("clip.ts")], tmp_path)
    assert (done.code, done.connections) == (0, {f"127.0.0.1:{server.server_port}"}), done.output


@pytest.mark.long
def test_export_compare_and_info(motion_model, tmp_path):
    out = tmp_path / "work"
    command = [*R2P, "export", "motion", "--to", "onnx,openvino", "--out", out]
    quiet(command, tmp_path)
    quiet([*command, "--precision", "int8", "--num-clips", "24"], tmp_path)
    quiet([*R2P, "compare", motion_model, *out.glob("*.onnx"), *out.glob("*.xml")], tmp_path)
    quiet([*R2P, "info", out], tmp_path)


@pytest.mark.long
def test_calibrate_and_eval(motion_model, clip, tmp_path):
    folder = tmp_path / "videos" / "slide left"
    folder.mkdir(parents=True)
    clip.rename(folder / clip.name)
    (tmp_path / "work").mkdir()
    videos = ["--videos", folder.parent]
    quiet([*R2P, "calibrate", motion_model, "--out", "int8.onnx", *videos], tmp_path)
    quiet([*R2P, "eval", motion_model, tmp_path / "work" / "int8.onnx", *videos], tmp_path)


@pytest.mark.slow
@needs("torch")
def test_export_of_pytorch(small_checkpoint, tmp_path):
    import torch
    from safetensors.torch import load_file

    (tmp_path / "work").mkdir()
    torch.save(load_file(small_checkpoint), tmp_path / "work" / "net.pth")
    (tmp_path / "work" / "spec.json").write_text(spec_for(SMALL["classes"]).to_json())
    quiet([*R2P, "export", "net.pth", "--spec", "spec.json", "--out", "out"], tmp_path)


@pytest.mark.slow
def test_doctor(tmp_path):
    quiet([*R2P, "doctor"], tmp_path)


@pytest.mark.long
def test_demo(tmp_path):
    quiet([*R2P, "demo", "--num-clips", "24"], tmp_path)


@pytest.mark.slow
def test_webcam(motion_model, clip, tmp_path):
    command = [sys.executable, EXAMPLES / "webcam.py", motion_model, clip, "--no-window", "--json"]
    assert ANSWER in quiet([*command, "--save", "a.mp4", "--screenshot", "b.png"], tmp_path)


@pytest.mark.slow
@needs("mindspore")
def test_mindspore(motion_model, clip, tmp_path):
    out = tmp_path / "work"
    quiet([*R2P, "export", motion_model, "--to", "mindspore", "--out", out], tmp_path)
    (model,) = out.glob("*.mindir")
    for verb in ("predict", "stream"):
        assert ANSWER in quiet([*R2P, verb, model, clip, "--json"], tmp_path)


@pytest.mark.long
@needs_real_lite()
def test_mindspore_lite(motion_model, clip, tmp_path):
    out, lite = tmp_path / "work", {**environment(), "PYTHONPATH": str(FOLDER)}
    quiet([*R2P, "export", motion_model, "--to", "mindspore-lite", "--out", out], tmp_path)
    (kit,) = out.glob("*-kit")
    quiet([sys.executable, kit / "build.py"], tmp_path, **lite)
    (model,) = kit.glob("*.mindir")
    for verb in ("predict", "stream"):
        assert ANSWER in quiet([*R2P, verb, model, clip, "--json"], tmp_path, **lite)


@pytest.mark.slow
@needs("tensorrt_rtx")
def test_tensorrt_for_rtx(motion_model, tmp_path):
    """Build an engine, which needs no GPU."""
    out = tmp_path / "work"
    command = [*R2P, "export", motion_model, "--to", "tensorrt-rtx", "--chip", "sm89", "--out", out]
    quiet(command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tensorrt", "ascend310b"])
def test_kits_whose_tool_is_missing(motion_model, tmp_path, target):
    out = tmp_path / "work"
    quiet([*R2P, "export", motion_model, "--to", target, "--out", out], tmp_path)
    (kit,) = out.glob("*-kit")
    quiet([sys.executable, kit / "build.py"], tmp_path, code=5)
