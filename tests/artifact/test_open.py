"""Opening of model files: their contract, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge.artifact.onnx_metadata import METADATA_KEY
from r2p_edge.artifact.open import open_artifact, template
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError
from r2p_edge.spec import ModelSpec


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize("method", ["open", "stat"])
def test_a_model_that_may_not_be_read(tmp_path, monkeypatch, sidecar, method):
    path = brightness_model(tmp_path / "model.onnx")
    if sidecar:
        write_sidecar(path, spec_of_brightness())
    real = getattr(Path, method)

    def refuse(self, *arguments, **named):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, method, refuse)
    if method == "stat":  # what a folder that may not be entered does, on every Python
        monkeypatch.setattr(Path, "is_file", lambda self: bool(self.stat()))
    with pytest.raises(ModelError, match=r"model\.onnx cannot be read \(Permission denied\)"):
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


@pytest.mark.parametrize("name", ["n" * 300 + ".onnx", "n" * 300, "folder\0.onnx"])
def test_a_name_that_no_file_can_have(tmp_path, name):
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        open_artifact(tmp_path / name)
    model = brightness_model(tmp_path / "model.onnx", embed=False)
    with pytest.raises(SpecError, match=r"spec .* cannot be read"):
        open_artifact(model, tmp_path / name)


def test_a_path_through_a_file(tmp_path):
    model = brightness_model(tmp_path / "model.onnx")
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        open_artifact(model / "model.onnx")


def test_a_folder_that_may_not_be_entered(tmp_path, monkeypatch):
    def refuse(self, *arguments, **named):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(ModelError, match=r"cannot be read \(Permission denied\); check its perm"):
        open_artifact(tmp_path / "folder" / "model.onnx")
