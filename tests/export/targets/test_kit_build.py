"""Kits on the device: building and verifying an artifact without this package and onnx."""

import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from exit_codes import BACKEND, DATA, MODEL, USAGE
from fake_mindspore_lite import install_program, installed
from kits import FILES, content, kit_of, names, sha256, with_content
from models import brightness_model, grey_frames
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.errors import MissingDependencyError, ModelError
from r2p_edge.export.targets.base import OnnxForm, TargetOptions, ToolClips
from r2p_edge.export.targets.kit_build import build_kit
from r2p_edge.export.targets.mindspore_lite.export import lite_artifact
from r2p_edge.export.verify.synthetic_clips import verification_clips

pytestmark = [
    pytest.mark.slow,
    needs("onnx"),
    needs("onnxruntime"),
    needs("safetensors"),
    pytest.mark.usefixtures("bare"),
]


@pytest.fixture
def refused(run_kit):
    """Asserts that a kit ends with this code and one sentence, and has written nothing."""

    def refused(code, message, folder, **environment):
        before = names(folder)
        found, output, errors = run_kit(folder, "--json", **environment)
        assert found == code, errors
        (line,) = errors.splitlines()
        assert line.startswith("build.py: error: ")
        assert message in line
        assert output == "" or line.endswith(json.loads(output)["error"])
        assert names(folder) == before

    return refused


def test_a_kit_builds_and_proves_itself_elsewhere(made, run_kit, tmp_path):
    folder = Path(shutil.copytree(made, tmp_path / "für [das] Gerät"))
    code, output, errors = run_kit(folder, python=("-v",))
    assert code == 0, errors
    path = folder / "net-fp32-conv2d.mindir"
    assert output.startswith(f"{path}: fp32 for cpu, verified against its ONNX file: ")
    assert output.endswith(" of the largest one, best class equal on 100% of 3 clips\n")
    # All of this package came out of the kit.
    loaded = [line for line in errors.splitlines() if line.startswith("import 'r2p_edge")]
    assert len(loaded) > 20
    assert all("zipimporter" in line for line in loaded)
    assert names(folder) == FILES | {path.name, sidecar_path(path).name}

    artifact, source = open_artifact(path), open_artifact(folder / "model.onnx")
    assert (artifact.verified, artifact.carrier) == (True, "sidecar")
    assert artifact.spec.contract_digest() == source.spec.contract_digest()
    assert artifact.spec.target["converter"] == "mindspore_lite.Converter"
    assert artifact.spec.built_with["mindspore_lite"] == "2.7.0"
    parity = artifact.spec.parity
    assert (parity["reference"], parity["clips"], parity["top1"]) == ("onnx", 3, 1.0)
    assert parity["max_rel"] <= 1e-5
    assert parity["runtime"] == "mindspore_lite 2.7.0 on cpu"
    assert parity["onnx"] == source.spec.parity
    video = grey_frames(range(0, 250, 20), 40, 50)
    with installed(), Predictor(path) as one, Predictor(folder / "model.onnx") as other:
        assert (one.runtime, other.runtime) == ("mindspore_lite", "onnxruntime")
        np.testing.assert_allclose(
            one.predict(video).scores, other.predict(video).scores, rtol=1e-4
        )


def test_what_it_reports_to_machines(kit, run_kit):
    code, output, errors = run_kit(kit, "--json")
    assert (code, errors) == (0, "")
    report = json.loads(output)
    spec = open_artifact(kit / "net-fp32-conv2d.mindir").spec
    assert report == {
        "path": str(kit / "net-fp32-conv2d.mindir"),
        "runtime": "mindspore_lite",
        "device": "cpu",
        "precision": "fp32",
        "parity": spec.to_dict()["parity"],
    }


def test_it_builds_again_over_what_it_built(kit, run_kit):
    for _ in range(2):
        assert run_kit(kit)[0] == 0
    assert open_artifact(kit / "net-fp32-conv2d.mindir").verified


def test_a_terminal_that_has_not_the_letters(made, run_kit, tmp_path):
    folder = Path(shutil.copytree(made, tmp_path / "Gerät"))
    code, output, errors = run_kit(folder, PYTHONIOENCODING="ascii")
    assert (code, errors) == (0, "")
    assert "Ger\\xe4t" in output


def test_options(kit, run_kit):
    code, output, _ = run_kit(kit, "--help")
    assert (code, output.split()[:2]) == (0, ["usage:", "build.py"])
    assert run_kit(kit, "--jsno")[0] == USAGE
    assert names(kit) == FILES


