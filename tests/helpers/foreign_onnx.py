"""ONNX files as other people make them: a small video network with ends of every kind."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conv3d_networks import random_statistics
from networks import spec_for
from requirements import require
from torch import nn

from r2p_edge.export.build import Built, build
from r2p_edge.spec import ModelSpec

CLASSES, FRAMES, SIZE = 5, 8, 56


class Network(nn.Module):
    """Two convolutions, batch norm, dropout and a classifier, between two functions.

    Args:
        before: applied to the input; its result is (N, 3, T, H, W).
        after: applied to the logits, (N, classes).
    """

    def __init__(
        self,
        before: Callable[[Any], Any] | None = None,
        after: Callable[[Any], Any] | None = None,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(3, 6, (1, 7, 7), stride=(1, 4, 4), bias=False)
        self.norm = nn.BatchNorm3d(6)
        self.temporal = nn.Conv3d(6, 8, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, classes)
        self.before, self.after = before, after
        torch.manual_seed(1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, 0.4)
        random_statistics(self)

    def features(self, x: Any) -> Any:
        """Return (N, 8, T', H', W')."""
        x = x if self.before is None else self.before(x)
        return torch.relu(self.temporal(torch.relu(self.norm(self.spatial(x)))))

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        x = self.fc(self.drop(self.features(x).mean((2, 3, 4))))
        return x if self.after is None else self.after(x)


def foreign_spec(classes: int = CLASSES, **changes: Any) -> ModelSpec:
    """Return the contract of a `Network`."""
    return spec_for(classes, frames=FRAMES, size=SIZE, **changes)


def write_onnx(
    path: Path,
    network: nn.Module,
    shape: tuple[int, ...] = (1, 3, FRAMES, SIZE, SIZE),
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Path:
    """Write a network with `torch.onnx.export`, by default with the older exporter at opset 17."""
    example = torch.zeros(shape, dtype=dtype)
    options = {"dynamo": False, "opset_version": 17, **options}
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            if options["dynamo"]:
                require("onnxscript")
                options["verbose"] = False
            torch.onnx.export(network, (example,), path, **options)
    finally:
        logging.disable(level)
    return path


def run_file(path: Path, tensor: np.ndarray, output: str | None = None) -> np.ndarray:
    """Run a file in a plain session of ONNX Runtime, clip by clip; return its output for each."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    name = output or session.get_outputs()[0].name
    return np.stack([session.run([name], {entry.name: clip[None]})[0] for clip in tensor])


def export_foreign(source: Path, folder: Path, *, classes: int, **options: Any) -> Built:
    """Export a file with a preset, which does not know what its network puts out."""
    labels = folder / "labels.txt"
    labels.write_text("\n".join("abcde"[:classes]))
    options = {"frames": 8, "size": 56, "labels": labels, **options}
    options = {"preset": "kinetics400-torchvision", "targets": ["onnx"], **options}
    (built,) = build(source, out=folder / "out", **options).built
    return built
