"""Fixtures of the tests of the command line."""

from __future__ import annotations

import pytest
from models import brightness_model

from r2p_edge.calibration import motion


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bundled model as every artifact, and what the export said of them."""
    from r2p_edge.export.build import build

    out = tmp_path_factory.mktemp("exported")
    built = build("motion", targets=["onnx", "openvino"], out=out)
    built += build("motion", targets=["openvino"], out=out, precision="fp16")
    built += build("motion", targets=["onnx", "openvino"], out=out, graph="conv2d")
    return {each.path.name: each.path for each in built}
