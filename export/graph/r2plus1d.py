"""Video ResNets, such as R(2+1)D and R3D, as ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.errors import SpecError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.layouts import Pool, Triple
from r2p_edge.export.checkpoints.structure import (
    NORM,
    Block,
    Conv,
    Norm,
    Relu,
    Step,
    VideoNetwork,
    size_after,
)
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
    network: VideoNetwork,
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
    size: Triple = (spec.clip.frames, spec.crop.height, spec.crop.width)
    x = _add(graph, parameters, network.stem, graph.input(spec, batch), size)
    size = size_after(network.stem, size)
    for block in network.blocks:
        if not isinstance(block, Block):
            x = _add(graph, parameters, block.before, x, size)
            size = size_after(block.before, size)
            parts = [_add(graph, parameters, branch, x, size) for branch in block.branches]
            x = graph.concat(parts, block.name)
            continue
        y = _add(graph, parameters, block.steps, x, size)
        x = _add(graph, parameters, block.shortcut, x, size)
        size = size_after(block.steps, size)
        x = graph.add(y, x, f"{block.name}.add" if block.relu else block.name)
        if block.relu:
            x = graph.relu(x, block.name)
    if network.window is not None:
        x = graph.average(x, network.window, "pool.window")
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
    graph: GraphBuilder,
    parameters: Mapping[str, np.ndarray],
    steps: Sequence[Step],
    x: str,
    size: Triple,
) -> str:
    """Add steps after a tensor, a convolution with the norm after it as one; return the output.

    Args:
        graph, parameters, steps: see `onnx_from_parameters`.
        x: name of the tensor.
        size: T x H x W of it.
    """
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
                pads=_pads(parameters[f"{step.name}.weight"].shape[2:], step, size),
            )
        elif isinstance(step, Norm):
            if x != step.name:  # else it is in the convolution before
                x = graph.norm(x, _norm(parameters, step), step.name)
        elif isinstance(step, Relu):
            x = graph.relu(x, f"{step.after}.relu")
        else:
            pads = _pads(step.kernel, step, size)
            x = graph.pool(x, step.kernel, step.stride, step.name, pads)
        size = size_after([step], size)
    return x


def _pads(kernel: Sequence[int], step: Conv | Pool, size: Triple) -> list[int] | None:
    """Return the padding of a step as TensorFlow's "SAME" has it; None for that of half a kernel.

    There is as much as lets the kernel begin at each stride, half of it before and the rest behind
    (tensorflow/core/framework/common_shape_fns.cc, GetWindowedOutputSize).
    """
    if not step.same:
        return None
    whole = [
        max((-(-side // stride) - 1) * stride + length - side, 0)
        for side, stride, length in zip(size, step.stride, kernel, strict=True)
    ]
    return [*(each // 2 for each in whole), *(each - each // 2 for each in whole)]


def _norm(parameters: Mapping[str, np.ndarray], norm: Norm) -> BatchNorm:
    weight, bias, mean, variance = (parameters[f"{norm.name}.{leaf}"] for leaf in NORM)
    return BatchNorm(weight, bias, mean, variance, norm.eps)


def _check_spec(network: VideoNetwork, spec: ModelSpec) -> None:
    if spec.outputs != network.classes:
        raise SpecError(
            f"the network has {network.classes} classes but the spec has {spec.outputs} "
            "labels; give one per class, in the order of training (--labels FILE)"
        )
    if spec.arch not in (None, network.arch):
        raise SpecError(
            f"the network is {network.arch} but the spec says {spec.arch}; "
            "correct arch or leave it out"
        )
    if spec.output.kind not in ("logits", "values", "features"):
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
    window = network.window
    if window is not None and (
        any(have < need for have, need in zip(found, window, strict=True))
        or (network.one_place and found[1:] != window[1:])
    ):
        sizes = [" x ".join(map(str, size)) for size in (found, window)]
        raise SpecError(
            f"clips of {spec.clip.frames} x {spec.crop.height} x {spec.crop.width} give features "
            f"of {sizes[0]}, and the network's own code takes averages of {sizes[1]}; set "
            f"clip.frames and crop to the sizes of training (224 x 224), or {ADVICE}"
        )
    if network.features is not None and network.features != found:
        sizes = [" x ".join(map(str, size)) for size in (found, network.features)]
        raise SpecError(
            f"clips of {spec.clip.frames} x {spec.crop.height} x {spec.crop.width} give features "
            f"of {sizes[0]}, but the network's own code takes the mean of {sizes[1]}; set "
            "clip.frames and crop to the sizes of training (16 frames of 224 x 224 for "
            f"pytorchvideo), or {ADVICE}"
        )
