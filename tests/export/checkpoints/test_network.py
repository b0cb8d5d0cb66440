"""The network that named parameters belong to."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from networks import SMALL, network_of, random_parameters

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.structure import Conv, Norm, Relu


@pytest.fixture(scope="module")
def small():
    return random_parameters(**SMALL)


@pytest.mark.parametrize(
    ("counts", "arch", "per_conv"),
    [
        ((2, 2, 2, 2), "r2plus1d_18", False),
        ((3, 4, 6, 3), "r2plus1d_34", False),
        ((3, 4, 6, 3), "r2plus1d_34", True),
        ((1, 2, 2, 1), "r2plus1d_1-2-2-1", False),
        ((2, 3, 2, 1), "r2plus1d_2-3-2-1", True),
    ],
)
def test_the_network_is_found_in_the_shapes(counts, arch, per_conv):
    widths = (16, 32, 64, 128)
    parameters = random_parameters(counts, widths, 12, per_conv=per_conv)
    network = network_of(parameters, 1e-3)
    assert (network.counts, network.arch, network.classes) == (counts, arch, 12)
    assert network.stem == (
        *(Conv("conv1", (1, 2, 2)), Norm("bn1", 1e-3), Relu("bn1")),
        *(Conv("conv2", (1, 1, 1)), Norm("bn2", 1e-3), Relu("bn2")),
    )
    assert network.reduction == (8, 16)
    assert len(network.blocks) == sum(counts)
    assert network.shapes.keys() == parameters.keys()
    outputs = [network.shapes[f"layer{stage}.0.conv2.conv2.weight"][0] for stage in (1, 2, 3, 4)]
    assert tuple(outputs) == widths
    # 27 * i * o // (9 * i + 3 * o) with i = 16 or, per convolution, 32 input channels, o = 32.
    middles = [network.shapes[f"layer2.0.conv{number}.conv1.weight"][0] for number in (1, 2)]
    assert middles == [57, 72 if per_conv else 57]
    assert [block.name for block in network.blocks if block.shortcut] == [
        "layer2.0",
        "layer3.0",
        "layer4.0",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "classes", "per_conv", "published"),
    [
        ((2, 2, 2, 2), 400, False, 31_505_325),  # torchvision, r2plus1d_18
        ((2, 2, 2, 2), 400, True, 33_370_839),  # VMZ model zoo: 33.3 M
        ((3, 4, 6, 3), 400, True, 63_697_175),  # VMZ model zoo: 63.6 M
    ],
)
def test_full_size_networks_have_the_published_number_of_parameters(
    counts, classes, per_conv, published
):
    parameters = random_parameters(counts, classes=classes, per_conv=per_conv)
    network_of(parameters)
    statistics = re.compile(r"running_(mean|var)$")
    trained = sum(v.size for name, v in parameters.items() if not statistics.search(name))
    assert trained == published


def test_consistent_mid_channels_of_any_size_are_accepted(small):
    parameters = dict(small)
    name = "layer3.0.conv2"
    parameters[f"{name}.conv1.weight"] = small[f"{name}.conv1.weight"][:5]
    for field in ("weight", "bias", "running_mean", "running_var"):
        parameters[f"{name}.bn1.{field}"] = small[f"{name}.bn1.{field}"][:5]
    parameters[f"{name}.conv2.weight"] = small[f"{name}.conv2.weight"][:, :5]
    assert network_of(parameters).shapes["layer3.0.conv2.conv1.weight"][0] == 5


def test_a_missing_block_in_the_middle_and_a_missing_stage_are_named():
    parameters = random_parameters((1, 3, 1, 1), (8, 12, 16, 24), 7)
    gap = {name: v for name, v in parameters.items() if not name.startswith("layer2.1.")}
    with pytest.raises(
        CheckpointError, match=r"layer2\.1\.conv1\.conv1\.weight is missing"
    ) as raised:
        network_of(gap)
    # The 20 parameters of that block; the third one is where it should be.
    assert "; and 14 more;" in str(raised.value)
    stage = {name: v for name, v in parameters.items() if not name.startswith("layer4.")}
    with pytest.raises(CheckpointError, match=r"layer4\.0\.conv1\.conv1\.weight is missing"):
        network_of(stage)


def test_finding_a_network_needs_no_onnx():
    code = (
        "import sys, r2p_edge.export, r2p_edge.export.checkpoints.network as n;"
        "n.network_from_parameters;"
        "print([m for m in ('onnx', 'onnxruntime', 'torch', 'mindspore') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
