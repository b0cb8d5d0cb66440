"""Small float artifacts to quantise, and what an int8 one answers."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from networks import SMALL, random_parameters, spec_for

from r2p_edge.calibration.placement import name_nodes
from r2p_edge.export.targets.onnx import onnx_from_checkpoint
from r2p_edge.export.verify.synthetic_clips import verification_clips

FRAMES, SIZE = 8, 32
SPEC = spec_for(SMALL["classes"], frames=FRAMES, size=SIZE)
CLIPS = verification_clips(SPEC, 6, seed=5)


def small_artifact(folder: Path, *, batch: int = 1, graph: str = "conv3d", **changes: Any) -> Path:
    """Write an R(2+1)D of 21 layers as an ONNX artifact; `changes` replace parameters."""
    path = folder / f"{graph}-{batch}.onnx"
    if changes:
        _export(path, batch, graph, changes)
    else:
        path.write_bytes(_exported_once(batch, graph))
    return path


@functools.cache
def _exported_once(batch: int, graph: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.onnx"
        _export(path, batch, graph, {})
        return path.read_bytes()


def _export(path: Path, batch: int, graph: str, changes: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    weights = path.with_name("weights.safetensors")
    save_file(random_parameters(**SMALL) | changes, weights)
    onnx_from_checkpoint(weights, SPEC, path, batch=batch, graph=graph)


def named(path: Path) -> onnx.ModelProto:
    """Return the model of a file, whose nodes all have names."""
    model = onnx.load(path)
    name_nodes(model)
    return model


def logits(path: Path, clips: np.ndarray, runtime: str = "onnxruntime") -> np.ndarray:
    """Return the outputs of a Predictor's runtime, (N, classes)."""
    from r2p_edge import Predictor

    with Predictor(path, runtime=runtime) as predictor:
        return np.concatenate([predictor._runtime.run(clip[None]).copy() for clip in clips])
