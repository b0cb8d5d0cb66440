"""Stand-ins for RKNN-Toolkit2 and RKNN-Toolkit-Lite2, and what puts them where they are found."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from r2p_edge.runtimes.rknn.trial import ASSETS

FOLDER = Path(__file__).parent


COMPATIBLE = "proc/device-tree/compatible"


def system(folder: Path, chip: str = "rk3588") -> None:
    """Write the files of a board's system into a folder: chip, driver, library, device files."""
    files = {
        COMPATIBLE: f"radxa,rock\0rockchip,{chip}\0",
        "sys/module/rknpu/version": "0.9.8\n",
        "sys/class/drm/card0/device/uevent": "DRIVER=rockchip-drm\n",
        "sys/class/drm/card1/device/uevent": "DRIVER=RKNPU\n",
        "sys/class/drm/renderD129/device/uevent": "DRIVER=RKNPU\nOF_NAME=npu\n",
        "dev/dri/card1": "",
        "dev/dri/renderD129": "",
        "usr/lib/librknnrt.so": "\x7fELF\0librknnrt version: 2.5.0 (686ab84@2026-07-01)\0",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def write_test_models(folder: Path) -> None:
    """Write the test models of doctor for each chip into a folder, as the toolkit here does."""
    layer = (ASSETS / "conv2d.onnx").read_bytes()
    for chip in ("rk3588", "rk3576", "rk3568", "rk3562"):
        header = json.dumps({"chip": chip, "mean": [0.0] * 3, "std": [1.0] * 3}).encode()
        content = b"RKNN" + len(header).to_bytes(4, "little") + header + layer
        (folder / f"conv2d-rknn-{chip}.rknn").write_bytes(content)


def toolkit_program(folder: Path) -> Path:
    """Write a program into `folder` that is a Python with the toolkit; return its path."""
    program = folder / "toolkit-python"
    lines = ["#!/bin/sh", f'PYTHONPATH="{FOLDER}/toolkit" exec "{sys.executable}" "$@"', ""]
    program.write_text("\n".join(lines))
    program.chmod(0o755)
    return program


@contextlib.contextmanager
def toolkit(folder: Path, **settings: str) -> Iterator[None]:
    """Let the toolkit be found, and no board."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2P_RKNN_PYTHON", str(toolkit_program(folder)))
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


@contextlib.contextmanager
def board(folder: Path, chip: str = "rk3588", **settings: str) -> Iterator[None]:
    """Let this machine be a board with the chip, where the toolkit is not found."""
    system(folder, chip)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r2p_edge.runtimes.rknn.chips._COMPATIBLE", folder / COMPATIBLE)
        patch.setattr("r2p_edge.runtimes.rknn.system._ROOT", folder)
        patch.syspath_prepend(str(FOLDER / "board"))
        patch.delenv("R2P_RKNN_PYTHON", raising=False)
        patch.setenv("FAKE_RKNN_CHIP", chip)
        for name, value in settings.items():
            patch.setenv(name, value)
        _forget()
        yield
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rknnlite"]:
        del sys.modules[name]
