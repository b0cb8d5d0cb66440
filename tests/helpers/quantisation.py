"""Small float artifacts to quantise, and the logits of artifacts."""

from __future__ import annotations

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
    """Export an R(2+1)D of 21 layers; `changes` replace parameters."""
    from safetensors.numpy import save_file

    parameters = random_parameters(**SMALL) | changes
    save_file(parameters, folder / "weights.safetensors")
    path = folder / f"{graph}-{batch}.onnx"
    onnx_from_checkpoint(folder / "weights.safetensors", SPEC, path, batch=batch, graph=graph)
    return path


def named(path: Path) -> onnx.ModelProto:
    """Load an artifact and name its nodes."""
    model = onnx.load(path)
    name_nodes(model)
    return model


def logits(path: Path, clips: np.ndarray, runtime: str = "onnxruntime") -> np.ndarray:
    """Return the output of a Predictor's runtime, (N, classes)."""
    from r2p_edge import Predictor

    with Predictor(path, runtime=runtime) as predictor:
        return np.concatenate([predictor._runtime.run(clip[None]).copy() for clip in clips])
