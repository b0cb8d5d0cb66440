"""Kernels in time of another length than those of the family's own code."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import renamed, to_torchvision
from networks import SMALL, random_parameters

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.layers import Layer
from r2p_edge.export.checkpoints.read import Checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions


def with_kernel(name: str, length: int) -> dict[str, np.ndarray]:
    """Return a small network of torchvision's names with one kernel of another length in time."""
    parameters = to_torchvision(random_parameters(**SMALL))
    outputs, inputs, *_ = parameters[name].shape
    parameters[name] = np.ones((outputs, inputs, length, 1, 1), np.float32)
    return parameters


@pytest.mark.parametrize("length", [1, 5, 7])
def test_a_stem_stops_unless_it_is_settled(length: int) -> None:
    parameters = with_kernel("stem.3.weight", length)
    checkpoint = Checkpoint(parameters, "0" * 64, "net.pth", "torch")
    message = rf"stem\.3\.weight is a kernel of {length} moments and that of torchvision one of 3, "
    with pytest.raises(CheckpointError, match=f"{message}.* or settle it with --golden"):
        WeightsOptions().named(checkpoint)
    named = WeightsOptions(settled=True).named(checkpoint)
    assert named.network().shapes["conv2.weight"][2] == length


def test_a_family_whose_code_makes_any_length_does_not() -> None:
    parameters = renamed(
        random_parameters(**SMALL),
        (r"\bconv(\d)\.conv1\b", r"conv\1_s"), (r"\bconv(\d)\.bn1\b", r"bn\1_s"),
        (r"\bconv(\d)\.conv2\b", r"conv\1_t"), (r"(layer.*)\bbn(\d)\b", r"\1bn\2_t"),
        (r"^conv1\b", "conv1_s"), (r"^bn1\b", "bn1_s"), (r"^conv2\b", "conv1_t"),
        (r"^bn2\b", "bn1_t"),
    )  # fmt: skip
    outputs, inputs, *_ = parameters["conv1_t.weight"].shape
    parameters["conv1_t.weight"] = np.ones((outputs, inputs, 7, 1, 1), np.float32)
    assert canonical_parameters(parameters, "kenshohara").differs == ""


def test_a_block_is_doubted() -> None:
    name = "layer2.0.conv1.0.3.weight"
    (doubt,) = canonical_parameters(with_kernel(name, 5)).doubts
    assert f"({name} of 5)" in doubt
    assert "settle it with --golden" in doubt


def test_what_the_file_says_of_the_padding_counts() -> None:
    settings = {"kernel_size": (5, 1, 1), "padding": (2, 0, 0), "stride": (1, 1, 1)}
    layers = {"stem.3": Layer("torch.nn.modules.conv.Conv3d", settings)}
    named = canonical_parameters(with_kernel("stem.3.weight", 5), layers=layers)
    assert named.differs == ""
