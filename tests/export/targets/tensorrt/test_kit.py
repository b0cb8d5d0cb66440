"""Kits for TensorRT, built by a bare Python with TensorRT's Python module or with trtexec alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from bare_python import make_python
from exit_codes import BACKEND, MODEL, USAGE
from fake_tensorrt import EVERY_VERSION, FOLDER, installed, plan_of
from fake_tensorrt.trtexec import install_program
from models import brightness_model
from requirements import needs
from tensorrt_models import clips_of, needs_rounding, small

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import open_artifact
from r2p_edge.export.build import build
from r2p_edge.spec import ModelSpec

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime"), needs("safetensors")]

FILES = {"build.py", "clips.npz", "kit.json", "model.onnx", "r2p_edge.zip"}


@pytest.fixture(scope="module")
def kits(tmp_path_factory):
    """{precision: kit}, made where there is neither TensorRT nor trtexec; tests copy them."""
    folder = tmp_path_factory.mktemp("kits")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", None)
        patch.setenv("PATH", "/usr/bin:/bin")
        patch.delenv("R2P_TRTEXEC", raising=False)
        for precision in ("fp32", "fp16", "int8"):
            kind = "int8" if precision == "int8" else "fp32"
            source = small(folder / f"{kind}.onnx", kind)
            (built,) = build(
                source,
                targets=["tensorrt"],
                out=folder,
                name="net",
                precision=None if precision == "int8" else precision,
            ).built
            assert (built.status, built.path.name) == ("kit", f"net-{precision}-tensorrt-kit")
            made[precision] = built.path
    return made


@pytest.fixture
def kit(kits, tmp_path):
    return lambda precision="fp16": Path(shutil.copytree(kits[precision], tmp_path / "kit"))


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return make_python(tmp_path_factory.mktemp("target"))


@pytest.fixture
def run_kit(python, tmp_path):
    """Runs a kit's build.py where TensorRT has this form; its exit code, output and errors."""

    def run_kit(folder, form, version="10.3.0", *arguments, **environment):
        with installed(version):
            environment = {
                "PATH": "/usr/bin:/bin",
                "FAKE_TENSORRT_VERSION": version,
                "R2P_CUDART": os.environ["R2P_CUDART"],
                **environment,
            }
        if form == "tensorrt":
            environment["PYTHONPATH"] = str(FOLDER)
        elif form == "trtexec":
            program = install_program(tmp_path / "bin")
            program.write_text(program.read_text().replace(sys.executable, str(python)))
            environment["PATH"] = f"{program.parent}:{environment['PATH']}"
        done = subprocess.run(
            [python, folder / "build.py", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run_kit


@pytest.fixture
def refused(run_kit):
    """Asserts that a kit ends with this code and one sentence, and has written no engine."""

    def refused(code, message, folder, form="tensorrt", **environment):
        found, _, errors = run_kit(folder, form, **environment)
        assert found == code, errors
        (line,) = errors.splitlines()
        assert line.startswith("build.py: error: ")
        assert message in line
        assert not list(folder.glob("*.engine*"))

    return refused


def names(folder):
    return {file.name for file in folder.iterdir()}


def test_what_is_in_a_kit(kits):
    for precision, folder in kits.items():
        more = set() if precision == "fp32" else {"typed.onnx"}
        assert names(folder) == FILES | more
        told = json.loads((folder / "kit.json").read_text())
        assert set(told["files"]) == FILES - {"kit.json"} | more
        assert (told["artifact"], told["target"]) == (f"net-{precision}.engine", "tensorrt")
        spec = ModelSpec.from_dict(told["spec"])
        assert (spec.precision, spec.parity) == (precision, None)
        fits = "TensorRT 8.6 and newer (JetPack 6.0 and later)"
        assert spec.target == {"runtime": "tensorrt", "device": "cuda", "fits": fits}
        assert "Needs Python 3.10 or newer, numpy and tensorrt or trtexec." in (
            (folder / "build.py").read_text()
        )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("form", ["tensorrt", "trtexec"])
@pytest.mark.parametrize("version", EVERY_VERSION)
def test_it_builds_and_proves_itself(kits, kit, run_kit, version, form, precision):
    needs_rounding(version, precision)
    folder = kit(precision)
    code, output, errors = run_kit(folder, form, version, "--json")
    assert (code, errors) == (0, "")
    path = folder / f"net-{precision}.engine"
    report = json.loads(output)
    assert (report["path"], report["precision"]) == (str(path), precision)
    assert report["parity"]["cosine"] >= 0.999
    spec = open_artifact(path).spec
    assert (spec.target["tool"], spec.target["tensorrt"].startswith(version)) == (form, True)
    with installed(version), Predictor(path) as predictor:
        plan, clips = plan_of(path), clips_of(2)
        have = np.concatenate([predictor._runtime.run(each) for each in clips])
        contract = predictor._runtime.contract
    assert contract == (spec.contract_digest() if form == "tensorrt" else None)
    flags = {"fp32": set(), "fp16": {"FP16", "TF32"}, "int8": {"FP16", "INT8", "TF32"}}
    typed = version == "11.4"
    assert set(plan["flags"]) == flags[precision] - ({"FP16", "INT8"} if typed else set())
    with Predictor(folder / "model.onnx") as predictor:
        want = np.concatenate([predictor._runtime.run(each) for each in clips])
    found = agreement(want, have)
    assert found.cosine >= 0.999
    assert (found.max_abs > 0) is (precision != "fp32")  # so it was not computed in fp32
    whole = {path.name, f"{path.name}.json"} | names(kits[precision])
    assert {name for name in names(folder) if "timing" not in name} == whole


def test_typed_models_are_built_from_where_there_are_no_flags(kit, run_kit):
    folder = kit("fp16")
    for version in ("10.13.3", "11.4"):
        assert run_kit(folder, "tensorrt", version)[0] == 0
        with installed(version):
            from tensorrt import _plan

            network = _plan.read((folder / "net-fp16.engine").read_bytes())[1]
        source = "typed.onnx" if version == "11.4" else "model.onnx"
        assert network == (folder / source).read_bytes()


def test_what_it_says(kit, run_kit):
    folder = kit()
    code, output, errors = run_kit(folder, "tensorrt")
    assert (code, errors) == (0, "")
    assert output.startswith(
        f"{folder / 'net-fp16.engine'}: fp16 for cuda, verified against its ONNX file: "
    )


@pytest.mark.parametrize("form", ["tensorrt", "trtexec"])
def test_the_next_build_is_faster(kit, run_kit, form):
    folder = kit()
    for _ in range(2):
        assert run_kit(folder, form)[0] == 0
    assert len([name for name in names(folder) if name.endswith(".timing")]) == 1
    if form == "tensorrt":
        with installed():
            assert plan_of(folder / "net-fp16.engine")["timed"] == []


@pytest.mark.parametrize(
    ("code", "message", "environment"),
    [
        (
            BACKEND,
            "there is no NVIDIA GPU here, and an engine is built",
            {"FAKE_CUDA_DEVICES": "0"},
        ),
        (BACKEND, "NVIDIA's driver supports CUDA 11.4", {"FAKE_CUDA_DRIVER": "11040"}),
        (MODEL, "does not answer as its source (onnx) does", {"FAKE_TENSORRT_WRONG": "1"}),
    ],
)
@pytest.mark.parametrize("form", ["tensorrt", "trtexec"])
def test_what_goes_wrong(kit, refused, form, code, message, environment):
    refused(code, message, kit("fp32"), form, **environment)


def test_there_is_nothing_to_build_with(kit, refused):
    folder = kit()
    message = "neither TensorRT's Python module nor its trtexec here: tensorrt is not installed; "
    refused(BACKEND, message, folder, None)
    message = "R2P_TRTEXEC is /absent, which is not a program"
    refused(USAGE, message, folder, None, R2P_TRTEXEC="/absent")


@pytest.mark.parametrize("name", ["model.onnx", "typed.onnx", "clips.npz"])
def test_a_file_that_is_damaged_or_missing(kit, refused, name):
    folder = kit()
    whole = (folder / name).read_bytes()
    for content in (whole[:-1], b"\0" + whole[1:]):
        (folder / name).write_bytes(content)
        refused(MODEL, f"{name} of the kit {folder} is missing or damaged; copy", folder)
    (folder / name).unlink()
    refused(MODEL, f"{name} of the kit {folder} is missing or damaged; copy", folder)


@pytest.mark.parametrize(
    ("opset", "fits"),
    [
        (17, "TensorRT 8.6 and newer (JetPack 6.0 and later)"),
        (18, "TensorRT 10 and newer (JetPack 6.1 and later)"),
        (20, "TensorRT 10 and newer (JetPack 6.1 and later)"),
        (21, "TensorRT 11 and newer (JetPack 7.2.2 and later)"),
    ],
)
def test_a_kit_says_which_releases_its_operators_fit(tmp_path, monkeypatch, run_kit, opset, fits):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    make = small if opset == 17 else brightness_model
    source = make(tmp_path / "own.onnx")
    model = onnx.load(source)
    model.opset_import[0].version = opset
    onnx.save(model, source)
    (built,) = build(source, targets=["tensorrt"], out=tmp_path / "out").built
    assert built.spec.target["fits"] == fits
    kit = json.loads((built.path / "kit.json").read_text())
    assert kit["spec"]["target"]["fits"] == fits
    code, _, errors = run_kit(built.path, "tensorrt", "11.4")
    assert code == 0, errors
    engine = built.path / kit["artifact"]
    assert "fits" not in open_artifact(engine).spec.target
    if opset > 17:
        engine.unlink()
        code, _, errors = run_kit(built.path, "trtexec", "8.6.1")
        assert code == MODEL
        assert f"the model is for {fits}, and here is TensorRT 8.6.1; export it" in errors
        assert not engine.exists()
