"""Files of the real RKNN-Toolkit2 on its own simulator, against ONNX Runtime on the same clips."""

from __future__ import annotations

import os
import signal
import subprocess

import numpy as np
import pytest
from networks import SMALL, random_parameters, spec_for
from real_rknn import needs_toolkit
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.calibration.calibrate import Calibration
from r2p_edge.doctor import diagnosis
from r2p_edge.export.build import build
from r2p_edge.export.targets.program import run_program
from r2p_edge.export.targets.rknn.build import layers_by_engine
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.runtimes.rknn.chips import ROCKCHIPS
from r2p_edge.runtimes.rknn.source_file import MODEL, SETTINGS, settings_bytes
from r2p_edge.runtimes.rknn.toolkit import (
    toolkit_command,
    toolkit_environment,
    toolkit_python,
    toolkit_reason,
    toolkit_settings,
)
from r2p_edge.runtimes.rknn.trial import ASSETS, model_of_chip

pytestmark = [
    needs("onnx"),
    needs("onnxruntime"),
    needs("safetensors"),
    needs_toolkit(),
    pytest.mark.slow,
]

FLOAT32 = {"graph": "conv2d", "input": "float32"}
CLIPS = 100


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    """The bundled model as the ONNX artifact that a `.rknn` is built from; its test clips."""
    out = tmp_path_factory.mktemp("motion")
    (built,) = build("motion", targets=["onnx"], out=out, **FLOAT32).built
    judged = Calibration(num_clips=1, judged=CLIPS).clips(built.spec).judged()
    return built.path, np.stack([clip for clip, _ in judged])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("small") / "net.safetensors"
    save_file(random_parameters(**SMALL), path)
    return path


def compared(source, path, clips):
    """Return how a file on the simulator agrees with its ONNX artifact."""
    with Predictor(source) as one, Predictor(path, device="simulator") as other:
        theirs = np.concatenate([one.outputs_of(clip[None]) for clip in clips])
        mine = np.concatenate([other.outputs_of(clip[None]) for clip in clips])
    return agreement(theirs, mine)


@pytest.mark.long
@pytest.mark.parametrize(
    ("chip", "layers"),
    [
        ("rk3588", {"npu": 167, "cpu": {}}),
        ("rk3568", {"npu": 165, "cpu": {"Reshape": 3}}),  # of channels that are no multiple of 8
    ],
)
def test_the_bundled_model(motion, tmp_path, chip, layers):
    source, clips = motion
    (built,) = build("motion", targets=["rknn"], chips=[chip], out=tmp_path).built
    assert built.status == "built"
    assert built.spec.target["layers"] == layers
    found = compared(source, built.path, clips)
    print(f"motion fp16 {chip}: {found}")
    assert found.max_rel <= 1e-3
    assert found.top1 == 1.0


@pytest.mark.long
def test_the_bundled_model_in_int8(motion, tmp_path):
    source, clips = motion
    settings = Calibration(num_clips=32, judged=12)
    options = {"precision": "int8", "calibration": settings}
    (built,) = build("motion", targets=["rknn"], out=tmp_path, **options).built
    found = compared(source, built.path, clips)
    print(f"motion int8 rk3588: {found}")
    assert found.top1 >= 0.97


@pytest.mark.long
@pytest.mark.parametrize("chip", ["rk3588", "rk3568"])
def test_r2plus1d_18(tmp_path, chip):
    from safetensors.numpy import save_file

    weights = tmp_path / "r18.safetensors"
    save_file(random_parameters(classes=101), weights)
    spec = spec_for(101, frames=16, size=112)
    (source,) = build(weights, spec=spec, targets=["onnx"], out=tmp_path, **FLOAT32).built
    (built,) = build(weights, spec=spec, targets=["rknn"], chips=[chip], out=tmp_path).built
    assert built.spec.target["layers"]["cpu"].keys() <= {"Reshape"}
    found = compared(source.path, built.path, verification_clips(spec, 10, seed=3))
    print(f"R(2+1)D-18 fp16 {chip}: {found}")
    assert found.max_rel <= 2e-3
    assert found.top1 == 1.0


