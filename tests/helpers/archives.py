"""Small archives, and a model whose answers to them are known."""

from __future__ import annotations

import numpy as np
import pytest
from models import brightness_model
from videos import written


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Write videos of several lengths, one of them damaged, and one with a name of all sorts."""
    folder = tmp_path_factory.mktemp("archive")
    for number, name in enumerate(["a.mp4", "b.mp4", "sub/c = d.mp4", "sub/\n é.mp4"]):
        (folder / name).parent.mkdir(exist_ok=True)
        written(folder / name, np.arange(10 + 3 * number) / 25)
    (folder / "b-damaged.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Write a model of brightness."""
    return brightness_model(tmp_path_factory.mktemp("model") / "model.onnx")
