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

from r2p_edge import Predictor
from r2p_edge.errors import CheckpointError
from r2p_edge.export.build import build
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.families import FAMILIES
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.taught import network_in
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


def plain(inputs: int, outputs: int, stride: int = 1) -> Any:
    """Return a convolution of one number in time and space."""
    from torch import nn

    return nn.Conv3d(inputs, outputs, 1, stride, bias=False)


def bottlenecks(build: Any, *, stem: Any, head: str, expansion: int = 4) -> Any:
    """Return a network of stages layer1 to layer4, of one block or, in the second, of two.

    Args:
        build: returns a block of inputs, planes and stride.
        stem: module before the first stage.
        head: name of the classifier.
        expansion: output channels of a block by its planes.
    """
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in stem.named_children():
                setattr(self, name, part)
            inputs = WIDTHS[0]
            for stage, planes in enumerate(WIDTHS, 1):
                blocks = [build(inputs, planes, 1 if stage == 1 else 2)]
                inputs = expansion * planes
                if stage == 2:
                    blocks.append(build(inputs, planes, 1))
                setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            setattr(self, head, nn.Linear(inputs, CLASSES))

        def forward(self, x: Any) -> Any:
            x = type(stem).forward(self, x)
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return getattr(self, head)(x.mean((2, 3, 4)))

    return Network()


def kenshohara(*, basic: bool = False, pool: bool = True, shortcut: str = "B") -> Any:
    """Return kenshohara's network, of the given block, pool and type of shortcut."""
    from torch import nn
    from torch.nn import functional

    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1_s, self.conv1_t = halves(3, WIDTHS[0], 7, 7, 1, bias=False)
            self.conv1_s.stride = (1, 2, 2)
            self.bn1_s = nn.BatchNorm3d(self.conv1_s.out_channels)
            self.bn1_t = nn.BatchNorm3d(WIDTHS[0])
            self.maxpool = nn.MaxPool3d(3, 2, 1)

        def forward(self, x: Any) -> Any:
            x = self.bn1_t(self.conv1_t(self.bn1_s(self.conv1_s(x)).relu())).relu()
            return self.maxpool(x) if pool else x

    class Block(nn.Module):
        def __init__(self, inputs: int, planes: int, stride: int) -> None:
            super().__init__()
            self.outputs, self.stride = planes if basic else 4 * planes, stride
            if basic:
                self.conv1_s, self.conv1_t = halves(inputs, planes, 3, 3, stride, bias=False)
                self.bn1_s = nn.BatchNorm3d(self.conv1_s.out_channels)
                self.bn1_t = nn.BatchNorm3d(planes)
            else:
                self.conv1, self.bn1 = plain(inputs, planes), nn.BatchNorm3d(planes)
            own = 1 if basic else stride
            self.conv2_s, self.conv2_t = halves(planes, planes, 3, 3, own, bias=False)
            self.bn2_s = nn.BatchNorm3d(self.conv2_s.out_channels)
            self.bn2_t = nn.BatchNorm3d(planes)
            if not basic:
                self.conv3, self.bn3 = plain(planes, 4 * planes), nn.BatchNorm3d(4 * planes)
            self.changes = stride != 1 or inputs != self.outputs
            if self.changes and shortcut == "B":
                norm = nn.BatchNorm3d(self.outputs)
                self.downsample = nn.Sequential(plain(inputs, self.outputs, stride), norm)

        def forward(self, x: Any) -> Any:
            if basic:
                y = self.bn1_t(self.conv1_t(self.bn1_s(self.conv1_s(x)).relu())).relu()
            else:
                y = self.bn1(self.conv1(x)).relu()
            y = self.bn2_t(self.conv2_t(self.bn2_s(self.conv2_s(y)).relu()))
            y = y if basic else self.bn3(self.conv3(y.relu()))
            if self.changes and shortcut == "B":
                x = self.downsample(x)
            elif self.changes:
                x = functional.avg_pool3d(x, 1, self.stride)
                x = functional.pad(x, (0, 0) * 3 + (0, self.outputs - x.shape[1]))
            return (y + x).relu()

    return bottlenecks(Block, stem=Stem(), head="fc", expansion=1 if basic else 4)


