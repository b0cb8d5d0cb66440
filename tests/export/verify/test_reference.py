"""The NumPy reference against other people's networks."""

from __future__ import annotations

import numpy as np
import pytest
from networks import (
    SMALL,
    network_of,
    random_parameters,
    spec_for,
    torch_network,
    torchvision_network,
)
from requirements import needs

from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.verify.reference import convolve, reference_activations, reference_logits
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips


def largest_difference(reference, other):
    """Return the largest difference, relative to the largest reference value."""
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
    padded = np.pad(np.moveaxis(x, 1, -1), [(0, 0), *((side, side) for side in padding), (0, 0)])
    found = np.moveaxis(convolve(padded, weight, stride), -1, 1)
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
    exact = reference_logits(parameters, network_of(parameters, eps), clips.astype(np.float64))
    assert largest_difference(expected, exact) < 1e-13
    assert (
        largest_difference(
            expected, reference_logits(parameters, network_of(parameters, eps), clips)
        )
        < 5e-6
    )
    # The comparison would notice another epsilon.
    wrong = reference_logits(parameters, network_of(parameters, 1e-3 + 1e-5 - eps), clips)
    assert largest_difference(expected, wrong) > 1e-4


@pytest.mark.slow
@needs("torchvision")
def test_torchvision_at_full_size():
    network, parameters = torchvision_network(num_classes=101)
    spec = spec_for(101, frames=16, size=112)
    clips = normalized(verification_clips(spec, 1), spec)
    expected = torch_logits(network, clips)
    named = canonical_parameters(parameters).parameters
    found = reference_logits(named, network_of(named), clips)
    assert largest_difference(expected, found) < 1e-5


def test_activations_are_named_shaped_and_end_in_the_logits():
    parameters = random_parameters(**SMALL)
    spec = spec_for(7)
    clips = normalized(verification_clips(spec, 2), spec)
    shapes = {
        name: value.shape
        for name, value in reference_activations(parameters, network_of(parameters), clips)
    }
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
    reference_logits(parameters, network_of(parameters), clips)
    assert np.array_equal(clips, before)
    assert all(np.array_equal(parameters[name], weights[name]) for name in weights)
