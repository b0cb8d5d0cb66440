"""Files for Rockchip's NPUs, on a stand-in for RKNN-Toolkit2: forms, int8, refusals and kits."""

import json
import os
import subprocess
import zipfile

import numpy as np
import pytest
from bare_python import make_python
from exit_codes import BACKEND, USAGE
from fake_rknn import toolkit, toolkit_program
from networks import SMALL, random_parameters, spec_for
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact import bundle
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.calibrate import Calibration
from r2p_edge.cli import main
from r2p_edge.errors import (
    BackendError,
    MissingDependencyError,
    ModelError,
    ParityError,
    UsageError,
)
from r2p_edge.export import check_ops, rknn_from_onnx
from r2p_edge.export.build import build
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.targets.rknn.build import layers_by_engine
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.spec import InputSpec

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime"), needs("safetensors")]

SPEC = spec_for(SMALL["classes"], name="net")
NORMALISED = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(random_parameters(**SMALL), path)
    return path


@pytest.fixture(scope="module")
def source(weights, tmp_path_factory):
    """The ONNX artifact that a `.rknn` is built from."""
    out = tmp_path_factory.mktemp("onnx")
    options = {"graph": "conv2d", "input": "float32"}
    (built,) = build(weights, spec=SPEC, targets=["onnx"], out=out, **options).built
    return built.path


@pytest.fixture
def tool(tmp_path):
    folder = tmp_path / "tool"
    folder.mkdir()
    with toolkit(folder):
        yield


def one(weights, out, **options):
    (built,) = build(weights, spec=SPEC, targets=["rknn"], out=out, **options).built
    return built


def test_a_file_for_a_chip(tool, weights, tmp_path):
    built = one(weights, tmp_path / "out")
    assert (built.status, built.path.name) == ("built", "net-fp16-conv2d-rk3588.rknn")
    spec = open_artifact(built.path).spec
    assert spec == built.spec
    assert (spec.precision, spec.graph, spec.input.dtype) == ("fp16", "conv2d", "uint8")
    assert spec.parity["runtime"] == "rknn 2.5.0 on simulator"
    assert spec.parity["max_rel"] <= 1e-5
    target = dict(spec.target)
    beside = target.pop("simulated_from")["file"]
    assert beside == "net-fp16-conv2d-rk3588.rknn-source"
    assert target.pop("layers")["cpu"] == {}
    assert target == {
        "runtime": "rknn",
        "device": "npu",
        "chip": "rk3588",
        "rknn_toolkit2": "2.5.0",
    }
    assert bundle.check(built.path.parent) == 3  # with its sidecar and the simulator's file
    with zipfile.ZipFile(built.path.with_name(beside)) as archive:
        assert sorted(archive.namelist()) == ["model.onnx", "settings.json"]
        settings = json.loads(archive.read("settings.json"))
    assert settings["mean"] == pytest.approx([0.485 * 255, 0.456 * 255, 0.406 * 255])
    with Predictor(built.path) as predictor:
        assert (predictor.device, predictor.precision) == ("simulator", "fp16")


def test_int8(tool, weights, tmp_path, monkeypatch):
    clips = verification_clips(SPEC, 5)
    monkeypatch.setattr(
        "r2p_edge.calibration.calibrate.clips_for", lambda *_, **__: DrawnClips(clips)
    )
    built = one(weights, tmp_path / "out", precision="int8", calibration=Calibration(num_clips=5))
    spec = built.spec
    assert built.path.name == "net-int8-conv2d-rk3588.rknn"
    assert (spec.calibration["method"], spec.calibration["clips"]) == ("minmax", 5)
    assert (spec.accuracy["runtime"], spec.accuracy["device"]) == ("rknn", "simulator")
    assert "speedup" not in spec.accuracy
    assert spec.accuracy["agreement"] == 1.0
    with zipfile.ZipFile(built.path.with_name(f"{built.path.name}-source")) as archive:
        names = ["model.data", "model.model", "model.quantization.cfg", "settings.json"]
        assert sorted(archive.namelist()) == names
    with Predictor(built.path) as predictor:
        assert predictor.precision == "int8"


