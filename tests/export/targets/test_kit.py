"""Kits: the folders from which another machine builds and verifies an artifact."""

import ast
import runpy
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from exit_codes import BACKEND
from kits import FILES, content, kit_of, names, sha256
from models import brightness_model, spec_of_brightness
from networks import SMALL
from requirements import needs

from r2p_edge.artifact import atomic
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import OutputError
from r2p_edge.export.build import build
from r2p_edge.export.targets import kit as kit_module
from r2p_edge.export.targets.base import Built, Kit, Target, fresh_spec
from r2p_edge.export.targets.kit import write_kit
from r2p_edge.export.targets.kit_build import build_kit
from r2p_edge.export.targets.table import TABLE
from r2p_edge.export.verify.parity import ParityReference
from r2p_edge.spec import InputSpec, ModelSpec

pytestmark = [
    needs("onnx"),
    needs("onnxruntime"),
    needs("safetensors"),
    pytest.mark.usefixtures("bare"),
]

FLOATS = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)


# What is in a kit.


def test_what_is_in_a_kit(made):
    assert made.name == "net-fp32-conv2d-mindspore-lite-kit"
    assert names(made) == FILES
    assert names(made.parent) == {made.name, "manifest.json"}
    told = content(made)
    assert told["artifact"] == "net-fp32-conv2d.mindir"
    assert told["target"] == "mindspore-lite"
    assert (told["runtime"], told["device"]) == ("mindspore_lite", "cpu")
    assert told["files"] == {name: sha256(made / name) for name in FILES - {"kit.json"}}
    spec, source = ModelSpec.from_dict(told["spec"]), open_artifact(made / "model.onnx").spec
    assert spec == source.replace(
        parity=None, target={"runtime": "mindspore_lite", "device": "cpu"}
    )
    assert (spec.precision, spec.graph, spec.input) == ("fp32", "conv2d", FLOATS)
    assert told["of_source"] == source.to_dict()["parity"]
    with np.load(made / "clips.npz") as clips:
        assert clips["inputs"].dtype == np.float32
        assert clips["inputs"].shape == (3, *spec.input_shape[1:])
        assert clips["outputs"].shape == (3, SMALL["classes"])


def test_the_expected_outputs_are_those_of_onnxruntime(made):
    import onnxruntime

    session = onnxruntime.InferenceSession(made / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(made / "clips.npz") as clips:
        for given, want in zip(clips["inputs"], clips["outputs"]):
            (have,) = session.run(None, {"frames": given[None]})
            np.testing.assert_allclose(have[0], want, rtol=1e-4, atol=1e-4)
        assert np.ptp(clips["outputs"], axis=0).min() > 0  # the clips differ


def test_the_same_kit_is_the_same_bytes(made, network, tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 2e9)  # which a zip file would note
    again = kit_of(network, "mindspore-lite", tmp_path)
    for name in FILES:
        assert (again / name).read_bytes() == (made / name).read_bytes(), name


def test_the_packed_code_is_this_package(made):
    root = Path(kit_module.r2p_edge.__file__).parent
    files = {*root.rglob("*.py"), *(root / "export").rglob("*.py")}  # in a checkout, a link
    wanted = {f"r2p_edge/{file.relative_to(root).as_posix()}": file.read_bytes() for file in files}
    with zipfile.ZipFile(made / "r2p_edge.zip") as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert packed == {
        name: code for name, code in wanted.items() if not name.startswith("r2p_edge/calibration")
    }


def test_build_py_tells_an_old_python(made, monkeypatch, capsys):
    text = (made / "build.py").read_text(encoding="ascii")
    ast.parse(text, feature_version=(3, 4))  # it must get as far as that sentence
    monkeypatch.setattr(sys, "version_info", (2, 7, 18))
    monkeypatch.setattr(sys, "version", "2.7.18 (default)")
    monkeypatch.setitem(sys.modules, "pathlib", None)  # which that one has not
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(made / "build.py"))
    assert caught.value.code == BACKEND
    error = "build.py: error: this needs Python 3.10 or newer and is run by 2.7.18\n"
    assert capsys.readouterr().err == error


# A target that no other file knows.


