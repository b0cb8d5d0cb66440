"""A checkpoint that MindSpore wrote, exported by us, against the cell that it was saved from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import spec_for
from requirements import needs

from r2p_edge.compare import agreement
from r2p_edge.export.checkpoint import read_checkpoint
from r2p_edge.export.dialects import canonical_parameters
from r2p_edge.export.reference import reference_logits
from r2p_edge.export.verify import open_session, run_session
from r2p_edge.spec import InputSpec

pytestmark = [needs("mindspore"), needs("onnx"), needs("onnxruntime")]
CLASSES = 13  # of mindspore_network.py


@pytest.mark.parametrize(
    ("depth", "frames", "size"),
    [(18, 8, 32), (34, 16, 56), (18, 5, 37)],  # and odd sizes, where "same" could pad
)
def test_mindspores_cell_and_our_artifact_answer_alike(tmp_path, depth, frames, size):
    from r2p_edge.export import onnx_from_checkpoint

    checkpoint, answers = tmp_path / "r2plus1d.ckpt", tmp_path / "answers.npz"
    arguments = [str(depth), str(frames), str(size), str(checkpoint), str(answers)]
    subprocess.run(
        [sys.executable, Path(__file__).with_name("mindspore_network.py"), *arguments],
        # With AVX-512, oneDNN has no fast 3-D convolution for MindSpore's layout and takes minutes.
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        check=True,
        capture_output=True,
        timeout=600,
    )
    with np.load(answers) as file:
        clips, expected = file["clips"], file["logits"]

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
