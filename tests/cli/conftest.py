"""Fixtures of the tests of the command line."""

from __future__ import annotations

import pytest
from models import brightness_model

from r2p_edge.calibration import motion


@pytest.fixture
def model(tmp_path):
    """Write a model of brightness, whose answers are known."""
    return brightness_model(tmp_path / "model.onnx")


@pytest.fixture
def clip(tmp_path):
    """Write a video of the bundled model's first class."""
    path = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export the bundled model in every form; return {file name: path}."""
    from r2p_edge.export.build import build

    out = tmp_path_factory.mktemp("exported")
    reports = (
        build("motion", targets=["onnx", "openvino"], out=out),
        build("motion", targets=["openvino"], out=out, precision="fp16"),
        build("motion", targets=["onnx", "openvino"], out=out, graph="conv2d"),
    )
    return {each.path.name: each.path for report in reports for each in report.built}
