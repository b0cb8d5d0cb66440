"""Engines of TensorRT for RTX, on a stand-in for it: precisions, chips, parity and kits."""

import json
import os
import subprocess
import sys

import pytest
from bare_python import make_python
from exit_codes import BACKEND, USAGE
from fake_tensorrt import FOLDER, RTX, installed, plan_of
from requirements import needs
from tensorrt_models import needs_rounding, small

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.cli import main
from r2p_edge.errors import MissingDependencyError, ModelError, ParityError, UsageError
from r2p_edge.export import check_ops, tensorrt_rtx_from_onnx
from r2p_edge.export.build import build
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.runtimes.tensorrt.session import CONTRACT

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime"), needs("safetensors")]

LATER = ["sm80", "sm86", "sm89", "sm120", "sm121"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return {kind: small(folder / f"{kind}.onnx", kind) for kind in ("fp32", "int8")}


@pytest.fixture
def without_card():
    with installed(RTX, FAKE_CUDA_DEVICES=0):
        yield


@pytest.fixture
def card():
    with installed(RTX, FAKE_CUDA_CAPABILITY="8.9"):
        yield


def one(source, out, **options):
    (built,) = build(source, targets=["tensorrt-rtx"], out=out, **options).built
    return built


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_without_a_card_and_runs_on_one(sources, tmp_path, precision):
    needs_rounding("11.4", precision)
    source = sources["int8" if precision == "int8" else "fp32"]
    with installed(RTX, FAKE_CUDA_DEVICES=0):
        built = one(source, tmp_path, precision=None if precision == "int8" else precision)
        assert (built.status, built.path.name) == ("built", f"net-{precision}-rtx.engine")
        record = plan_of(built.path)
    assert built.spec.parity is None
    assert built.spec.target == {
        "runtime": "tensorrt_rtx",
        "device": "cuda",
        "chips": LATER,
        "tensorrt_rtx": "1.7.1.116",
    }
    assert record["name"] == CONTRACT + built.spec.contract_digest()
    assert record["flags"] == ([] if precision == "fp32" else ["TF32"])
    assert open_artifact(built.path).spec == built.spec
    with installed(RTX, FAKE_CUDA_CAPABILITY="8.6"), Predictor(built.path) as predictor:
        assert predictor.precision == precision


def test_where_there_is_a_card_the_engine_is_verified(card, sources, tmp_path):
    parity = one(sources["fp32"], tmp_path).spec.parity
    assert parity["runtime"] == "tensorrt_rtx 1.7.1.116 on cuda"
    assert parity["max_rel"] <= 1e-6


def test_on_another_card_it_is_not(card, sources, tmp_path):
    assert one(sources["fp32"], tmp_path, chips=["sm86"]).spec.parity is None


def test_an_engine_that_answers_otherwise(sources, tmp_path):
    with (
        installed(RTX, FAKE_CUDA_CAPABILITY="8.6", FAKE_TENSORRT_WRONG=1),
        pytest.raises(ParityError, match="the engine of TensorRT for RTX does not answer as"),
    ):
        one(sources["fp32"], tmp_path)
    assert not list(tmp_path.glob("*.engine*"))


# Chips.


def test_chips(without_card, sources, tmp_path):
    built = one(sources["fp32"], tmp_path, precision="fp16", chips=["sm89", "sm75"])
    assert built.path.name == "net-fp16-rtx-sm89-sm75.engine"
    assert built.spec.target["chips"] == ["sm75", "sm89"]


@pytest.mark.parametrize(
    ("targets", "chips", "message"),
    [
        (["tensorrt-rtx"], ["sm90"], r"no chip sm90; did you mean sm89\? choose from sm75, sm80, "),
        (["onnx"], ["sm86"], "chips are chosen for tensorrt-rtx, rknn alone; leave them out"),
    ],
)
def test_wrong_chips(sources, tmp_path, targets, chips, message):
    with pytest.raises(UsageError, match=message):
        build(sources["fp32"], targets=targets, chips=chips, out=tmp_path / "out")


def test_a_wrong_chip_for_the_function_alone(without_card, sources, tmp_path):
    with pytest.raises(UsageError, match="no chip sm99; choose from sm75, "):
        tensorrt_rtx_from_onnx(sources["fp32"], tmp_path / "net.engine", chips=["sm99"])
    with pytest.raises(UsageError, match=r"whose name must end in \.engine or \.plan"):
        tensorrt_rtx_from_onnx(sources["fp32"], tmp_path / "net.onnx")


def test_what_turing_refuses_is_known_before(without_card, sources, tmp_path):
    message = (
        r"does not fit TensorRT for RTX on Turing \(sm75\): .* \(Conv\): 3-D in fp32, where fp16 "
        r"or int8 is possible; export with --precision fp16, or export with --graph conv2d$"
    )
    with pytest.raises(ModelError, match=message):
        one(sources["fp32"], tmp_path, chips=["sm75"])
    model = load_onnx(sources["fp32"])
    assert not check_ops(model, "tensorrt-rtx-sm75", precision="fp16")
    assert "Gemm" in {
        each.operator for each in check_ops(model, "tensorrt-rtx-sm75", precision="fp32")
    }
    assert not check_ops(model, "tensorrt-rtx", precision="fp32")


def test_what_the_builder_refuses(without_card, sources, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_TENSORRT_NO_TACTIC", "1")
    with pytest.raises(ModelError, match=r"tensorrt_rtx built no engine of .*; give it more work"):
        one(sources["fp32"], tmp_path)


def test_the_command_line(without_card, sources, tmp_path, capsys):
    arguments = ["export", str(sources["fp32"]), "--to", "tensorrt-rtx", "--out", str(tmp_path)]
    assert main([*arguments, "--precision", "fp16", "--chip", "sm75, sm86"]) == 0
    said = capsys.readouterr().out
    assert "net-fp16-rtx-sm75-sm86.engine: tensorrt-rtx fp16 conv3d, not verified" in said
    assert main([*arguments, "--chip", "sm76"]) == USAGE


# Kits.


@pytest.fixture
def kit(sources, tmp_path, monkeypatch):
    """A kit of an fp16 engine for two chips."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt_rtx", None)
        built = one(sources["fp32"], tmp_path, precision="fp16", chips=["sm75", "sm86"])
    assert (built.status, built.path.name) == ("kit", "net-fp16-rtx-sm75-sm86-kit")
    return built.path


def run(kit, python, folder, **environment):
    with installed(RTX):
        environment = {
            "PATH": "/usr/bin:/bin",
            "FAKE_TENSORRT_VERSION": RTX,
            "R2P_CUDART": os.environ["R2P_CUDART"],
            "PYTHONPATH": str(folder),
            **environment,
        }
    command = [python, kit / "build.py", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_a_kit_names_its_chips_and_builds_for_them(kit, tmp_path):
    python = make_python(tmp_path / "python")
    told = json.loads((kit / "kit.json").read_text())
    assert told["spec"]["target"]["chips"] == ["sm75", "sm86"]
    assert "numpy and tensorrt_rtx." in (kit / "build.py").read_text()
    path = kit / "net-fp16-rtx-sm75-sm86.engine"
    code, output, errors = run(kit, python, FOLDER / "rtx", FAKE_CUDA_DEVICES="0")
    assert (code, errors) == (0, "")
    assert json.loads(output)["parity"] is None
    assert open_artifact(path).spec.target["chips"] == ["sm75", "sm86"]
    code, output, errors = run(kit, python, FOLDER / "rtx", FAKE_CUDA_CAPABILITY="8.6")
    assert (code, errors) == (0, "")
    assert json.loads(output)["parity"]["cosine"] >= 0.999


def test_a_kit_without_the_library(kit, tmp_path):
    code, _, errors = run(kit, make_python(tmp_path / "python"), tmp_path)
    assert code == BACKEND
    assert "build.py: error: tensorrt_rtx is not installed; pip install" in errors


def test_the_function_makes_no_kit(sources, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingDependencyError, match="tensorrt_rtx is not installed"):
        tensorrt_rtx_from_onnx(sources["fp32"], tmp_path / "net.engine")
