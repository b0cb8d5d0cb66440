"""What a model file says of itself, and the damage that is noticed before a runtime sees it."""

import hashlib
import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import onnx
import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge.artifact.onnx_metadata import METADATA_KEY, onnx_metadata
from r2p_edge.artifact.open import open_artifact, template
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError
from r2p_edge.spec.model_spec import ModelSpec


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


def test_every_truncation_is_an_error_of_ours(tmp_path):
    whole = brightness_model(tmp_path / "model.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            open_artifact(path)


IR = """<?xml version="1.0"?>
<net name="foreign" version="11">
  <layers>
    <layer id="0" name="frames" type="Parameter" version="opset1">
      <data shape="1,4,8,8,3" element_type="u8" />
      <rt_info><attribute name="r2p_edge" version="0" /></rt_info>
    </layer>
    <layer id="1" name="a" type="Const" version="opset1">
      <data element_type="f32" shape="3" offset="0" size="12" />
    </layer>
    <layer id="2" name="b" type="Const" version="opset1">
      <data element_type="f32" shape="2" offset="12" size="8" />
    </layer>
  </layers>
  <rt_info>%s</rt_info>
</net>
"""


def openvino_file(path, spec=None, weights=20):
    inner = "" if spec is None else f"<r2p_edge><spec value={quoteattr(spec)} /></r2p_edge>"
    path.write_text(IR % inner, encoding="utf-8")
    path.with_suffix(".bin").write_bytes(bytes(weights))
    return path


def test_an_openvino_file_and_its_weights(tmp_path):
    spec = spec_of_brightness(labels=("a<b", 'c"d', "e&f", "é"))
    path = openvino_file(tmp_path / "model.xml", spec.to_json())
    artifact = open_artifact(path)
    assert (artifact.spec, artifact.carrier, artifact.verified) == (spec, "metadata", False)
    assert artifact.size == path.stat().st_size + 20
    sidecar = write_sidecar(path, spec)
    files = json.loads(sidecar.read_text())["files"]
    assert files["model.bin"] == {"size": 20, "sha256": hashlib.sha256(bytes(20)).hexdigest()}
    assert open_artifact(path).verified
    path.with_suffix(".bin").write_bytes(bytes(19) + b"1")
    with pytest.raises(ModelError, match=r"model\.bin has sha256 .* but its sidecar says"):
        open_artifact(path)
    path.with_suffix(".bin").write_bytes(bytes(19))
    with pytest.raises(ModelError, match=r"model\.bin has 19 bytes but its sidecar says 20"):
        open_artifact(path)


def test_an_openvino_file_whose_weights_are_missing_or_short(tmp_path):
    path = openvino_file(tmp_path / "model.xml", spec_of_brightness().to_json(), weights=19)
    with pytest.raises(ModelError, match=r"model\.bin has 19 bytes but model\.xml needs 20"):
        open_artifact(path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match=r"has no weights: there is no model\.bin beside it"):
        open_artifact(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a whole OpenVINO file"),
        (IR[: len(IR) // 2], "not a whole OpenVINO file"),
        ("<html></html>", r"its outermost element is <html>, not <net>"),
        ('<?xml version="1.0" encoding="foo"?>\n<net/>', "not a whole OpenVINO file"),
        (IR.replace('size="8"', 'size="many"'), "not a whole OpenVINO file"),
    ],
)
def test_what_is_no_openvino_file(tmp_path, text, message):
    path = openvino_file(tmp_path / "model.xml")
    path.write_text(text)
    for _ in range(2):
        with pytest.raises(ModelError, match=message):
            open_artifact(path)
        # It is no OpenVINO file, with or without one.
        path.with_suffix(".bin").unlink(missing_ok=True)


def test_an_openvino_file_without_spec(tmp_path):
    path = openvino_file(tmp_path / "model.xml")
    with pytest.raises(SpecError, match="carries no r2p_edge spec"):
        open_artifact(path)
    assert open_artifact(path, spec_of_brightness()).carrier == "argument"
    openvino_file(path, "{}")
    with pytest.raises(
        SpecError, match=r"spec in the metadata of .*model\.xml: spec format is None"
    ):
        open_artifact(path)


@pytest.mark.parametrize(
    "files",
    [None, {}, [], {"other.bin": {"size": 1, "sha256": "0" * 64}}, {"model.bin": 3}],
)
def test_a_sidecar_that_does_not_describe_the_weights(tmp_path, files):
    path = openvino_file(tmp_path / "model.xml", spec_of_brightness().to_json())
    sidecar = write_sidecar(path, spec_of_brightness())
    content = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(content | {"files": files}))
    with pytest.raises(SpecError, match=r"should describe model\.bin|size that is not a whole"):
        open_artifact(path)
