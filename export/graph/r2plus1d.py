"""R(2+1)D networks (Tran et al. 2018, arXiv 1711.11248): found in named parameters, built as ONNX.

The stem and the four stages of residual blocks are those of torchvision, GluonCV and MindSpore;
depth, widths and mid channels are read from the shapes, so narrow and deep variants work too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.errors import SpecError
from r2p_edge.export.checkpoints.parameter_check import UNKNOWN, check_parameters
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

    from r2p_edge.export.graph.builder import BatchNorm

_DEPTHS = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34}
_SPATIAL_STRIDE = 16  # 2 in the stem and in stages 2, 3 and 4


@dataclass(frozen=True)
class Block:
    """A residual block of two (2+1)D convolutions.

    Attributes:
        name: such as "layer2.0".
        inputs, outputs: channels.
        mids: channels between the spatial and the temporal half of each convolution.
        stride: of the first convolution and the shortcut, in time and space.
        downsample: the shortcut is a 1x1x1 convolution, not the identity.
    """

    name: str
    inputs: int
    outputs: int
    mids: tuple[int, int]
    stride: int
    downsample: bool


@dataclass(frozen=True)
class VideoResNet:
    """The shape of an R(2+1)D network.

    Attributes:
        counts: blocks in each of the four stages.
        stem: channels between the spatial and the temporal half of the stem.
        width: channels after the stem.
        blocks: in the order of execution.
        classes: outputs.
        bn_eps: what every batch norm adds to the variance.
    """

    counts: tuple[int, int, int, int]
    stem: int
    width: int
    blocks: tuple[Block, ...]
    classes: int
    bn_eps: float

    @property
    def arch(self) -> str:
        """Such as "r2plus1d_34"; other block counts are written out, as in "r2plus1d_1-2-2-1".

        Several block counts have the same depth, so only the two published ones are named by it.
        """
        depth = _DEPTHS.get(self.counts)
        return f"r2plus1d_{depth or '-'.join(map(str, self.counts))}"


def network_from_parameters(parameters: Mapping[str, np.ndarray], bn_eps: float) -> VideoResNet:
    """The R(2+1)D network that canonically named parameters belong to.

    Args:
        parameters: names as in `dialects`; floating-point arrays.
        bn_eps: of the batch norms; files do not hold it.

    Raises:
        CheckpointError: a parameter is missing, unknown, of another shape or dtype than the rest
            imply, holds NaN or infinity, or is a negative variance.
    """
    network = _layout(parameters, bn_eps)
    check_parameters(parameters, network)
    return network


def onnx_from_parameters(
    parameters: Mapping[str, np.ndarray],
    network: VideoResNet,
    spec: ModelSpec,
    *,
    batch: int = 1,
) -> onnx.ModelProto:
    """The network as an ONNX model with batch norm folded in, and `spec` in its metadata.

    Args:
        parameters: those that `network` was found in.
        network: from `network_from_parameters`.
        spec: decides the input's dtype, layout and normalisation and the names of both ends.
        batch: size of the static batch axis.

    Raises:
        SpecError: the spec contradicts the network: number of labels, architecture, clip size,
            kind of output, precision.
        UsageError: `batch` is not positive.
        MissingDependencyError: onnx is not installed.
    """
    from r2p_edge.export.graph.builder import GraphBuilder, embed_spec

    _check_spec(network, spec)

    def weight(name: str) -> np.ndarray:
        return parameters[f"{name}.weight"]

    def norm(name: str) -> BatchNorm:
        return _norm(parameters, name, network.bn_eps)

    graph = GraphBuilder()

    def conv2plus1d(x: str, name: str, middle: str, after: str, stride: int = 1) -> str:
        """Spatial convolution, batch norm `middle`, ReLU, temporal one, batch norm `after`."""
        spatial = {"stride": (1, stride, stride), "padding": (0, 1, 1)}
        x = graph.conv(f"{name}.conv1", x, weight(f"{name}.conv1"), norm(middle), middle, **spatial)
        x = graph.relu(x, f"{middle}.relu")
        temporal = {"stride": (stride, 1, 1), "padding": (1, 0, 0)}
        return graph.conv(
            f"{name}.conv2", x, weight(f"{name}.conv2"), norm(after), after, **temporal
        )

    x = graph.input(spec, batch)
    x = graph.conv(
        "conv1", x, weight("conv1"), norm("bn1"), "bn1", stride=(1, 2, 2), padding=(0, 3, 3)
    )
    x = graph.relu(x, "bn1.relu")
    x = graph.conv("conv2", x, weight("conv2"), norm("bn2"), "bn2", padding=(1, 0, 0))
    x = graph.relu(x, "bn2.relu")
    for block in network.blocks:
        name = block.name
        y = conv2plus1d(x, f"{name}.conv1", f"{name}.conv1.bn1", f"{name}.bn1", block.stride)
        y = graph.relu(y, f"{name}.bn1.relu")
        y = conv2plus1d(y, f"{name}.conv2", f"{name}.conv2.bn1", f"{name}.bn2")
        if block.downsample:
            shortcut = f"{name}.downsample"
            x = graph.conv(
                f"{shortcut}.0",
                x,
                weight(f"{shortcut}.0"),
                norm(f"{shortcut}.1"),
                f"{shortcut}.1",
                stride=(block.stride,) * 3,
            )
        x = graph.relu(graph.add(y, x, f"{name}.add"), name)
    x = graph.head(x, weight("fc"), parameters["fc.bias"], spec.output.name)
    model = graph.model(network.arch, x, (batch, network.classes))
    embed_spec(model, spec)
    return model


def _norm(parameters: Mapping[str, np.ndarray], name: str, eps: float) -> BatchNorm:
    from r2p_edge.export.graph.builder import BatchNorm

    return BatchNorm(
        weight=parameters[f"{name}.weight"],
        bias=parameters[f"{name}.bias"],
        running_mean=parameters[f"{name}.running_mean"],
        running_var=parameters[f"{name}.running_var"],
        eps=eps,
    )


def _check_spec(network: VideoResNet, spec: ModelSpec) -> None:
    if len(spec.labels) != network.classes:
        raise SpecError(
            f"the network has {network.classes} classes but the spec has {len(spec.labels)} "
            "labels; give one per class, in the order of training (--labels FILE)"
        )
    if spec.arch not in (None, network.arch):
        raise SpecError(
            f"the network is {network.arch} but the spec says {spec.arch}; "
            "correct arch or leave it out"
        )
    if spec.output.kind != "logits":
        raise SpecError(
            f"output.kind is {spec.output.kind} but the network ends in logits; set it to logits"
        )
    if spec.precision != "fp32":
        raise SpecError(
            f"precision is {spec.precision} but the parameters make an fp32 model; "
            "set it to fp32 and convert the result"
        )
    if min(spec.crop.height, spec.crop.width) < _SPATIAL_STRIDE or spec.clip.frames < 2:
        raise SpecError(
            f"clips are {spec.clip.frames} x {spec.crop.height} x {spec.crop.width}, but the "
            f"network needs 2 frames and {_SPATIAL_STRIDE} x {_SPATIAL_STRIDE} pixels at least "
            "to see motion; set clip.frames and crop to the sizes of training"
        )


def _layout(parameters: Mapping[str, np.ndarray], bn_eps: float) -> VideoResNet:
    """The network that the names and the convolutions' output channels suggest, unchecked."""

    def channels(name: str) -> int:
        value = parameters.get(f"{name}.weight")
        return value.shape[0] if value is not None and value.ndim else UNKNOWN

    counts = []
    blocks: list[Block] = []
    inputs = width = channels("conv2")
    for stage in range(1, 5):
        pattern = re.compile(rf"layer{stage}\.(\d+)\.")
        indices = [int(match[1]) for name in parameters if (match := pattern.match(name))]
        # A stage without parameters is reported as its first block's missing.
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