@pytest.fixture
def program(tmp_path, target):
    """The environment in which R2P_CONVERTER_LITE names the program."""
    path = install_program(tmp_path / "lite")
    path.write_text(path.read_text().replace(sys.executable, str(target)))
    return {"R2P_CONVERTER_LITE": str(path), "FAKE_LITE_WITHOUT_CONVERTER": "1"}


def test_with_the_program(kit, run_kit, program):
    code, _, errors = run_kit(kit, **program)
    assert (code, errors) == (0, "")
    spec = open_artifact(kit / "net-fp32-conv2d.mindir").spec
    assert spec.target["converter"] == "converter_lite"
    assert spec.parity["max_rel"] <= 1e-5


def test_a_source_of_other_batches(network, run_kit, tmp_path):
    folder = kit_of(network, "mindspore-lite", tmp_path, batch=2)
    with np.load(folder / "clips.npz") as clips:
        assert clips["inputs"].shape[0] == 3  # one and a half of them
    code, output, errors = run_kit(folder, "--json")
    assert (code, errors) == (0, "")
    assert json.loads(output)["parity"]["max_rel"] <= 1e-5


@pytest.mark.parametrize(
    ("device", "graph", "chip"),
    [("ascend310p", "conv3d", "Ascend310P3"), ("ascend310b", "conv2d", "Ascend310B4")],
)
def test_for_an_ascend_that_is_elsewhere(network, run_kit, tmp_path, device, graph, chip):
    folder = kit_of(network, device, tmp_path)
    name = f"net-fp16-conv2d-{device}" if graph == "conv2d" else f"net-fp16-{device}"
    assert folder.name == f"{name}-kit"
    code, output, errors = run_kit(folder)
    assert (code, errors) == (0, "")
    path = folder / f"{name}.mindir"
    assert output == f"{path}: fp16 for {device}, not verified: this machine cannot run it\n"
    spec = open_artifact(path).spec
    assert (spec.precision, spec.graph, spec.parity) == ("fp16", graph, None)
    assert (spec.target["device"], spec.target["chip"]) == (device, chip)
    assert json.loads(run_kit(folder, "--json")[1])["parity"] is None


CONV3D = {"FAKE_LITE_CONVERTER": "conv3d"}  # a converter that takes none


@pytest.mark.parametrize("device", ["ascend310", "ascend310p"])
def test_the_second_form_is_built_where_the_first_is_refused(network, run_kit, tmp_path, device):
    folder = kit_of(network, device, tmp_path)
    assert names(folder) == {*FILES, "conv2d.onnx"}
    assert open_artifact(folder / "model.onnx").spec.graph == "conv3d"
    assert open_artifact(folder / "conv2d.onnx").spec.graph == "conv2d"
    code, output, errors = run_kit(folder, "--json", **CONV3D)
    path = folder / f"net-fp16-conv2d-{device}.mindir"
    assert (code, json.loads(output)["path"]) == (0, str(path)), errors
    (line,) = errors.splitlines()
    assert line.startswith("build.py: mindspore_lite.Converter ended with exit code 1")
    assert "kernel_shape size 3 is not 1 or 2" in line
    assert line.endswith("; so the form without 3-D convolutions is built")
    spec = open_artifact(path).spec
    assert (spec.graph, spec.precision, spec.target["device"]) == ("conv2d", "fp16", device)
    assert not (folder / f"net-fp16-{device}.mindir").exists()


def test_neither_form_can_be_built(network, run_kit, refused, tmp_path):
    folder = kit_of(network, "ascend310p", tmp_path)
    code, _, errors = run_kit(folder, FAKE_LITE_CONVERTER="exit1")
    assert code == MODEL
    assert errors.count("Unsupported to convert ops") == 3  # told before the second, and at the end
    assert "; and without 3-D convolutions: mindspore_lite.Converter ended" in errors
    # A tool that does not work at all is not tried twice.
    refused(BACKEND, "pip install attrs cython", folder, FAKE_LITE_CONVERTER="python")
    (folder / "conv2d.onnx").write_bytes(b"")
    refused(MODEL, "conv2d.onnx of the kit", folder)


def test_a_form_that_was_chosen_has_no_second(network, tmp_path):
    folder = kit_of(network, "ascend310p", tmp_path, graph="conv3d")
    assert names(folder) == FILES
    folder = kit_of(network, "ascend310b", tmp_path)
    assert names(folder) == FILES


def test_there_is_no_int8_kit(made, tmp_path):
    source = open_artifact(made / "model.onnx")
    clips = verification_clips(source.spec, 2)
    quantizer = types.SimpleNamespace(clips=lambda target: ToolClips(clips, "minmax", {}))
    options = TargetOptions("mindspore-lite", "int8", quantizer)
    text = "made only where its converter is, not from a kit .*; or export fp32"
    with pytest.raises(MissingDependencyError, match=text):
        lite_artifact(OnnxForm(source.path, source.spec), tmp_path, options)
    assert not list(tmp_path.glob("*kit"))


