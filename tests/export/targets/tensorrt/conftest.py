"""Fixtures of TensorRT's target: stand-ins for trtexec, and an engine."""

from __future__ import annotations

import pytest
from fake_tensorrt.trtexec import install_program
from models import brightness_model
from trtexec_models import RELEASES

from r2p_edge.export.targets.tensorrt.trtexec import Trtexec


@pytest.fixture(params=RELEASES)
def release(request, monkeypatch):
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", request.param)
    return request.param


@pytest.fixture
def tool(tmp_path):
    return Trtexec(install_program(tmp_path / "Tensor RT, 10:3"))


@pytest.fixture
def source(tmp_path):
    # A third of a level is no number with ten bits.
    return brightness_model(tmp_path / "model.onnx", factor=1 / 3)


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """The bytes of an engine that TensorRT 10.3 built."""
    folder = tmp_path_factory.mktemp("engine")
    model = brightness_model(folder / "model.onnx", factor=1 / 3)
    Trtexec(install_program(folder)).build(model, folder / "built.plan", precision="fp32")
    return (folder / "built.plan").read_bytes()


@pytest.fixture
def plan(tmp_path, engine):
    path = tmp_path / "draft.engine"
    path.write_bytes(engine)
    return path
