"""The R(2+1)D network (Tran et al. 2018, arXiv 1711.11248) that named parameters belong to.

The stem and the four stages of residual blocks are those of torchvision, GluonCV and MindSpore;
depth, widths and mid channels are read from the shapes, so narrow and deep variants work too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from r2p_edge.export.checkpoints.parameter_check import UNKNOWN, ParameterShape, check_parameters

_DEPTHS = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34}


@dataclass(frozen=True)
class Block:
    """A residual block of two (2+1)D convolutions.

    Attributes:
        name: such as "layer2.0".
        inputs, outputs: channels.
        mids: channels between the spatial and the temporal half of each convolution.
        stride: of the first convolution and the shortcut, in time and space.
        downsample: True if the shortcut is a 1x1x1 convolution, False if it is the identity.
    """

    name: str
    inputs: int
    outputs: int
    mids: tuple[int, int]
    stride: int
    downsample: bool

    def parameter_shapes(self) -> Iterator[tuple[str, ParameterShape]]:
        """Yield the name and shape of every parameter of the block, in the order of execution."""
        for i, inputs, mid in ((1, self.inputs, self.mids[0]), (2, self.outputs, self.mids[1])):
            conv = f"{self.name}.conv{i}"
            yield f"{conv}.conv1.weight", (mid, inputs, 1, 3, 3)
            yield from _norm_shapes(f"{conv}.bn1", mid)
            yield f"{conv}.conv2.weight", (self.outputs, mid, 3, 1, 1)
            yield from _norm_shapes(f"{self.name}.bn{i}", self.outputs)
        if self.downsample:
            yield f"{self.name}.downsample.0.weight", (self.outputs, self.inputs, 1, 1, 1)
            yield from _norm_shapes(f"{self.name}.downsample.1", self.outputs)


@dataclass(frozen=True)
class VideoResNet:
    """The shape of an R(2+1)D network.

    Attributes:
        counts: blocks in each of the four stages.
        stem: channels between the spatial and the temporal half of the stem.
        width: channels after the stem.
        blocks: in the order of execution.
        classes: number of outputs.
        bn_eps: the epsilon that every batch norm adds to the variance.
    """

    counts: tuple[int, int, int, int]
    stem: int
    width: int
    blocks: tuple[Block, ...]
    classes: int
    bn_eps: float

    @property
    def arch(self) -> str:
        """Name such as "r2plus1d_34"; unpublished block counts are spelled "r2plus1d_1-2-2-1".

        Several block counts have the same depth, so only the two published ones are named by it.
        """
        depth = _DEPTHS.get(self.counts)
        return f"r2plus1d_{depth or '-'.join(map(str, self.counts))}"

    def parameter_shapes(self) -> Iterator[tuple[str, ParameterShape]]:
        """Yield the name and shape of every parameter of the network, in the order of execution."""
        yield "conv1.weight", (self.stem, 3, 1, 7, 7)
        yield from _norm_shapes("bn1", self.stem)
        yield "conv2.weight", (self.width, self.stem, 3, 1, 1)
        yield from _norm_shapes("bn2", self.width)
        for block in self.blocks:
            yield from block.parameter_shapes()
        yield "fc.weight", (self.classes, self.blocks[-1].outputs)
        yield "fc.bias", (self.classes,)


def network_from_parameters(parameters: Mapping[str, np.ndarray], bn_eps: float) -> VideoResNet:
    """Find the R(2+1)D network that canonically named parameters belong to.

    Args:
        parameters: floating-point arrays, named as in `dialects`.
        bn_eps: epsilon of the batch norms, which checkpoint files do not store.

    Raises:
        CheckpointError: a parameter is missing, unknown, has a shape or dtype other than the
            network implies, contains NaN or infinity, or is a negative variance.
    """
    network = _guess(parameters, bn_eps)
    check_parameters(parameters, dict(network.parameter_shapes()))
    return network


def _guess(parameters: Mapping[str, np.ndarray], bn_eps: float) -> VideoResNet:
    """Return the network that the names and the convolutions' output channels suggest."""

    def channels(name: str) -> int:
        value = parameters.get(f"{name}.weight")
        return value.shape[0] if value is not None and value.ndim else UNKNOWN

    counts = []
    blocks: list[Block] = []
    inputs = width = channels("conv2")
    for stage in range(1, 5):
        pattern = re.compile(rf"layer{stage}\.(\d+)\.")
        indices = [int(match[1]) for name in parameters if (match := pattern.match(name))]
        # A stage without parameters counts one block, whose parameters are reported as missing.
        counts.append(max(indices, default=0) + 1)
        for index in range(counts[-1]):
            name = f"layer{stage}.{index}"
            outputs = channels(f"{name}.conv1.conv2")
            mids = channels(f"{name}.conv1.conv1"), channels(f"{name}.conv2.conv1")
            stride = 2 if stage > 1 and index == 0 else 1
            downsample = stride != 1 or (index == 0 and inputs != outputs)
            blocks.append(Block(name, inputs, outputs, mids, stride, downsample))
            inputs = outputs
    first, second, third, fourth = counts
    return VideoResNet(
        counts=(first, second, third, fourth),
        stem=channels("conv1"),
        width=width,
        blocks=tuple(blocks),
        classes=channels("fc"),
        bn_eps=bn_eps,
    )


def _norm_shapes(name: str, channels: int) -> Iterator[tuple[str, ParameterShape]]:
    for field in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{field}", (channels,)