def test_the_tool_is_missing(kit, refused, target, run_kit):
    refused(BACKEND, "there is no MindSpore Lite converter", kit, FAKE_LITE_WITHOUT_CONVERTER="1")
    (site,) = target.parents[1].glob("lib/python*/site-packages")
    for library, message in (
        ("mindspore_lite", "mindspore_lite is not installed; it is not on PyPI"),
        ("numpy", "numpy cannot be imported (No module named 'numpy'); pip install numpy"),
    ):
        link = site / library
        away = link.rename(site / f"{library}.away")
        try:
            refused(BACKEND, message, kit)
        finally:
            away.rename(link)


def test_the_program_is_named_wrongly(kit, refused, tmp_path):
    refused(USAGE, "which is not a program", kit, R2P_CONVERTER_LITE=str(tmp_path / "absent"))


@pytest.mark.parametrize("kind", ["class", "program"])
@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("exit1", "Unsupported to convert ops: [Wobble]; try "),
        ("nothing", "wrote no file for "),
        ("empty", "wrote no file for "),
        ("abort", "was killed by SIGABRT for "),
    ],
)
def test_the_converter_fails(kit, refused, program, kind, failure, message):
    environment = program if kind == "program" else {}
    refused(MODEL, message, kit, FAKE_LITE_CONVERTER=failure, **environment)


def test_the_artifact_answers_otherwise(tmp_path, refused):
    source = brightness_model(tmp_path / "model.onnx")
    kit = kit_of((source, None), "mindspore-lite", tmp_path / "out")
    refused(MODEL, "model does not answer as its source (onnx) does", kit, FAKE_LITE_WRONG="1")


def test_the_expected_outputs_are_others(kit, refused):
    with np.load(kit / "clips.npz") as clips:
        inputs, outputs = clips["inputs"], clips["outputs"]
    outputs[0, 0] += 0.01 * np.abs(outputs).max()
    np.savez(kit / "clips.npz", inputs=inputs, outputs=outputs)
    refused(MODEL, "clips.npz of the kit", kit)
    with_content(kit, files=content(kit)["files"] | {"clips.npz": sha256(kit / "clips.npz")})
    refused(MODEL, "model does not answer as its source (onnx) does", kit)


@pytest.mark.parametrize("name", ["model.onnx", "clips.npz", "r2p_edge.zip"])
def test_a_file_that_is_damaged_or_missing(kit, refused, name):
    file = kit / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused(MODEL, f"{name}", kit)
    file.write_bytes(whole[:-1])
    refused(MODEL, f"{name}", kit)
    file.unlink()
    refused(MODEL, f"{name}", kit)


def test_code_that_is_damaged_where_it_is_not_seen(kit, refused):
    file = kit / "r2p_edge.zip"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"Ascend", b"Ascent"))
    assert file.read_bytes() != whole
    refused(MODEL, "r2p_edge.zip", kit)


def test_a_kit_json_that_is_none(kit, refused):
    texts = (b"", b"{", b"[]", b'"kit"', b"null", b"{}", b"\xff", b"[" * 10**5)
    for text in texts:
        (kit / "kit.json").write_bytes(text)
        with pytest.raises(
            ModelError, match=r"is not a complete kit \(.*\); copy the folder again$"
        ):
            build_kit(kit)
    refused(MODEL, f"{kit} is not a complete kit (", kit)
    (kit / "kit.json").unlink()
    refused(MODEL, "is not a complete kit (FileNotFoundError(", kit)


def test_a_kit_json_that_lacks_something(kit):
    whole = content(kit)
    for name in whole:
        without = {key: value for key, value in whole.items() if key != name}
        (kit / "kit.json").write_text(json.dumps(without))
        with pytest.raises(ModelError, match=rf"is not a complete kit \(KeyError\('{name}'\)\)"):
            build_kit(kit)
    for changes in (
        *({"files": {}}, {"files": None}, {"spec": {"format": 1}}),
        *({"target": "wobble"}, {"target": "onnx"}, {"target": []}),  # it has no kits
    ):
        (kit / "kit.json").write_text(json.dumps(whole | changes))
        with pytest.raises(ModelError, match="is not a complete kit"):
            build_kit(kit)


def test_the_artifact_cannot_be_written(kit, refused):
    (kit / "net-fp32-conv2d.mindir").mkdir()
    # Found before the converter is started.
    refused(DATA, "cannot be written: it is a folder", kit, FAKE_LITE_CONVERTER="exit1")