def kenshohara_3d(*, basic: bool = False, pool: bool = True, shortcut: str = "B") -> Any:
    """Return kenshohara's network of convolutions over time and space."""
    from torch import nn
    from torch.nn import functional

    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv3d(3, WIDTHS[0], 7, (1, 2, 2), 3, bias=False)
            self.bn1 = nn.BatchNorm3d(WIDTHS[0])
            self.maxpool = nn.MaxPool3d(3, 2, 1)

        def forward(self, x: Any) -> Any:
            x = self.bn1(self.conv1(x)).relu()
            return self.maxpool(x) if pool else x

    class Block(nn.Module):
        def __init__(self, inputs: int, planes: int, stride: int) -> None:
            super().__init__()
            self.outputs, self.stride = planes if basic else 4 * planes, stride
            sizes = [(inputs, planes, 3, stride), (planes, planes, 3, 1)]
            if not basic:
                sizes = [(inputs, planes, 1, 1), (planes, planes, 3, stride)]
                sizes.append((planes, self.outputs, 1, 1))
            self.count = len(sizes)
            for number, (before, after, kernel, step) in enumerate(sizes, 1):
                conv = nn.Conv3d(before, after, kernel, step, kernel // 2, bias=False)
                setattr(self, f"conv{number}", conv)
                setattr(self, f"bn{number}", nn.BatchNorm3d(after))
            self.changes = stride != 1 or inputs != self.outputs
            if self.changes and shortcut == "B":
                norm = nn.BatchNorm3d(self.outputs)
                self.downsample = nn.Sequential(plain(inputs, self.outputs, stride), norm)

        def forward(self, x: Any) -> Any:
            y = x
            for number in range(1, self.count + 1):
                y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
                y = y if number == self.count else y.relu()
            if self.changes and shortcut == "B":
                x = self.downsample(x)
            elif self.changes:
                x = functional.avg_pool3d(x, 1, self.stride)
                x = functional.pad(x, (0, 0) * 3 + (0, self.outputs - x.shape[1]))
            return (y + x).relu()

    return bottlenecks(Block, stem=Stem(), head="fc", expansion=1 if basic else 4)


def utkarsh_50() -> Any:
    """Return resnet50_2d3d_full, with its Bottleneck2d as its forward means it.

    The mean over its last features stands in the place of a classifier.
    """
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, planes: int, stride: int, time: int, relu: bool) -> None:
            super().__init__()
            sides = (time // 2, 1, 1)
            step = (stride if time > 1 else 1, stride, stride)
            self.conv1, self.bn1 = plain(inputs, planes), nn.BatchNorm3d(planes)
            self.conv2 = nn.Conv3d(planes, planes, (time, 3, 3), step, sides, bias=False)
            self.bn2 = nn.BatchNorm3d(planes)
            self.conv3, self.bn3 = plain(planes, 4 * planes), nn.BatchNorm3d(4 * planes)
            self.changes, self.relu = stride != 1 or inputs != 4 * planes, relu
            if self.changes:
                shortcut = nn.Conv3d(inputs, 4 * planes, 1, step, bias=False)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(4 * planes))

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
            y = self.bn3(self.conv3(y)) + (self.downsample(x) if self.changes else x)
            return y.relu() if self.relu else y

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv3d(3, WIDTHS[0], (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
            self.bn1 = nn.BatchNorm3d(WIDTHS[0])
            self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
            inputs = WIDTHS[0]
            for stage, (planes, time) in enumerate(zip(WIDTHS, (1, 1, 3, 3)), 1):
                first = Block(inputs, planes, 1 if stage == 1 else 2, time, True)
                inputs = 4 * planes
                second = Block(inputs, planes, 1, time, stage < 4)
                setattr(self, f"layer{stage}", nn.Sequential(first, second))

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.bn1(self.conv1(x)).relu())
            return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3, 4))

    return Network()


