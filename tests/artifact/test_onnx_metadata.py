"""Metadata of ONNX files, compared with what onnx reads."""

from __future__ import annotations

import onnx
import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge.artifact.onnx_metadata import onnx_metadata
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ModelError


def test_metadata_is_what_onnx_wrote(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    written = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    assert onnx_metadata(path) == written
    assert open_artifact(path).spec == spec_of_brightness()
    assert open_artifact(path).carrier == "metadata"


@pytest.mark.slow
def test_every_truncation_is_an_error_of_ours(tmp_path):
    whole = brightness_model(tmp_path / "model.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            open_artifact(path)
