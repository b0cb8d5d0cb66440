"""Fixtures of the tests of runtimes."""

from __future__ import annotations

import pytest
from fake_mindspore_lite import installed

from r2p_edge.runtimes import ascend

CHIP = "Ascend310P3"


@pytest.fixture
def npu(tmp_path, monkeypatch):
    """An Ascend 310P with two chips; returns the folder of its device files."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("davinci0", "davinci1", "davinci_manager", "null"):
        (folder / name).touch()
    monkeypatch.setattr(ascend, "_DEVICE_FILES", folder)
    with installed(chip=CHIP):
        yield folder
