"""OpenVINO files: their spec, their weights, and damage to them."""

from __future__ import annotations

import hashlib
import json
from xml.sax.saxutils import quoteattr

import pytest
from models import spec_of_brightness

from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import ModelError, SpecError

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
