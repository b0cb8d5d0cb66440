"""Fixtures of MindSpore Lite's target: a model, and stand-ins for the library and its converter."""

from __future__ import annotations

import pytest
from fake_mindspore_lite import install_program, installed
from models import brightness_model


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No converter but the ones that a test installs."""
    monkeypatch.delenv("R2P_CONVERTER_LITE", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def lite():
    with installed():
        yield


@pytest.fixture
def source(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


@pytest.fixture
def program(tmp_path, monkeypatch, lite):
    """converter_lite on PATH, beside a mindspore_lite that was built without its converter."""
    monkeypatch.setenv("FAKE_LITE_WITHOUT_CONVERTER", "1")
    program = install_program(tmp_path / "mindspore-lite-2.7.0-linux-x64")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program
