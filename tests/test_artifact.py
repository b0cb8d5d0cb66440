"""What a model file says of itself, and the damage that is noticed before a runtime sees it."""

import hashlib
import json

import onnx
import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge._files import write_sidecar
from r2p_edge.artifact import METADATA_KEY, onnx_metadata, open_artifact, sidecar_path, template
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError
from r2p_edge.spec import ModelSpec


def test_metadata_is_what_onnx_wrote(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    written = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    assert onnx_metadata(path) == written
    assert open_artifact(path).spec == spec_of_brightness()
    assert open_artifact(path).carrier == "metadata"


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
    with pytest.raises(ModelError, match=r"has sha256 .* but its sidecar says .*; copy both"):
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
    with pytest.raises(SpecError, match="cannot be read"):
        open_artifact(path)


def test_a_model_without_spec_shows_a_template(tmp_path):
    path = brightness_model(tmp_path / "model.onnx", embed=False)
    with pytest.raises(SpecError, match="carries no r2p_edge spec") as caught:
        open_artifact(path)
    shown = str(caught.value)
    assert json.loads(shown[shown.index("{") :]) == template()
    assert ModelSpec.from_dict(template()).labels == ("first class", "second class")
    given = tmp_path / "spec.json"
    given.write_text(spec_of_brightness().to_json())
    for spec in (given, str(given), spec_of_brightness()):
        assert open_artifact(path, spec).spec == spec_of_brightness()


def test_a_wrong_spec_names_its_carrier(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    data = spec_of_brightness().to_dict() | {"colour": "RGB"}
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(data)})
    onnx.save(model, path)
    with pytest.raises(SpecError, match=r"metadata of .*model\.onnx: unknown field colour"):
        open_artifact(path)


def test_not_a_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        open_artifact(tmp_path / "absent.onnx")
    assert issubclass(ModelNotFoundError, FileNotFoundError)
    with pytest.raises(ModelNotFoundError, match="is a folder"):
        open_artifact(tmp_path)
    text = tmp_path / "text.onnx"
    text.write_text("this is not a protobuf message at all")
    with pytest.raises(ModelError, match="not a whole ONNX file"):
        open_artifact(text)


def test_every_truncation_is_an_error_of_ours(tmp_path):
    whole = brightness_model(tmp_path / "model.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            open_artifact(path)
