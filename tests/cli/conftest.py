"""Fixtures of the tests of the command line."""

from __future__ import annotations

import pytest
from models import brightness_model


@pytest.fixture
def model(tmp_path):
    """Write a model of brightness, whose answers are known."""
    return brightness_model(tmp_path / "model.onnx")


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
