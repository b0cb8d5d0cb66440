"""Video ResNets, such as R(2+1)D and R3D, as ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.errors import SpecError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.network import NORM, Conv, Norm, Relu, Step, VideoResNet
from r2p_edge.export.graph.builder import (
    Batch,
    BatchNorm,
    GraphBuilder,
    batch_axis,
    embed_spec,
)
from r2p_edge.export.graph.foreign import check_kind
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx


def onnx_from_parameters(
    parameters: Mapping[str, np.ndarray],
    network: VideoResNet,
    spec: ModelSpec,
    *,
    batch: Batch = 1,
) -> onnx.ModelProto:
    """Build the network as an ONNX model with batch norm folded in and `spec` in its metadata.

    Args:
        parameters: the ones in which `network` was found.
        network: from `network_from_parameters`.
        spec: decides the input's dtype, layout and normalisation, and the names of input and
            output.
        batch: size of the batch axis; "dynamic" leaves it open.

    Raises:
        SpecError: the spec contradicts the network in its number of labels, architecture, clip
            size, kind of output or precision.
        UsageError: `batch` is not positive.
    """
    _check_spec(network, spec)

    graph = GraphBuilder()
    x = _add(graph, parameters, network.stem, graph.input(spec, batch))
    for block in network.blocks:
        y = _add(graph, parameters, block.steps, x)
        x = _add(graph, parameters, block.shortcut, x)
        x = graph.add(y, x, f"{block.name}.add" if block.relu else block.name)
        if block.relu:
            x = graph.relu(x, block.name)
    x = graph.global_mean(x)
    for name in [*network.hidden, "fc"]:
        output = spec.output.name if name == "fc" else name
        x = graph.linear(name, x, parameters[f"{name}.weight"], parameters[f"{name}.bias"], output)
        if name != "fc":
            x = graph.relu(x, f"{name}.relu")
    model = graph.model(network.arch, x, (batch_axis(batch), network.classes))
    embed_spec(model, spec)
    return model


def _add(
    graph: GraphBuilder, parameters: Mapping[str, np.ndarray], steps: Sequence[Step], x: str
) -> str:
    """Add steps after a tensor, a convolution with the norm after it as one; return the output."""
    for step, following in zip_longest(steps, steps[1:]):
        if isinstance(step, Conv):
            norm = following if isinstance(following, Norm) else None
            x = graph.conv(
                step.name,
                x,
                parameters[f"{step.name}.weight"],
                parameters.get(f"{step.name}.bias"),
                None if norm is None else _norm(parameters, norm),
                step.name if norm is None else norm.name,
                stride=step.stride,
            )
        elif isinstance(step, Norm):
            if x != step.name:  # else it is in the convolution before
                x = graph.norm(x, _norm(parameters, step), step.name)
        elif isinstance(step, Relu):
            x = graph.relu(x, f"{step.after}.relu")
        else:
            x = graph.pool(x, step.kernel, step.stride, "stem.pool")
    return x


def _norm(parameters: Mapping[str, np.ndarray], norm: Norm) -> BatchNorm:
    weight, bias, mean, variance = (parameters[f"{norm.name}.{leaf}"] for leaf in NORM)
    return BatchNorm(weight, bias, mean, variance, norm.eps)


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
    if spec.output.kind not in ("logits", "values"):
        raise SpecError(
            f"output.kind is {spec.output.kind} but the network ends in logits; set it to logits, "
            "or to values if they are no classes"
        )
    check_kind(spec, None)
    if spec.precision != "fp32":
        raise SpecError(
            f"precision is {spec.precision} but the parameters make an fp32 model; "
            "set it to fp32 and convert the model afterwards"
        )
    least = network.reduction[1]
    if min(spec.crop.height, spec.crop.width) < least or spec.clip.frames < 2:
        raise SpecError(
            f"clips are {spec.clip.frames} x {spec.crop.height} x {spec.crop.width}, but the "
            f"network needs 2 frames and {least} x {least} pixels at least "
            "to see motion; set clip.frames and crop to the sizes of training"
        )
    found = network.features_of((spec.clip.frames, spec.crop.height, spec.crop.width))
    if network.features is not None and network.features != found:
        sizes = [" x ".join(map(str, size)) for size in (found, network.features)]
        raise SpecError(
            f"clips of {spec.clip.frames} x {spec.crop.height} x {spec.crop.width} give features "
            f"of {sizes[0]}, but the network's own code takes the mean of {sizes[1]}; set "
            "clip.frames and crop to the sizes of training (16 frames of 224 x 224 for "
            f"pytorchvideo), or {ADVICE}"
        )
