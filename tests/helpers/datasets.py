"""Folders of labelled videos, and reports on folders that need not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from videos import written

from r2p_edge.calibration.dataset.facts import VideoFacts
from r2p_edge.calibration.dataset.groups import group_of
from r2p_edge.calibration.dataset.report import DatasetReport


def record(folder: Path, *names: str, rate: float = 25.0) -> Path:
    """Write small videos, each of one frame more than the one before; return the folder."""
    for frames, name in enumerate(names, 4):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        written(folder / name, np.arange(frames) / rate)
    return folder


def report_of_names(*names: str, folder: Path = Path("videos"), **more: object) -> DatasetReport:
    """Return the report on whole videos of these names."""
    facts = [
        VideoFacts(name, name.split("/")[0], group_of(name), 16, 0, 0.64, 25.0, 64, 48)
        for name in sorted(names)
    ]
    classes = tuple(sorted({video.label for video in facts}))
    return DatasetReport(folder, classes, tuple(facts), **more)
