"""Models for a trial of a device: what the simulator builds, and what lies ready for each chip."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from r2p_edge.errors import BackendError
from r2p_edge.runtimes.rknn.chips import ROCKCHIPS, has_same_npu
from r2p_edge.runtimes.rknn.source_file import (
    MODEL,
    SETTINGS,
    SOURCE_SUFFIX,
    settings_bytes,
    source_bytes,
)
from r2p_edge.runtimes.rknn.toolkit import toolkit_settings

ASSETS = Path(str(resources.files("r2p_edge") / "assets"))
"""Folder of the test models, `<layer>-rknn-<chip>.rknn`."""

_CHIP = "rk3588"  # which the simulator simulates in a trial


def source_of_trial(model: Path, folder: Path) -> Path:
    """Write a file from which the simulator builds an ONNX model; return its path.

    Args:
        model: its input are images, float32 NCHW, which are made of pixels as they are.
        folder: where the file is written.
    """
    settings = toolkit_settings(_CHIP, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    files = {SETTINGS: settings_bytes(settings), MODEL: model.read_bytes()}
    path = folder / f"{model.stem}{SOURCE_SUFFIX}"
    path.write_bytes(source_bytes(files))
    return path


def model_of_chip(layer: str, chip: str | None) -> Path:
    """Return the `.rknn` of a test model that the package has for a chip's NPU.

    Raises:
        BackendError: it has none.
    """
    for known in ROCKCHIPS:
        path = ASSETS / f"{layer}-rknn-{known}.rknn"
        if chip is not None and has_same_npu(known, chip) and path.is_file():
            return path
    raise BackendError(
        f"there is no test model for {(chip or 'an unknown chip').upper()}, but for "
        f"{', '.join(ROCKCHIPS).upper()}; run a model of your own"
    )
