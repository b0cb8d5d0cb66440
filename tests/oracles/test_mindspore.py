"""Checkpoints that MindSpore wrote, exported, against the cells that they were saved from."""

from __future__ import annotations

import contextlib
import functools
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
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.reference import reference_logits
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.mindspore import MindSpore
from r2p_edge.spec import InputSpec

pytestmark = [needs("mindspore"), needs("onnx"), needs("onnxruntime"), pytest.mark.slow]
CLASSES = 13  # of the narrow networks of mindspore_network.py


def run_mindspore(folder, depth, shape, *clips):
    """Return the checkpoint that MindSpore saved, and its own logits for each of the clips."""
    checkpoint, files = folder / "m.ckpt", [folder / f"{i}.npy" for i in range(len(clips))]
    for file, each in zip(files, clips):
        np.save(file, each)
    program = HELPERS / "mindspore_network.py"
    subprocess.run(
        [sys.executable, program, str(depth), shape, checkpoint, *files],
        # With AVX-512, oneDNN has no fast 3-D convolution for MindSpore's layout and takes minutes.
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        check=True,
        capture_output=True,
        timeout=600,
    )
    return checkpoint, [np.load(f"{file}.logits.npy") for file in files]


# Depth, frames and size; among them odd sizes, at which "same" could pad.
CASES = [(18, 8, 32), (18, 5, 37), (34, 16, 56)]


def normal_clips(depth, frames, size):
    rng = np.random.default_rng(depth)
    return rng.normal(0, 1, (2, 3, frames, size, size)).astype(np.float32)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A function that returns the checkpoint of a depth, and MindSpore's logits by case."""

    @functools.cache
    def narrow(depth):
        cases = [case for case in CASES if case[0] == depth]
        clips = (normal_clips(*case) for case in cases)
        folder = tmp_path_factory.mktemp("mindspore")
        checkpoint, logits = run_mindspore(folder, depth, "narrow", *clips)
        return checkpoint, dict(zip(cases, logits, strict=True))

    return narrow


@pytest.mark.parametrize(("depth", "frames", "size"), CASES)
def test_mindspores_cell_and_our_artifact_answer_alike(narrow, tmp_path, depth, frames, size):
    from r2p_edge.export import onnx_from_checkpoint

    clips = normal_clips(depth, frames, size)
    checkpoint, logits = narrow(depth)
    expected = logits[depth, frames, size]

    named = canonical_parameters(read_checkpoint(checkpoint).parameters)
    assert named.family.name == "mindspore"
    network = network_from_parameters(named.parameters, named.family)
    found = agreement(expected, reference_logits(named.parameters, network, clips))
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


@pytest.mark.long
@pytest.mark.parametrize("depth", [18, 34])
def test_the_published_network_on_pixels(tmp_path, depth):
    from r2p_edge.export.build import build

    # Squares of 8 pixels that differ from place to place and from frame to frame.
    noise = np.random.default_rng(depth).integers(0, 256, (1, 16, 14, 14, 3), np.uint8)
    pixels = noise.repeat(8, axis=2).repeat(8, axis=3)
    # mindspore-ai/models: research/cv/r2plus1d/src/dataset_process.py divides by 255 first.
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    clips = ((pixels / 255 - mean) / std).transpose(0, 4, 1, 2, 3).astype(np.float32)
    checkpoint, (expected,) = run_mindspore(tmp_path, depth, "full", clips)

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