class DrawnClips:
    """Five clips, that are calibrated and measured on."""

    count, held_out, judged_count, outside, trained_on, calibrated_on = 5, False, 5, 0, 0, True

    def __init__(self, clips):
        self._clips = clips

    def calibration(self):
        return iter(self._clips)

    def judged(self):
        return ((clip, SPEC.labels[0]) for clip in self._clips)

    def record(self):
        return {"data": "synthetic"}

    def store(self, folder):
        return []


def test_percentiles_are_not_the_toolkits(tool, weights, tmp_path, monkeypatch):
    clips = verification_clips(SPEC, 2)
    monkeypatch.setattr(
        "r2p_edge.calibration.calibrate.clips_for", lambda *_, **__: DrawnClips(clips)
    )
    settings = Calibration(num_clips=2, method="percentile")
    with pytest.raises(UsageError, match=r"no method percentile .* choose one of minmax, entropy"):
        one(weights, tmp_path / "out", precision="int8", calibration=settings)


# What is refused.


def test_wrong_chips(weights, tmp_path):
    with pytest.raises(UsageError, match=r"no chip rk3399; .*choose from rk3588, rk3576, "):
        one(weights, tmp_path / "out", chips=["rk3399"])
    with pytest.raises(
        UsageError, match=r"for one chip; give one of rk3588, rk3568, and export ag"
    ):
        one(weights, tmp_path / "out", chips=["rk3588", "rk3568"])


