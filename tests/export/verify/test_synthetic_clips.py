"""Synthetic clips, and clips as a model's input."""

from __future__ import annotations

import numpy as np
import pytest
from networks import spec_for

from r2p_edge.export.verify.synthetic_clips import input_from_clips, normalized, verification_clips
from r2p_edge.spec import InputSpec


@pytest.mark.slow
def test_verification_clips_are_reproducible_smooth_and_moving():
    spec = spec_for(7, frames=16, size=112)
    clips = verification_clips(spec, 3, seed=5)
    assert clips.shape == (3, 16, 112, 112, 3)
    assert clips.dtype == np.uint8
    assert np.array_equal(clips, verification_clips(spec, 3, seed=5))
    assert not np.array_equal(clips, verification_clips(spec, 3, seed=6))
    values = clips.astype(float)
    assert values.std() > 30
    neighbours = np.abs(np.diff(values, axis=3)).mean()
    shuffled = np.abs(values - np.random.default_rng(0).permutation(values, axis=3)).mean()
    assert neighbours < shuffled / 2  # structure, unlike white noise
    frames = np.abs(values[:, 8] - values[:, 0]).mean()
    assert frames > 2 * np.abs(values[:, 1] - values[:, 0]).mean()  # that moves


def test_normalisation_is_what_the_spec_writes():
    spec = spec_for(7, frames=2, size=16)
    clips = verification_clips(spec, 1)
    value = (int(clips[0, 1, 3, 5, 2]) * spec.scale - spec.mean[2]) / spec.std[2]
    assert normalized(clips, spec)[0, 2, 1, 3, 5] == np.float32(value)


@pytest.mark.parametrize(
    ("input", "dtype", "shape"),
    [
        (InputSpec(), np.uint8, (2, 4, 32, 32, 3)),
        (InputSpec(layout="NCTHW"), np.uint8, (2, 3, 4, 32, 32)),
        (InputSpec(dtype="float32"), np.float32, (2, 4, 32, 32, 3)),
        (
            InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False),
            np.float32,
            (2, 3, 4, 32, 32),
        ),
    ],
)
def test_a_clip_becomes_the_models_input(input, dtype, shape):
    spec = spec_for(7, input=input)
    clips = verification_clips(spec, 2)
    tensor = input_from_clips(clips, spec)
    assert (tensor.dtype, tensor.shape) == (dtype, shape)
    assert tensor.flags.c_contiguous
    if input.normalized_in_graph:
        assert tensor.max() == clips.max()
