"""Parameters that are missing, unknown, misshapen or broken are all named."""

from __future__ import annotations

import numpy as np
import pytest
from networks import SMALL, network_of, random_parameters

from r2p_edge.errors import CheckpointError


@pytest.fixture(scope="module")
def small():
    return random_parameters(**SMALL)


def test_missing_unknown_and_misshapen_parameters_are_all_named(small):
    parameters = dict(small)
    del parameters["layer2.0.downsample.1.running_var"]
    parameters["layer4.0.bn2.bias"] = np.zeros(5, np.float32)
    parameters["head.extra"] = np.zeros((2, 3), np.float32)
    with pytest.raises(CheckpointError) as raised:
        network_of(parameters)
    message = str(raised.value)
    assert "layer2.0.downsample.1.running_var is missing, expected (12,)" in message
    assert "layer4.0.bn2.bias is (5,), expected (24,)" in message
    assert "head.extra (2, 3) is not part of the network" in message


def test_a_convolution_of_another_kernel_is_refused(small):
    weight = small["layer1.0.conv1.conv1.weight"]
    parameters = {**small, "layer1.0.conv1.conv1.weight": np.repeat(weight, 3, axis=2)}
    with pytest.raises(
        CheckpointError, match=r"is \(\d+, 8, 3, 3, 3\), expected \(\d+, 8, 1, 3, 3\)"
    ):
        network_of(parameters)


def test_an_input_of_optical_flow_is_known(small):
    assert network_of(small).channels == 3
    parameters = {**small, "conv1.weight": small["conv1.weight"][:, :2]}
    assert network_of(parameters).channels == 2


def test_a_missing_convolution_leaves_its_channels_open(small):
    parameters = {name: v for name, v in small.items() if name != "conv2.weight"}
    with pytest.raises(
        CheckpointError, match=r"conv2.weight is missing, expected \(\?, 5, 3, 1, 1\)"
    ):
        network_of(parameters)


def test_a_long_list_is_shortened(small):
    with pytest.raises(CheckpointError, match=r"; and \d+ more; give") as raised:
        network_of({"conv1.weight": small["conv1.weight"]})
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(small, value):
    weight = small["layer2.0.conv1.conv2.weight"].copy()
    weight[0, 0, 0] = value
    parameters = {**small, "layer2.0.conv1.conv2.weight": weight}
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv1\.conv2\.weight has 1 of \d+ num"):
        network_of(parameters)


def test_a_negative_variance_is_refused_but_other_negative_numbers_are_not(small):
    variance = small["bn1.running_var"].copy()
    variance[2] = -0.25
    with pytest.raises(CheckpointError, match=r"bn1\.running_var is a variance .* -0\.25"):
        network_of({**small, "bn1.running_var": variance})
    assert small["bn1.running_mean"].min() < 0


def test_whole_numbers_are_refused(small):
    parameters = {**small, "fc.bias": np.zeros(7, np.int64)}
    with pytest.raises(CheckpointError, match=r"not all of .* \(fc\.bias is int64\), as of"):
        network_of(parameters)