def test_another_input_or_output_of_the_function(tool, source, tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.rknn"):
        rknn_from_onnx(source, tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=r"no chip 'rk1'; choose from rk3588, "):
        rknn_from_onnx(source, tmp_path / "net.rknn", chip="rk1")
    spec = rknn_from_onnx(source, tmp_path / "net.rknn", chip="rk3568")
    assert spec.target["chip"] == "rk3568"


def test_a_graph_that_normalises(tool, weights, tmp_path):
    with pytest.raises(
        UsageError, match=r"takes uint8 NTHWC, and a .rknn is built from normalised"
    ):
        one(weights, tmp_path / "out", input="uint8")


def test_three_dimensional_convolutions(tool, weights, tmp_path):
    with pytest.raises(
        ModelError, match=r"does not fit RKNN-Toolkit2 .*export with --graph conv2d"
    ):
        one(weights, tmp_path / "out", graph="conv3d")
    (built,) = build(weights, spec=SPEC, targets=["onnx"], out=tmp_path).built
    assert "Conv" in {each.operator for each in check_ops(load_onnx(built.path), "rknn")}


def test_what_the_toolkit_refuses(weights, tmp_path):
    message = "and said: build: the compiler failed; replace what"
    with toolkit(tmp_path, FAKE_RKNN="stuck"), pytest.raises(ModelError, match=message):
        one(weights, tmp_path / "out")
    assert not list(tmp_path.rglob("*.rknn*"))


def test_other_answers(weights, tmp_path):
    with (
        toolkit(tmp_path, FAKE_RKNN="wrong"),
        pytest.raises(ParityError, match=r"the RKNN model does not answer as its source"),
    ):
        one(weights, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.rknn*"))


def test_a_python_without_the_toolkit(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("R2P_RKNN_PYTHON", str(make_python(tmp_path / "python")))
    with pytest.raises(BackendError, match=r"has no RKNN-Toolkit2 .*No package metadata was found"):
        one(weights, tmp_path / "out")
    monkeypatch.setenv("R2P_RKNN_PYTHON", str(tmp_path))
    with pytest.raises(UsageError, match=r"R2P_RKNN_PYTHON is .*, which is not a program"):
        one(weights, tmp_path / "out")


def test_layers_on_the_cpu_are_told():
    line = "D RKNN: [1:2:3] {} {} FLOAT16  {}    (1,3)  (3,1)  12/0/12   1176   Slice:a"
    kinds = [("InputOperator", "CPU"), ("Conv", "NPU"), ("Slice", "CPU"), ("Slice", "CPU")]
    log = "\n".join(line.format(number, *kind) for number, kind in enumerate(kinds))
    assert layers_by_engine(log) == {"npu": 1, "cpu": {"Slice": 2}}
    assert layers_by_engine("") == {"npu": 0, "cpu": {}}


def test_a_warning_names_them(tool, weights, tmp_path, caplog):
    spec = SPEC.replace(clip=SPEC.clip.__class__(frames=6, interval=2, fps=25.0))
    build(weights, spec=spec, targets=["rknn"], out=tmp_path / "out")
    assert "Slice of " in caplog.text
    assert "run on the board's CPU, with a copy to and fro for each" in caplog.text


# Kits.


@pytest.fixture
def kit(weights, tmp_path, monkeypatch):
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    built = one(weights, tmp_path / "kits", chips=["rk3576"])
    assert (built.status, built.path.name) == ("kit", "net-fp16-conv2d-rk3576-kit")
    return built.path


def run(kit, python, **environment):
    command = [python, kit / "build.py", "--json"]
    environment = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_a_kit_builds_where_the_toolkit_is(kit, tmp_path):
    python = make_python(tmp_path / "python")
    code, output, errors = run(kit, python, R2P_RKNN_PYTHON=str(toolkit_program(tmp_path)))
    assert (code, errors) == (0, "")
    told = json.loads(output)
    assert told["parity"]["cosine"] >= 0.999
    assert open_artifact(told["path"]).spec.target["chip"] == "rk3576"


def test_a_kit_without_the_toolkit(kit, tmp_path):
    code, _, errors = run(kit, make_python(tmp_path / "python"))
    assert code == BACKEND
    assert "build.py: error: RKNN-Toolkit2 is not here; make an environment" in errors


def test_a_kit_of_int8_has_its_clips(weights, tmp_path, monkeypatch):
    clips = verification_clips(SPEC, 3)
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    monkeypatch.setattr(
        "r2p_edge.calibration.calibrate.clips_for", lambda *_, **__: DrawnClips(clips)
    )
    built = one(weights, tmp_path / "kits", precision="int8", calibration=Calibration(num_clips=3))
    assert np.array_equal(np.load(built.path / "calibration.npy"), clips)
    python = make_python(tmp_path / "python")
    code, _, errors = run(built.path, python, R2P_RKNN_PYTHON=str(toolkit_program(tmp_path)))
    assert (code, errors) == (0, "")
    (path,) = built.path.glob("*.rknn")
    assert open_artifact(path).spec.calibration["clips"] == 3


def test_the_function_makes_no_kit(source, tmp_path, monkeypatch):
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    with pytest.raises(MissingDependencyError, match=r"RKNN-Toolkit2 is not here"):
        rknn_from_onnx(source, tmp_path / "net.rknn")


def test_the_command_line(weights, tmp_path, capsys, monkeypatch):
    (tmp_path / "spec.json").write_text(SPEC.to_json())
    arguments = ["export", str(weights), "--spec", str(tmp_path / "spec.json"), "--to", "rknn"]
    arguments += ["--out", str(tmp_path / "out")]
    with toolkit(tmp_path):
        assert main([*arguments, "--chip", "rk3566"]) == 0
    said = capsys.readouterr().out
    assert "net-fp16-conv2d-rk3566.rknn: rknn fp16 conv2d, verified against its ONNX" in said
    assert main([*arguments, "--chip", "rk1"]) == USAGE
    monkeypatch.delenv("R2P_RKNN_PYTHON", raising=False)
    assert main(arguments) == 0
    assert "because RKNN-Toolkit2 is not here (R2P_RKNN_PYTHON names" in capsys.readouterr().out
