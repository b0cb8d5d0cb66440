"""Stand-ins for RKNN-Toolkit2 and RKNN-Toolkit-Lite2, and what puts them where they are found."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


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
    tree = folder / "compatible"
    tree.write_bytes(f"radxa,rock\0rockchip,{chip}\0".encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r2p_edge.runtimes.rknn.chips._COMPATIBLE", tree)
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
