"""Sidecars: what they check, and damage to them."""

from __future__ import annotations

import hashlib
import json

import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.errors import ModelError, SpecError


def test_sidecar_is_checked(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    assert not open_artifact(path).verified
    write_sidecar(path, spec_of_brightness())
    assert open_artifact(path).verified
    assert json.loads(sidecar_path(path).read_text())["sha256"] == (
        hashlib.sha256(path.read_bytes()).hexdigest()
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"has sha256 .* but its sidecar says .*; copy all"):
        open_artifact(path)
    path.write_bytes(data[:-1])
    with pytest.raises(ModelError, match=r"bytes but its sidecar says"):
        open_artifact(path)


def test_sidecar_carries_the_spec_of_a_model_without_metadata(tmp_path):
    path = brightness_model(tmp_path / "model.onnx", embed=False)
    write_sidecar(path, spec_of_brightness())
    artifact = open_artifact(path)
    assert (artifact.carrier, artifact.spec) == ("sidecar", spec_of_brightness())
    sidecar_path(path).write_text("{}")
    with pytest.raises(SpecError, match="lacks spec, size, sha256"):
        open_artifact(path)
    sidecar_path(path).write_text("{")
    with pytest.raises(SpecError, match="not valid JSON"):
        open_artifact(path)


@pytest.mark.parametrize("content", ["null", "3", '"text"', "[1]", '{"author": "someone"}'])
@pytest.mark.parametrize("embed", [True, False])
def test_a_sidecar_of_something_else(tmp_path, content, embed):
    path = brightness_model(tmp_path / "model.onnx", embed=embed)
    sidecar_path(path).write_text(content)
    with pytest.raises(SpecError, match=r"model\.onnx\.json lacks spec, size, sha256"):
        open_artifact(path)
    artifact = open_artifact(path, spec_of_brightness())
    assert (artifact.carrier, artifact.verified) == ("argument", False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "12"}, "a size that is not a whole number"),
        ({"size": True}, "a size that is not a whole number"),
        ({"size": 1.5}, "a size that is not a whole number"),
        ({"sha256": 12}, "a sha256 that is not 64 hex digits"),
        ({"sha256": "ab"}, "a sha256 that is not 64 hex digits"),
        ({"spec": None}, "JSON object, not NoneType"),
        ({"spec": {"format": 1}}, r"onnx\.json: missing field name"),
    ],
)
def test_a_sidecar_with_wrong_types(tmp_path, change, message):
    path = brightness_model(tmp_path / "model.onnx")
    sidecar = write_sidecar(path, spec_of_brightness())
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | change))
    with pytest.raises(SpecError, match=message):
        open_artifact(path)


@pytest.mark.parametrize("given", [None, spec_of_brightness()])
def test_a_damaged_sidecar_is_never_ignored(tmp_path, given):
    path = brightness_model(tmp_path / "model.onnx")
    for content in ("[" * 100_000, "{", '{"size": ' + "9" * 5000 + ', "sha256": 1, "spec": 1}'):
        sidecar_path(path).write_text(content)
        with pytest.raises((SpecError, ModelError), match="sidecar"):
            open_artifact(path, given)
    sidecar_path(path).write_text('{"size": 1}')
    with pytest.raises(SpecError, match="lacks spec, sha256"):
        open_artifact(path, given)


def test_metadata_and_sidecar_must_agree(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    other = spec_of_brightness(labels=("a", "b", "c", "d"))
    write_sidecar(path, other)
    inside, beside = (s.contract_digest()[:12] for s in (spec_of_brightness(), other))
    with pytest.raises(SpecError, match=rf"contract {inside}.* sidecar .* carries {beside}"):
        open_artifact(path)
    # A name does not decide an answer.
    write_sidecar(path, spec_of_brightness(name="other"))
    assert open_artifact(path).spec.name == "brightness"


@pytest.mark.parametrize("length", [250, 255])
def test_a_name_that_leaves_no_room_for_a_sidecar(tmp_path, length):
    path = brightness_model(tmp_path / "model.onnx").rename(tmp_path / f"{'n' * (length - 5)}.onnx")
    assert open_artifact(path).carrier == "metadata"
    assert open_artifact(path, spec_of_brightness()).carrier == "argument"
