"""Fixtures of the tests of repositories."""

from __future__ import annotations

import pytest
from models import brightness_model


@pytest.fixture
def model(tmp_path):
    """Write a model of brightness, whose answers are known."""
    return brightness_model(tmp_path / "model.onnx")