def test_a_kit_of_a_new_target_needs_its_file_and_row_alone(tmp_path, monkeypatch):
    reference = ParityReference(np.zeros((1, 4)), np.ones((1, 4)), None)

    def wobble_artifact(source, out, options):
        planned = fresh_spec(source.spec, target={"runtime": "wobbly", "device": "table"})
        (tmp_path / "rules.txt").write_bytes(b"wobble twice")
        extras = {"tuning.npy": np.arange(3), "rules": tmp_path / "rules.txt"}
        folder = out / "net-wobble-kit"
        write_kit("wobble", source.path, planned, reference, folder, "net.wobble", extras)
        return Built(options.target, folder, planned, "kit")

    def build_wobble_of_kit(model, path, planned, reference):
        tuning = np.load(model.with_name("tuning.npy"))
        rules = model.with_name("rules").read_bytes()
        path.write_bytes(rules + tuning.astype(np.uint8).tobytes() + model.read_bytes()[:4])
        parity = {"reference": "onnx", "clips": len(reference.inputs)}
        spec = planned.replace(parity=parity)
        write_sidecar(path, spec)
        return spec

    file = types.ModuleType("r2p_edge.export.targets.wobble")
    vars(file).update(wobble_artifact=wobble_artifact, build_wobble_of_kit=build_wobble_of_kit)
    monkeypatch.setitem(sys.modules, file.__name__, file)
    kit = Kit("wobblec", "wobble:build_wobble_of_kit")
    row = Target("wobble", "wobble:wobble_artifact", ("fp32",), kit=kit)
    monkeypatch.setitem(TABLE, row.name, row)

    source = brightness_model(tmp_path / "source.onnx")
    (built,) = build(source, targets=["wobble"], out=tmp_path / "out").built
    assert (built.target, built.status) == ("wobble", "kit")
    assert names(built.path) == FILES | {"tuning.npy", "rules"}
    assert set(content(built.path)["files"]) == names(built.path) - {"kit.json"}
    assert "numpy and wobblec." in (built.path / "build.py").read_text()
    report = build_kit(built.path)
    path = built.path / "net.wobble"
    assert path.read_bytes() == b"wobble twice\0\1\2" + source.read_bytes()[:4]
    parity = {"reference": "onnx", "clips": 1}
    assert report == {
        "path": str(path),
        "runtime": "wobbly",
        "device": "table",
        "precision": "fp32",
        "parity": parity,
    }


# Writing a kit.


@pytest.fixture
def planned(tmp_path):
    """The arguments of `write_kit` up to the folder."""
    spec = spec_of_brightness(target={"runtime": "mindspore_lite", "device": "cpu"})
    source = brightness_model(tmp_path / "source.onnx", spec)
    return "mindspore-lite", source, spec, ParityReference(np.zeros((1, 4)), np.ones((1, 4)), None)


def test_a_kit_replaces_another_whole(made, planned, tmp_path):
    folder = tmp_path / "kit"
    write_kit(*planned, folder, "one.mindir")
    (folder / "one.mindir").write_bytes(b"built of the old kit")
    before = names(tmp_path)
    write_kit(*planned, folder, "two.mindir")
    assert names(folder) == FILES
    assert (content(folder)["artifact"], content(folder)["of_source"]) == ("two.mindir", None)
    assert names(tmp_path) == before


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_no_kit_stays(planned, tmp_path, what):
    folder = tmp_path / "photos"
    if what == "file":
        folder.write_bytes(b"mine")
    else:
        folder.mkdir()
        (folder / "cat.jpg").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"photos exists and is not a kit; remove it, or choose"):
        write_kit(*planned, folder, "a.mindir")
    assert (folder if what == "file" else folder / "cat.jpg").read_bytes() == b"mine"
    assert names(tmp_path) == {"photos", "source.onnx"}


@pytest.mark.parametrize("step", ["fill", "exchange", "interrupt"])
def test_a_failure_leaves_the_old_kit(planned, tmp_path, monkeypatch, step):
    folder = tmp_path / "kit"
    write_kit(*planned, folder, "a.mindir")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    replace, error = Path.replace, OSError(28, "No space left on device")

    def fail(*_, **__):
        raise KeyboardInterrupt if step == "interrupt" else error

    def fail_for_drafts(path, target):
        return fail() if path.suffix == ".part" else replace(path, target)

    if step == "exchange":
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
        monkeypatch.setattr(atomic.Path, "replace", fail_for_drafts)
    else:
        monkeypatch.setattr(kit_module.np, "savez", fail)
    with pytest.raises(KeyboardInterrupt if step == "interrupt" else OutputError):
        write_kit(*planned, folder, "b.mindir")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert names(tmp_path) == {"kit", "source.onnx"}


@pytest.mark.parametrize("target", ["wobble", "onnx"])
def test_a_target_without_kits(planned, tmp_path, target):
    with pytest.raises(KeyError, match=target):
        write_kit(target, *planned[1:], tmp_path / "kit", "a.mindir")
    assert names(tmp_path) == {"source.onnx"}


def test_a_folder_that_cannot_be_made(planned, tmp_path):
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_kit(*planned, tmp_path / "absent" / "kit", "a.mindir")
