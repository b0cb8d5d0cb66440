"""A checkpoint that MindSpore wrote, exported by us, against the cell that it was saved from."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest
from networks import spec_for
from paths import HELPERS
from requirements import needs

from r2p_edge.agreement import agreement
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.verify.parity import open_session, run_session
from r2p_edge.export.verify.reference import reference_logits
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.mindspore import MindSpore
from r2p_edge.spec.model_spec import InputSpec

pytestmark = [needs("mindspore"), needs("onnx"), needs("onnxruntime")]
CLASSES = 13  # of the narrow networks of mindspore_network.py


def run_mindspore(folder, depth, shape, clips):
    """The checkpoint that MindSpore saved, and its own logits for normalised clips."""
    checkpoint, given, logits = (folder / name for name in ("m.ckpt", "clips.npy", "logits.npy"))
    np.save(given, clips)
    program = HELPERS / "mindspore_network.py"
    subprocess.run(
        [sys.executable, program, str(depth), shape, given, checkpoint, logits],
        # With AVX-512, oneDNN has no fast 3-D convolution for MindSpore's layout and takes minutes.
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        check=True,
        capture_output=True,
        timeout=600,
    )
    return checkpoint, np.load(logits)


@pytest.mark.parametrize(
    ("depth", "frames", "size"),
    [(18, 8, 32), (34, 16, 56), (18, 5, 37)],  # and odd sizes, where "same" could pad
)
def test_mindspores_cell_and_our_artifact_answer_alike(tmp_path, depth, frames, size):
    from r2p_edge.export import onnx_from_checkpoint

    clips = np.random.default_rng(depth).normal(0, 1, (2, 3, frames, size, size)).astype(np.float32)
    checkpoint, expected = run_mindspore(tmp_path, depth, "narrow", clips)

    named = canonical_parameters(read_checkpoint(checkpoint).parameters)
    assert named.dialect == "mindspore"
    found = agreement(expected, reference_logits(named.parameters, named.bn_eps, clips))
    assert found.max_rel < 1e-4
    assert found.top1 == 1

    # Normalised clips go in as they are, so that both sides get the same numbers.
    spec = spec_for(
        CLASSES,
        frames=frames,
        size=size,
        input=InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False),
    )
    path = tmp_path / "model.onnx"
    spec = onnx_from_checkpoint(checkpoint, spec, path)
    assert spec.arch == f"r2plus1d_{depth}"
    assert spec.source["dialect"] == "mindspore"
    found = agreement(expected, run_session(open_session(path), clips))
    assert found.max_rel < 1e-4
    assert found.top1 == 1


@pytest.mark.parametrize("depth", [18, 34])
def test_the_published_network_on_pixels(tmp_path, depth):
    from r2p_edge.export.build import build

    # Squares of 8 pixels that differ from place to place and from frame to frame.
    noise = np.random.default_rng(depth).integers(0, 256, (1, 16, 14, 14, 3), np.uint8)
    pixels = noise.repeat(8, axis=2).repeat(8, axis=3)
    # mindspore-ai/models: research/cv/r2plus1d/src/dataset_process.py divides by 255 first.
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    clips = ((pixels / 255 - mean) / std).transpose(0, 4, 1, 2, 3).astype(np.float32)
    checkpoint, expected = run_mindspore(tmp_path, depth, "full", clips)

    built, mindir = build(
        checkpoint, targets=["onnx", "mindspore"], out=tmp_path, preset="ucf101-mindspore"
    ).built
    assert built.spec.arch == f"r2plus1d_{depth}"
    session = open_session(built.path)
    assert session.get_inputs()[0].type == "tensor(uint8)"
    found = agreement(expected, run_session(session, pixels))
    assert found.max_rel < 1e-4
    assert found.top1 == 1
    # And back in MindSpore, as MindIR.
    assert mindir.status == "built"
    assert mindir.spec.parity["max_rel"] < 1e-4
    with contextlib.closing(MindSpore.open(mindir.path, mindir.spec, Options())) as model:
        found = agreement(expected, model.run(pixels))
    assert found.max_rel < 1e-4
    assert found.top1 == 1