def vmz_152() -> Any:
    """Return VMZ's network of bottlenecks with use_pool1=False."""
    from torch import nn

    def norm(channels: int) -> Any:
        return nn.BatchNorm3d(channels, eps=1e-3)

    class Block(nn.Module):
        def __init__(self, inputs: int, planes: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Sequential(plain(inputs, planes), norm(planes), nn.ReLU())
            spatial, temporal = halves(planes, planes, 3, 3, stride, bias=False)
            between = norm(spatial.out_channels)
            both = nn.Sequential(spatial, between, nn.ReLU(), temporal)
            self.conv2 = nn.Sequential(both, norm(planes), nn.ReLU())
            self.conv3 = nn.Sequential(plain(planes, 4 * planes), norm(4 * planes))
            self.downsample = None
            if stride != 1 or inputs != 4 * planes:
                shortcut = plain(inputs, 4 * planes, stride)
                self.downsample = nn.Sequential(shortcut, norm(4 * planes))

        def forward(self, x: Any) -> Any:
            y = self.conv3(self.conv2(self.conv1(x)))
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            spatial, temporal = halves(3, WIDTHS[0], 3, 7, 1, bias=False)
            spatial.stride = (1, 2, 2)
            first, second = norm(spatial.out_channels), norm(WIDTHS[0])
            self.stem = nn.Sequential(spatial, first, nn.ReLU(), temporal, second, nn.ReLU())

        def forward(self, x: Any) -> Any:
            return self.stem(x)

    return bottlenecks(Block, stem=Stem(), head="fc")


def gluoncv_v2() -> Any:
    """Return GluonCV's ResNet_R2plus1Dv2 with batch norms, as its only function makes it."""
    from torch import nn

    def norm(channels: int) -> Any:
        return nn.BatchNorm3d(channels, eps=1e-3)

    class Block(nn.Module):
        def __init__(self, inputs: int, planes: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = plain(inputs, planes), norm(planes)
            self.conv2_middle, self.conv2 = halves(planes, planes, 3, 3, stride, bias=False)
            self.bn2_middle = norm(self.conv2_middle.out_channels)
            self.bn2 = norm(planes)
            self.conv3, self.bn3 = plain(planes, 4 * planes), norm(4 * planes)
            self.down_sample = None
            if inputs != 4 * planes:  # each stage's first block, the first stage's too
                shortcut = plain(inputs, 4 * planes, stride)
                self.down_sample = nn.Sequential(shortcut, norm(4 * planes))

        def forward(self, x: Any) -> Any:
            y = self.bn1(self.conv1(x)).relu()
            y = self.bn2_middle(self.conv2_middle(y)).relu()
            y = self.bn2(self.conv2(y)).relu()
            y = self.bn3(self.conv3(y))
            return (y + (x if self.down_sample is None else self.down_sample(x))).relu()

    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1_middle, self.conv1 = halves(3, WIDTHS[0], 3, 7, 1, bias=False)
            self.conv1_middle.stride = (1, 2, 2)
            self.bn1_middle = norm(self.conv1_middle.out_channels)
            self.bn1 = norm(WIDTHS[0])

        def forward(self, x: Any) -> Any:
            return self.bn1(self.conv1(self.bn1_middle(self.conv1_middle(x)).relu())).relu()

    return bottlenecks(Block, stem=Stem(), head="out_fc")


NETWORKS = {
    "irhum": lambda: irhum(norm=False),
    "vcop": lambda: irhum(norm=True),
    "gluoncv-v2": gluoncv_v2,
    "vmz-152-no-pool": vmz_152,
    "kenshohara-no-pool": lambda: kenshohara(basic=True, pool=False),
    "kenshohara-a": lambda: kenshohara(basic=True, shortcut="A"),
    "kenshohara-a-no-pool": lambda: kenshohara(basic=True, pool=False, shortcut="A"),
    "kenshohara-50": kenshohara,
    "kenshohara-50-no-pool": lambda: kenshohara(pool=False),
    "kenshohara-50-a": lambda: kenshohara(shortcut="A"),
    "kenshohara-50-a-no-pool": lambda: kenshohara(pool=False, shortcut="A"),
    "utkarsh-2d3d-50": utkarsh_50,
    "kenshohara-r3d-no-pool": lambda: kenshohara_3d(basic=True, pool=False),
    "kenshohara-r3d-a": lambda: kenshohara_3d(basic=True, shortcut="A"),
    "kenshohara-r3d-a-no-pool": lambda: kenshohara_3d(basic=True, pool=False, shortcut="A"),
    "kenshohara-r3d-50": kenshohara_3d,
    "kenshohara-r3d-50-no-pool": lambda: kenshohara_3d(pool=False),
    "kenshohara-r3d-50-a": lambda: kenshohara_3d(shortcut="A"),
    "kenshohara-r3d-50-a-no-pool": lambda: kenshohara_3d(pool=False, shortcut="A"),
}
ALONE = ("irhum", "vcop", "gluoncv-v2", "utkarsh-2d3d-50")
"""Families whose names and shapes are no other's."""
OF_TENSORFLOW = {"deepmind-i3d"}
"""Families that tests/export/checkpoints/test_tensorflow.py compares with TensorFlow itself."""


def test_every_family_without_an_oracle_is_here():
    without = {family.name for family in FAMILIES.values() if not family.oracle}
    assert NETWORKS.keys() == without - OF_TENSORFLOW


def uneven(network: Any) -> Any:
    """Give the network weights and statistics that differ from channel to channel."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "running_mean")) or (value.ndim == 1 and "fc" not in name):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


def test_a_network_without_a_classifier_answers_with_its_features(tmp_path):
    import torch

    torch.manual_seed(0)
    module = uneven(utkarsh_50())
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, tmp_path / "net.pth")
    (built,) = build(
        tmp_path / "net.pth",
        targets=["onnx"],
        out=tmp_path,
        preset="ucf101-utkarsh",
        frames=8,
        size=32,
        feature_outputs=True,
    ).built
    spec, count = built.spec, 4 * WIDTHS[-1]
    assert (spec.arch, spec.output.kind) == ("r2plus3d_2-2-2-2", "features")
    assert (spec.labels, spec.output.features) == ((), count)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 32, 32, 3), np.uint8)
    with Predictor(built.path) as predictor:
        found = predictor.features_of(pixels)
    with torch.no_grad():
        clip = torch.from_numpy(pixels.transpose(0, 4, 1, 2, 3).astype(np.float32))
        expected = module(clip * 2 - 1).numpy()
    for answer in (found.features, found.outputs):
        assert np.abs(answer - expected).max() <= 1e-4 * np.abs(expected).max()
    # A head of classes takes the place of the one that gives the features, as `teach` does it.
    taught = network_in(built.path, spec).write_features(tmp_path / "features.onnx")
    assert taught.outputs == count
    classifier = {"fc.weight": torch.zeros(5, count), "fc.bias": torch.zeros(5)}
    arrays = {key: value.numpy() for key, value in (module.state_dict() | classifier).items()}
    with pytest.raises(CheckpointError, match=r"own code ends at 80 features, and fc\.weight"):
        canonical_parameters(arrays)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_a_network_from_the_source(name):
    import torch

    wrap = "" if name in ALONE else "module.backbone."

    torch.manual_seed(0)
    module = uneven(NETWORKS[name]())
    clip = torch.randn(1, 3, 16, 64, 64)
    with torch.no_grad():
        expected = module(clip).numpy()
    arrays = {f"{wrap}{key}": value.numpy() for key, value in module.state_dict().items()}
    if name not in ALONE:
        with pytest.raises(CheckpointError, match=rf"of several families.*\b{name}: "):
            canonical_parameters(arrays)
    named = canonical_parameters(arrays, None if name in ALONE else name)
    assert named.family.name == name
    network = network_from_parameters(named.parameters, named.family, named.names)
    largest = np.abs(expected).max()
    found = reference_logits(named.parameters, network, clip.numpy())
    assert np.abs(found - expected).max() < 1e-5 * largest
    spec = spec_for(expected.shape[1], frames=16, size=64, input=FLOAT)
    for found in answers_of_each_form(named.parameters, network, spec, clip.numpy()):
        assert np.abs(found - expected).max() < 1e-5 * largest
