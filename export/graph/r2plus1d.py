"""R(2+1)D networks as ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.errors import SpecError
from r2p_edge.export.checkpoints.network import VideoResNet
from r2p_edge.export.graph.builder import BatchNorm, GraphBuilder, embed_spec
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

_SPATIAL_STRIDE = 16  # 2 in the stem and in stages 2, 3 and 4


def onnx_from_parameters(
    parameters: Mapping[str, np.ndarray],
    network: VideoResNet,
    spec: ModelSpec,
    *,
    batch: int = 1,
) -> onnx.ModelProto:
    """Build the network as an ONNX model with batch norm folded in and `spec` in its metadata.

    Args:
        parameters: the ones in which `network` was found.
        network: from `network_from_parameters`.
        spec: decides the input's dtype, layout and normalisation, and the names of input and
            output.
        batch: size of the static batch axis.

    Raises:
        SpecError: the spec contradicts the network in its number of labels, architecture, clip
            size, kind of output or precision.
        UsageError: `batch` is not positive.
    """
    _check_spec(network, spec)

    def weight(name: str) -> np.ndarray:
        return parameters[f"{name}.weight"]

    def norm(name: str) -> BatchNorm:
        return _norm(parameters, name, network.bn_eps)

    graph = GraphBuilder()

    def conv2plus1d(x: str, name: str, middle: str, after: str, stride: int = 1) -> str:
        """Add a spatial convolution, norm `middle`, ReLU, temporal convolution, norm `after`."""
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
            "set it to fp32 and convert the model afterwards"
        )
    if min(spec.crop.height, spec.crop.width) < _SPATIAL_STRIDE or spec.clip.frames < 2:
        raise SpecError(
            f"clips are {spec.clip.frames} x {spec.crop.height} x {spec.crop.width}, but the "
            f"network needs 2 frames and {_SPATIAL_STRIDE} x {_SPATIAL_STRIDE} pixels at least "
            "to see motion; set clip.frames and crop to the sizes of training"
        )
