"""The NumPy reference against other people's networks."""

from __future__ import annotations

import numpy as np
import pytest
from networks import SMALL, random_parameters, spec_for, torch_network, torchvision_network
from requirements import needs

from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.verify.reference import convolve, reference_activations, reference_logits
from r2p_edge.export.verify.synthetic_clips import input_from_clips, normalized, verification_clips
from r2p_edge.spec.model_spec import InputSpec


def largest_difference(reference, other):
    """Relative to the largest reference value."""
    return np.abs(reference - other).max() / np.abs(reference).max()


def torch_logits(network, clips):
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(clips)).numpy()


@needs("torch")
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((1, 7, 7), (1, 2, 2), (0, 3, 3)),
        ((3, 1, 1), (2, 1, 1), (1, 0, 0)),
        ((1, 3, 3), (1, 1, 1), (0, 1, 1)),
        ((1, 1, 1), (2, 2, 2), (0, 0, 0)),
        ((3, 2, 3), (2, 1, 3), (1, 0, 2)),
    ],
)
def test_convolution_is_torchs(kernel, stride, padding):
    import torch

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 7, 9, 8))
    weight = rng.normal(size=(4, 5, *kernel))
    expected = torch.nn.functional.conv3d(
        torch.from_numpy(x), torch.from_numpy(weight), stride=stride, padding=padding
    ).numpy()
    found = np.moveaxis(convolve(np.moveaxis(x, 1, -1), weight, stride, padding), -1, 1)
    assert found.shape == expected.shape
    assert largest_difference(expected, found) < 1e-14


@needs("torch")
@pytest.mark.parametrize(
    ("counts", "per_conv", "eps"),
    [
        ((2, 2, 2, 2), False, 1e-5),
        ((3, 4, 6, 3), False, 1e-5),
        ((3, 4, 6, 3), True, 1e-3),
        ((1, 2, 1, 3), True, 1e-3),
    ],
)
def test_networks_of_every_depth_and_mid_channel_rule(counts, per_conv, eps):
    parameters = random_parameters(counts, (12, 16, 20, 24), 9, per_conv=per_conv)
    network = torch_network(parameters, counts, eps)
    spec = spec_for(9, frames=5, size=29)  # odd sizes, where padding could go wrong
    clips = normalized(verification_clips(spec, 2), spec)
    expected = torch_logits(network.double(), clips.astype(np.float64))
    exact = reference_logits(parameters, eps, clips.astype(np.float64))
    assert largest_difference(expected, exact) < 1e-13
    assert largest_difference(expected, reference_logits(parameters, eps, clips)) < 5e-6
    # The comparison would notice another epsilon.
    wrong = reference_logits(parameters, 1e-3 + 1e-5 - eps, clips)
    assert largest_difference(expected, wrong) > 1e-4


@needs("torchvision")
def test_torchvision_at_full_size():
    network, parameters = torchvision_network(num_classes=101)
    spec = spec_for(101, frames=16, size=112)
    clips = normalized(verification_clips(spec, 1), spec)
    expected = torch_logits(network, clips)
    found = reference_logits(canonical_parameters(parameters).parameters, 1e-5, clips)
    assert largest_difference(expected, found) < 1e-5


def test_activations_are_named_shaped_and_end_in_the_logits():
    parameters = random_parameters(**SMALL)
    spec = spec_for(7)
    clips = normalized(verification_clips(spec, 2), spec)
    shapes = {name: value.shape for name, value in reference_activations(parameters, 1e-5, clips)}
    assert shapes["bn1.relu"] == (2, 5, 4, 16, 16)
    assert shapes["layer1.0"] == (2, 8, 4, 16, 16)
    assert shapes["layer2.0.conv1.bn1.relu"][2:] == (4, 8, 8)
    assert shapes["layer2.0.downsample.1"] == (2, 12, 2, 8, 8)
    assert shapes["layer4.0"] == (2, 24, 1, 2, 2)
    assert list(shapes)[-2:] == ["pool", "logits"]
    assert shapes["logits"] == (2, 7)


def test_the_input_is_left_as_it_was():
    parameters = random_parameters(**SMALL)
    spec = spec_for(7)
    clips = normalized(verification_clips(spec, 1), spec)
    before = clips.copy()
    weights = {name: value.copy() for name, value in parameters.items()}
    reference_logits(parameters, 1e-5, clips)
    assert np.array_equal(clips, before)
    assert all(np.array_equal(parameters[name], weights[name]) for name in weights)


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
