"""Families without logits of their own code: networks written from their repositories' sources.

Each class restates what the file named in `families.py` builds, in other words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import FLOAT, spec_for
from parity_checks import answers_of_each_form
from requirements import needs

from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.verify.reference import reference_logits

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("torch"), pytest.mark.slow]

WIDTHS = (8, 12, 16, 20)
CLASSES = 7


def middle(inputs: int, outputs: int, time: int, space: int) -> int:
    return (time * space * space * inputs * outputs) // (space * space * inputs + time * outputs)


def halves(inputs: int, outputs: int, time: int, space: int, stride: int, *, bias: bool) -> Any:
    """Return the two halves of a convolution, in space and in time."""
    from torch import nn

    between = middle(inputs, outputs, time, space)
    sides = (0, space // 2, space // 2)
    spatial = nn.Conv3d(inputs, between, (1, space, space), (1, stride, stride), sides, bias=bias)
    temporal = nn.Conv3d(
        between, outputs, (time, 1, 1), (stride, 1, 1), (time // 2, 0, 0), bias=bias
    )
    return spatial, temporal


def spatio_temporal(
    inputs: int, outputs: int, time: int, space: int, stride: int, bias: bool
) -> Any:
    """Return irhum's SpatioTemporalConv: nothing follows its half in time."""
    from torch import nn

    class Conv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            spatial, temporal = halves(inputs, outputs, time, space, stride, bias=bias)
            self.spatial_conv, self.temporal_conv = spatial, temporal
            self.bn = nn.BatchNorm3d(spatial.out_channels)

        def forward(self, x: Any) -> Any:
            return self.temporal_conv(self.bn(self.spatial_conv(x)).relu())

    return Conv()


def irhum(*, norm: bool) -> Any:
    """Return irhum's R2Plus1DClassifier, or VCOP's R2Plus1DNet, whose stem ends in a norm."""
    from torch import nn

    bias = not norm

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = spatio_temporal(inputs, outputs, 3, 3, stride, bias)
            self.bn1 = nn.BatchNorm3d(outputs)
            self.conv2 = spatio_temporal(outputs, outputs, 3, 3, 1, bias)
            self.bn2 = nn.BatchNorm3d(outputs)
            self.strided = stride > 1
            if self.strided:
                self.downsampleconv = spatio_temporal(inputs, outputs, 1, 1, stride, bias)
                self.downsamplebn = nn.BatchNorm3d(outputs)

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (y + (self.downsamplebn(self.downsampleconv(x)) if self.strided else x)).relu()

    class Stage(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.block1 = Block(inputs, outputs, stride)
            self.blocks = nn.ModuleList([Block(outputs, outputs, 1)])

        def forward(self, x: Any) -> Any:
            return self.blocks[0](self.block1(x))

    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first = WIDTHS[0]
            self.conv1 = spatio_temporal(3, first, 3, 7, 1, bias)
            self.conv1.spatial_conv.stride = (1, 2, 2)
            if norm:
                self.bn1 = nn.BatchNorm3d(first)
            for number, (inputs, outputs) in enumerate(zip((first, *WIDTHS), WIDTHS), 2):
                setattr(self, f"conv{number}", Stage(inputs, outputs, 1 if number == 2 else 2))
            if norm:
                self.linear = nn.Linear(WIDTHS[-1], CLASSES)

        def forward(self, x: Any) -> Any:
            x = self.conv1(x)
            x = self.bn1(x).relu() if norm else x
            x = self.conv5(self.conv4(self.conv3(self.conv2(x)))).mean((2, 3, 4))
            return self.linear(x) if norm else x

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.res2plus1d = Features()
            self.linear = nn.Linear(WIDTHS[-1], CLASSES)

        def forward(self, x: Any) -> Any:
            return self.linear(self.res2plus1d(x))

    return Features() if norm else Classifier()


def kenshohara_50() -> Any:
    """Return kenshohara's network of bottlenecks, here with one or two of them in a stage."""
    from torch import nn

    def plain(inputs: int, outputs: int, stride: int = 1) -> Any:
        return nn.Conv3d(inputs, outputs, 1, stride, bias=False)

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, planes: int, stride: int) -> None:
            super().__init__()
            outputs = 4 * planes
            self.conv1, self.bn1 = plain(inputs, planes), nn.BatchNorm3d(planes)
            self.conv2_s, self.conv2_t = halves(planes, planes, 3, 3, stride, bias=False)
            self.bn2_s = nn.BatchNorm3d(self.conv2_s.out_channels)
            self.bn2_t = nn.BatchNorm3d(planes)
            self.conv3, self.bn3 = plain(planes, outputs), nn.BatchNorm3d(outputs)
            self.downsample = None
            if stride != 1 or inputs != outputs:
                shortcut = plain(inputs, outputs, stride)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(outputs))

        def forward(self, x: Any) -> Any:
            y = self.bn1(self.conv1(x)).relu()
            y = self.bn2_s(self.conv2_s(y)).relu()
            y = self.bn2_t(self.conv2_t(y)).relu()
            y = self.bn3(self.conv3(y))
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first = WIDTHS[0]
            self.conv1_s, self.conv1_t = halves(3, first, 7, 7, 1, bias=False)
            self.conv1_s.stride = (1, 2, 2)
            self.bn1_s = nn.BatchNorm3d(self.conv1_s.out_channels)
            self.bn1_t = nn.BatchNorm3d(first)
            self.maxpool = nn.MaxPool3d(3, 2, 1)
            inputs = first
            for stage, planes in enumerate(WIDTHS, 1):
                blocks = [Bottleneck(inputs, planes, 1 if stage == 1 else 2)]
                inputs = 4 * planes
                if stage == 2:
                    blocks.append(Bottleneck(inputs, planes, 1))
                setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            self.fc = nn.Linear(inputs, CLASSES)

        def forward(self, x: Any) -> Any:
            x = self.bn1_s(self.conv1_s(x)).relu()
            x = self.maxpool(self.bn1_t(self.conv1_t(x)).relu())
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(x.mean((2, 3, 4)))

    return Network()


NETWORKS = {
    "irhum": lambda: irhum(norm=False),
    "vcop": lambda: irhum(norm=True),
    "kenshohara-50": kenshohara_50,
}


def uneven(network: Any) -> Any:
    """Give the network weights and statistics that differ from channel to channel."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "running_mean")) or (value.ndim == 1 and "fc" not in name):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("wrap", ["", "module.backbone."])
def test_logits_are_those_of_a_network_from_the_source(name, wrap):
    import torch

    torch.manual_seed(0)
    module = uneven(NETWORKS[name]())
    clip = torch.randn(1, 3, 16, 64, 64)
    with torch.no_grad():
        expected = module(clip).numpy()
    arrays = {f"{wrap}{key}": value.numpy() for key, value in module.state_dict().items()}
    named = canonical_parameters(arrays)
    assert named.family.name == name
    network = network_from_parameters(named.parameters, named.family, named.names)
    largest = np.abs(expected).max()
    found = reference_logits(named.parameters, network, clip.numpy())
    assert np.abs(found - expected).max() < 1e-5 * largest
    spec = spec_for(CLASSES, frames=16, size=64, input=FLOAT)
    for found in answers_of_each_form(named.parameters, network, spec, clip.numpy()):
        assert np.abs(found - expected).max() < 1e-5 * largest
