"""Fixtures of the tests of segments."""

from __future__ import annotations

import pytest
from models import brightness_model

from r2p_edge import Predictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A model of four frames, 0.32 s, that is sure which of them is the brightest."""
    with Predictor(brightness_model(tmp_path_factory.mktemp("model") / "model.onnx")) as opened:
        yield opened
