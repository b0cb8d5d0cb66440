"""Fixtures that several test modules share."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from requirements import is_required


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real clips: R2P_TEST_DATA, or ../shared/data beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("R2P_TEST_DATA", beside))
    if not folder.is_dir():
        message = f"needs the test clips in {folder}; set R2P_TEST_DATA"
        if is_required("data"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def torchvision():
    """The torchvision package, even where its compiled operators do not fit the installed torch.

    A torchvision built for another torch only imports once two of its operators exist; none of
    the video models and transforms uses them.
    """
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a) -> Tensor"):
        with contextlib.suppress(RuntimeError):  # torchvision has its own
            library.define(operator)
    import torchvision

    yield torchvision
    del library


@pytest.fixture(scope="session")
def motion_model(tmp_path_factory) -> Path:
    """The bundled model as an ONNX artifact."""
    from r2p_edge.export.build import build

    (artifact,) = build("motion", targets=["onnx"], out=tmp_path_factory.mktemp("motion"))
    return artifact.path
