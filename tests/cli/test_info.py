"""`r2p-edge info`: contracts of artifacts and folders of them."""

import json

import pytest
from exit_codes import MODEL
from models import brightness_model, spec_of_brightness

from r2p_edge.artifact import bundle
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.calibration import motion
from r2p_edge.errors import ModelNotFoundError
from r2p_edge.info import inspect_folder


def test_info_goes_on_after_a_file_that_it_cannot_read(run, model, tmp_path):
    (tmp_path / "a-project.xml").write_text("<project/>")
    code, output, errors = run("info", tmp_path, "--json")
    assert code == MODEL
    assert "its outermost element is <project>" in errors
    first, second = map(json.loads, output.splitlines())
    assert first["path"].endswith("a-project.xml")
    assert "not a whole OpenVINO file" in first["error"]
    assert second["path"] == str(model)


def test_info_of_a_few_labels(run, model, motion_model):
    assert "classes  4: frame 0, frame 1, frame 2, frame 3\n" in run("info", model)[1]
    shown = ", ".join(motion.CLASSES[:4])
    assert f"classes  {len(motion.CLASSES)}: {shown}, ...\n" in run("info", motion_model)[1]


def test_parity_and_source_are_words_for_people(run, motion_model, tmp_path):
    output = run("info", motion_model)[1]
    assert (
        "   parity  verified against its checkpoint, computed in NumPy: outputs differ by" in output
    )
    assert "{" not in output
    for parity, words in (
        ({"psnr": 40, "by": None}, "psnr 40"),
        (None, "not compared with its source"),
    ):
        path = brightness_model(tmp_path / "other.onnx", spec=spec_of_brightness(parity=parity))
        assert f"   parity  {words}\n" in run("info", path)[1]


def test_records_within_records_are_words_for_people(run, tmp_path):
    source = {
        "file": "a.pth",
        "parent": {"file": "b.pth", "sha256": "0f"},
        "layers": ["a", "b", "c", "d", "e", "f"],
        "training": {"videos": 480, "epoch": 3, "held_out": {"right": 9, "total": 12}},
    }
    spec = spec_of_brightness(source=source)
    output = run("info", brightness_model(tmp_path / "m.onnx", spec=spec))[1]
    row = "file a.pth, parent (file b.pth, sha256 0f), layers (a, b, c, d and 2 more)"
    assert f"   source  {row}\n" in output
    assert "  trained  480 videos, epoch 3; held out: 75.0% of 12 videos\n" in output
    for training in ("by hand", {"recipe": {"rate": 0.1}}):
        spec = spec_of_brightness(source={"training": training})
        assert "  trained" not in run("info", brightness_model(tmp_path / "m.onnx", spec=spec))[1]


def test_kits_and_a_whole_folder_are_words_for_people(run, model):
    (model.parent / "kit").mkdir()
    (model.parent / "kit" / "kit.json").write_text("{}")
    write_sidecar(model, spec_of_brightness())
    bundle.record(model.parent, [model])
    output = run("info", model.parent)[1]
    kit = model.parent / "kit"
    assert f"      kit  {kit}: no model yet; copy it to its device and run" in output
    assert output.endswith(f"   bundle  {model.parent}: 2 files as exported\n")


def test_a_folder_for_python_users(model, tmp_path):
    (tmp_path / "a-project.xml").write_text("<project/>")
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "kit.json").write_text("{}")
    report = inspect_folder(tmp_path)
    broken, whole = report.models
    assert broken.path == tmp_path / "a-project.xml"
    assert "not a whole OpenVINO file" in str(broken.error)
    assert whole.path == model
    assert report.kits == [tmp_path / "kit"]
    assert (report.listed, report.damage) == (None, None)
    write_sidecar(model, whole.spec)
    bundle.record(tmp_path, [model])
    assert inspect_folder(tmp_path).listed == 2
    model.with_name("model.onnx.json").write_text("{}")
    report = inspect_folder(tmp_path)
    assert report.listed is None
    assert "model.onnx.json has 2 bytes instead of" in str(report.damage)


def test_a_folder_without_anything(fails, tmp_path):
    fails(MODEL, "has no model file (.engine, .mindir", "info", tmp_path)
    with pytest.raises(ModelNotFoundError, match="there is no folder"):
        inspect_folder(tmp_path / "absent")


def test_a_kit_that_was_never_finished_is_none(model):
    for name in ("kit", ".kit.0123abcd.part"):
        folder = model.parent / name
        folder.mkdir()
        (folder / "kit.json").touch()
    assert inspect_folder(model.parent).kits == [model.parent / "kit"]
