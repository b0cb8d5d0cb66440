"""R(2+1)D networks as PyTorch modules; tests/oracles compares them with the families' own code."""

from __future__ import annotations

import numpy as np
import pytest
from networks import SMALL, network_of, random_parameters
from requirements import needs

pytestmark = needs("torch")


@pytest.fixture
def network():
    from r2p_edge.training.network import TrainableNetwork

    parameters = random_parameters(**SMALL)
    return TrainableNetwork(parameters, network_of(parameters))


def test_sections_one_after_the_other_are_the_whole(network):
    import torch

    from r2p_edge.training.network import SECTIONS, UpperSections

    x = torch.randn(2, 3, 4, 32, 32)
    with torch.inference_mode():
        whole, part = network(x), x
        for section in SECTIONS:
            part = network(part, [section])
        below = network(x, SECTIONS[:4])
        assert torch.equal(part, whole)
        assert torch.equal(UpperSections(network, SECTIONS[4:])(below), whole)


def test_each_parameter_is_of_one_section(network):
    from r2p_edge.training.network import SECTIONS

    found = [
        id(parameter)
        for section in SECTIONS
        for module in network.of_section(section)
        for parameter in module.parameters()
    ]
    assert sorted(found) == sorted(map(id, network.parameters()))


def test_a_new_classifier_and_modules_that_stay():
    import torch

    from r2p_edge.training.network import TrainableNetwork

    parameters = random_parameters(**SMALL)
    network = TrainableNetwork(
        parameters, network_of(parameters), frozen=["layer2.0.downsample.0"], dropout=0.5
    )
    fixed = [name for name, each in network.named_parameters() if not each.requires_grad]
    assert fixed == ["layer2.0.downsample.0.weight"]
    network.replace_classifier(2)
    assert network(torch.zeros(1, 3, 4, 32, 32)).shape == (1, 2)


def test_names_and_values_are_those_of_the_parameters(network):
    parameters = random_parameters(**SMALL)
    state = {
        name: value.numpy()
        for name, value in network.state_dict().items()
        if not name.endswith(".num_batches_tracked")
    }
    assert state.keys() == parameters.keys()
    assert all(np.array_equal(state[name], value) for name, value in parameters.items())