def test_doctor_runs_a_layer():
    found = diagnosis.ask("rknn", 600)
    assert (found["status"], found["reason"]) == ("ok", None)
    assert found["devices"] == [{"device": "simulator", "conv3d": "none", "conv2d": "ok"}]


@pytest.mark.parametrize("chip", [chip for chip in ROCKCHIPS if chip != "rk3566"])
def test_the_test_models_of_doctor_are_what_this_makes(chip, tmp_path):
    """Not byte for byte: the toolkit fills gaps with what lies in memory."""
    (tmp_path / MODEL).write_bytes((ASSETS / "conv2d.onnx").read_bytes())
    settings = toolkit_settings(chip, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    (tmp_path / SETTINGS).write_bytes(settings_bytes(settings))
    command = toolkit_command(toolkit_python(), "build", tmp_path)
    done = subprocess.run(command, env=toolkit_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert layers_by_engine(done.stderr)["cpu"] == {}
    kept = model_of_chip("conv2d", chip)
    assert (tmp_path / "model.rknn").stat().st_size == kept.stat().st_size


@pytest.mark.parametrize("chip", ROCKCHIPS)
def test_every_chip(small, tmp_path, chip, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    spec = spec_for(SMALL["classes"], frames=8)
    (built,) = build(small, spec=spec, targets=["rknn"], chips=[chip], out=tmp_path / "out").built
    assert list(temporary.iterdir()) == []
    assert built.spec.parity["max_rel"] <= 2e-3
    reshaped = {"Reshape": 1} if chip in ("rk3568", "rk3566") else {}
    assert built.spec.target["layers"]["cpu"] == reshaped


def test_the_plain_form_has_layers_on_the_cpu(small, tmp_path):
    """See what `rknn_form` rewrites, and where the toolkit says "Unkown op target"."""
    spec = spec_for(SMALL["classes"], frames=8)
    (source,) = build(small, spec=spec, targets=["onnx"], out=tmp_path, **FLOAT32).built
    log = log_of(built_as_it_is(source.path, tmp_path / "plain", axis=3))
    assert layers_by_engine(log)["cpu"].keys() == {"Reshape", "Slice"}  # of motion Transpose too
    assert "Unkown op target: 0" in log
    (built,) = build(small, spec=spec, targets=["rknn"], out=tmp_path).built
    assert built.spec.target["layers"]["cpu"] == {}


def test_pixels_in_the_graph_end_the_toolkit(small, tmp_path):
    spec = spec_for(SMALL["classes"], frames=8)
    (source,) = build(small, spec=spec, targets=["onnx"], out=tmp_path, graph="conv2d").built
    done = built_as_it_is(source.path, tmp_path / "plain", axis=8)
    assert done.returncode == -signal.SIGABRT
    assert "Not Support Dtype: 2. please check precision!" in toolkit_reason(log_of(done))


def test_a_file_that_was_loaded_is_not_simulated(small, tmp_path):
    """The reason for the file beside a `.rknn`."""
    spec = spec_for(SMALL["classes"], frames=8)
    (built,) = build(small, spec=spec, targets=["rknn"], out=tmp_path).built
    code = f"from rknn.api import RKNN; r = RKNN(); r.load_rknn({str(built.path)!r}); "
    code += "print('CODE', r.init_runtime())"
    command = [os.environ["R2P_RKNN_PYTHON"], "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "not support inference on the simulator" in done.stdout + done.stderr
    assert "CODE -1" in done.stdout


def built_as_it_is(model, folder, axis):
    """Let the toolkit build an ONNX file whose second axis has that size."""
    folder.mkdir()
    settings = toolkit_settings("rk3588", 1.0, (0.0,) * axis, (1.0,) * axis)
    (folder / "settings.json").write_bytes(settings_bytes(settings))
    (folder / "model.onnx").write_bytes(model.read_bytes())
    return run_program(
        toolkit_command(toolkit_python(), "build", folder),
        name="RKNN-Toolkit2",
        timeout=600,
        by_hand=("rknn",),
        cwd=folder,
        environment=toolkit_environment(),
    )


def log_of(done):
    return done.stderr.decode(errors="replace")
