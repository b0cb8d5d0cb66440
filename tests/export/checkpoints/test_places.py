"""Layers without parameters in whole modules of classes that are no Sequential."""

from __future__ import annotations

import numpy as np
import pytest
from networks import SMALL, random_parameters

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.layers import Layer, modules_of

PARAMETERS = random_parameters(**SMALL)  # by GluonCV's names
TORCH = "torch.nn.modules"
KINDS = {5: "conv.Conv3d", 2: "linear.Linear", 1: "batchnorm.BatchNorm3d"}
POOL = {"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)}


def kind(name: str) -> str:
    places = {"Identity": "linear", "Softmax": "activation", "ReLU": "activation"}
    place = "dropout" if "Drop" in name else "pooling" if "Pool" in name else places[name]
    return f"{TORCH}.{place}.{name}"


def layers(prefix: str = "", **others: str) -> dict[str, Layer]:
    """Return the modules of GluonCV's network, and others by their name with __ for dots."""
    found = {}
    for name in sorted(modules_of(PARAMETERS) | {"avgpool", "relu", "layer1.0.relu", ""}):
        array = PARAMETERS.get(f"{name}.weight")
        around = f"{TORCH}.container.Sequential" if name.endswith("downsample") else "gluoncv.Net"
        own = around if array is None else f"{TORCH}.{KINDS[array.ndim]}"
        own = kind("AdaptiveAvgPool3d") if name == "avgpool" else own
        own = kind("ReLU") if name.endswith("relu") else own
        found[f"{prefix}{name}".rstrip(".")] = Layer(own, {})
    for name, other in others.items():
        path = f"{prefix}{name.replace('__', '.')}"
        settings = POOL if other == "MaxPool3d" else {}
        found[path] = Layer(kind(other), settings)
    return found


def read(found: dict[str, Layer], prefix: str = "") -> None:
    named = canonical_parameters(
        {f"{prefix}{name}": array for name, array in PARAMETERS.items()}, layers=found
    )
    assert (named.family.name, named.doubts) == ("gluoncv", ())


def test_what_changes_nothing() -> None:
    read(layers())
    read(layers(dropout="Dropout", layer2__0__dropout="Identity", extra="Softmax"))
    front = {"": Layer(f"{TORCH}.container.Sequential", {}), "0": Layer(kind("Dropout3d"), {})}
    behind = {"2": Layer(kind("Softmax"), {})}
    read(front | layers("1.") | behind, "1.")


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"relu": "Identity"}, "its layer relu is an Identity and no ReLU"),
        ({"layer1__0__relu": "Identity"}, r"layer1\.0\.relu is an Identity and no ReLU"),
        ({"layer1__0__relu": "Dropout"}, r"layer1\.0\.relu is a Dropout and no ReLU"),
        ({"layer1__0__act": "Identity"}, r"layer1\.0\.act is an Identity, which its family has no"),
        ({"layer2__0__conv1__x": "AvgPool3d"}, r"layer2\.0\.conv1\.x is an AvgPool3d, which its"),
        ({"layer2__0__softmax": "Softmax"}, r"layer2\.0\.softmax is a Softmax, which its family"),
        ({"layer2__0__downsample__2": "ReLU"}, r"downsample\.2 is a ReLU behind layer2\.0\.downs"),
        ({"layer2__0__downsample__2": "AvgPool3d"}, r"downsample\.2 is an AvgPool3d behind"),
        ({"maxpool": "MaxPool3d"}, "maxpool of .* for a max pool"),
    ],
)
def test_what_the_family_has_not(others: dict[str, str], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read(layers(**others))
    assert "onnx_from_torch" in str(caught.value)


@pytest.mark.parametrize(
    ("front", "behind", "message"),
    [
        ("AvgPool3d", "Identity", "its layer 0 is an AvgPool3d in front, where its family has no"),
        ("ReLU", "Identity", "its layer 0 is a ReLU in front"),
        ("Identity", "ReLU", "its layer 2 is a ReLU behind 1, where its family has none"),
        ("Identity", "AvgPool3d", "its layer 2 is an AvgPool3d behind 1"),
    ],
)
def test_what_stands_around_the_network(front: str, behind: str, message: str) -> None:
    whole = {"": Layer(f"{TORCH}.container.Sequential", {}), "0": Layer(kind(front), {})}
    with pytest.raises(CheckpointError, match=message):
        read(whole | layers("1.") | {"2": Layer(kind(behind), {})}, "1.")


def test_parameters_alone_say_nothing_of_it() -> None:
    assert canonical_parameters(PARAMETERS).doubts == ()
    assert not np.isnan(PARAMETERS["fc.weight"]).any()
