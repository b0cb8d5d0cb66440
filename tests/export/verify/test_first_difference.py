"""The first tensor that differs is named for differences that were made on purpose."""

from __future__ import annotations

import re

import numpy as np
import pytest
from networks import network_of, random_parameters
from parity_checks import PARAMETERS, SPEC, check, exported
from requirements import needs

from r2p_edge.errors import ParityError
from r2p_edge.export.graph.r2plus1d import onnx_from_parameters
from r2p_edge.export.verify import first_difference

pytestmark = [needs("onnx"), needs("onnxruntime")]


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ("conv1.weight", "bn1.relu"),
        ("bn2.running_mean", "bn2.relu"),
        ("layer1.0.conv1.conv1.weight", "layer1.0.conv1.bn1.relu"),
        ("layer2.0.bn1.running_var", "layer2.0.bn1.relu"),
        ("layer2.0.conv2.bn1.bias", "layer2.0.conv2.bn1.relu"),
        ("layer3.0.conv2.conv2.weight", "layer3.0.bn2"),
        ("layer4.0.downsample.1.weight", "layer4.0.downsample.1"),
        ("fc.bias", "logits"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 1 << 28])
def test_the_first_tensor_that_differs_is_named(changed, first, chunk, monkeypatch):
    monkeypatch.setattr(first_difference, "_CHUNK_BYTES", chunk)
    value = PARAMETERS[changed].copy()
    value += 0.5
    model = exported({**PARAMETERS, changed: value})
    with pytest.raises(ParityError, match=rf"differs is {re.escape(first)}, by") as raised:
        check(model)
    assert "source (numpy)" in str(raised.value)


def test_another_epsilon_shows_in_the_first_layer():
    with pytest.raises(ParityError, match=r"differs is bn1\.relu"):
        check(exported(eps=1e-3))


def test_swapped_convolutions_show_where_they_are():
    parameters = random_parameters((1, 1, 2, 1), (8, 12, 16, 24), 7)
    one, other = "layer3.1.conv1.conv1.weight", "layer3.1.conv2.conv1.weight"
    swapped = {**parameters, one: parameters[other], other: parameters[one]}
    with pytest.raises(ParityError, match=r"differs is layer3\.1\.conv1\.bn1\.relu"):
        check(exported(swapped), parameters)


def test_another_normalisation_shows_in_the_first_layer():
    model = exported(PARAMETERS, SPEC.replace(mean=(0.45, 0.45, 0.45)))
    with pytest.raises(ParityError, match=r"differs is bn1\.relu"):
        check(model)


def test_a_stride_shows_as_a_shape():
    import onnx

    model = onnx.load_model_from_string(exported())
    (node,) = [n for n in model.graph.node if n.name == "layer4.0.conv1.conv1"]
    (other,) = [n for n in model.graph.node if n.name == "layer4.0.downsample.0"]
    for entry in (node, other):
        (strides,) = [a for a in entry.attribute if a.name == "strides"]
        strides.ints[2] = 1
    with pytest.raises(ParityError, match=r"layer4\.0\.conv1\.bn1\.relu: \(1, \d+, 1, 2, 4\), not"):
        check(model.SerializeToString())


def test_nan_is_traced_to_where_it_begins():
    weight = PARAMETERS["layer3.0.conv1.conv2.weight"].copy()
    weight[0] = np.nan
    network = network_of(PARAMETERS)
    broken = {**PARAMETERS, "layer3.0.conv1.conv2.weight": weight}
    model = onnx_from_parameters(broken, network, SPEC).SerializeToString()
    with pytest.raises(ParityError, match=r"NaN or infinite.*differs is layer3\.0\.bn1\.relu"):
        check(model)
