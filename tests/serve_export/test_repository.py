"""Folders of repositories: versions, refusals, and what is left when something fails."""

import os
import shutil

import numpy as np
import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge import Predictor
from r2p_edge.artifact import bundle
from r2p_edge.errors import ModelError, OutputError, UsageError
from r2p_edge.serve_export import write_repository
from r2p_edge.serve_export.repository import RECORD


@pytest.fixture
def out(tmp_path):
    return tmp_path / "repository"


def versions_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_the_same_model_is_the_same_version(model, out):
    for _ in range(2):
        assert write_repository(model, "triton", out).models["brightness"] == 1
    assert versions_in(out / "brightness") == ["1"]


def test_a_newer_model_is_a_further_version_and_the_older_stays(model, tmp_path, out):
    write_repository(model, "triton", out)
    newer = brightness_model(tmp_path / "newer.onnx", factor=2.0)
    assert write_repository(newer, "triton", out).models == {
        "brightness": 2, "brightness_files": 2, "brightness_stream": 2,
    }  # fmt: skip
    pixels = np.full((1, 4, 8, 8, 3), 7, np.uint8)
    for version, level in ((1, 7), (2, 14)):
        with Predictor(out / "brightness" / str(version)) as predictor:
            assert predictor.outputs_of(pixels).tolist() == [[level] * 4]
    assert write_repository(model, "triton", out).models["brightness"] == 1
    assert versions_in(out / "brightness") == ["1", "2"]
    assert bundle.check(out)


def test_versions_are_links_to_the_model(model, out):
    write_repository(model, "triton", out)
    assert model.samefile(out / "brightness" / "1" / "model.onnx")


def test_where_there_are_no_links_there_are_copies(model, out, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_repository(model, "triton", out)
    copy = out / "brightness" / "1" / "model.onnx"
    assert copy.read_bytes() == model.read_bytes()
    assert not model.samefile(copy)


def test_the_manifest_finds_a_file_that_changed(model, out):
    write_repository(model, "triton", out)
    assert bundle.check(out) == len([path for path in out.rglob("*") if path.is_file()]) - 1
    (out / "brightness" / "labels.txt").write_text("other\n")
    with pytest.raises(ModelError, match=r"brightness/labels\.txt"):
        bundle.check(out)


def test_two_models_share_a_repository(model, out):
    write_repository(model, "triton", out, name="one")
    write_repository(model, "triton", out, name="other")
    assert {"one", "other", "one_stream", "other_files"} <= {path.name for path in out.iterdir()}
    assert bundle.check(out)


@pytest.mark.parametrize("server", ["triton", "ovms"])
def test_another_model_of_that_name_is_not_replaced(model, tmp_path, out, server):
    write_repository(model, server, out)
    before = (out / "brightness" / RECORD).read_bytes()
    labels = ("a", "b", "c", "d")
    other = brightness_model(tmp_path / "other.onnx", spec_of_brightness(labels=labels))
    with pytest.raises(UsageError, match="is another model of the name brightness"):
        write_repository(other, server, out)
    assert (out / "brightness" / RECORD).read_bytes() == before
    write_repository(other, server, out, replace=True)
    assert (out / "brightness" / "labels.txt").read_text() == "a\nb\nc\nd\n"
    assert versions_in(out / "brightness") == ["1"]


def test_classes_in_another_order_are_another_model(model, tmp_path, out):
    write_repository(model, "triton", out)
    labels = spec_of_brightness().labels[::-1]
    other = brightness_model(tmp_path / "other.onnx", spec_of_brightness(labels=labels))
    with pytest.raises(UsageError, match="its classes in another order"):
        write_repository(other, "triton", out)


def test_another_batch_is_another_model(model, tmp_path, out):
    write_repository(model, "triton", out)
    other = brightness_model(tmp_path / "other.onnx", batch="N")
    with pytest.raises(UsageError, match="of other inputs or outputs"):
        write_repository(other, "triton", out)


@pytest.mark.parametrize("name", ["brightness", "brightness_stream"])
def test_a_folder_of_somebody_else_is_left_alone(model, out, name):
    (out / name).mkdir(parents=True)
    (out / name / "config.pbtxt").write_text("mine")
    with pytest.raises(OutputError, match="is not a folder that serve-export has written"):
        write_repository(model, "triton", out, replace=True)
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name / "config.pbtxt").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder(model, out):
    out.mkdir()
    (out / "brightness").write_text("mine")
    with pytest.raises(OutputError, match="is not a folder that serve-export has written"):
        write_repository(model, "triton", out)


def test_a_failure_leaves_what_was_there(model, tmp_path, out, monkeypatch):
    write_repository(model, "triton", out)
    before = {path: path.read_bytes() for path in (out / "brightness").rglob("*") if path.is_file()}
    newer = brightness_model(tmp_path / "newer.onnx", factor=2.0)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        write_repository(newer, "triton", out)
    assert before == {path: path.read_bytes() for path in before}
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(".")) == []


def test_a_first_export_that_fails_leaves_no_folder(model, out, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OutputError):
        write_repository(model, "triton", out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "", "ü", ".hidden", "x" * 101])
def test_names_that_no_server_can_have(model, out, name):
    with pytest.raises(UsageError, match="cannot be the name of a model on a server"):
        write_repository(model, "triton", out, name=name)
    assert not out.exists()


def test_an_unknown_server_is_named_with_the_nearest(model, out):
    with pytest.raises(UsageError, match="unknown server 'tritn'; did you mean triton"):
        write_repository(model, "tritn", out)


def test_a_foreign_model_carries_the_contract_that_was_given(tmp_path, out):
    path = brightness_model(tmp_path / "bare.onnx", embed=False)
    write_repository(path, "triton", out, spec=spec_of_brightness())
    with Predictor(out / "brightness_stream" / "1") as predictor:
        assert predictor.spec.labels == spec_of_brightness().labels
