"""The search for the layers that must stay float for an int8 model to answer as before."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import missing
from r2p_edge.agreement import agreement
from r2p_edge.calibration.clip_feed import ClipFeed
from r2p_edge.calibration.placement import Placement
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.synthetic_clips import input_from_clips
from r2p_edge.spec import ModelSpec

try:
    import onnx
    from onnx import helper
except ImportError as error:
    raise missing("onnx") from error

_TWIN = "int8/"  # prefix of the tensors that are computed in int8 beside the float model


class Sensitivity(NamedTuple):
    """The layers to leave float, and the measurements behind the choice.

    Attributes:
        float_layers: those with the most noise, as few as possible.
        cosine: of the logits with the float model's for the worst clip, with these left float.
        noise: of each layer in int8, the most first; see `layer_noise`. Empty if every layer
            can be int8.
    """

    float_layers: tuple[str, ...]
    cosine: float
    noise: dict[str, float]


def choose_float_layers(
    model: onnx.ModelProto,
    spec: ModelSpec,
    placement: Placement,
    quantise: Callable[[Collection[str]], onnx.ModelProto],
    clips: Sequence[npt.NDArray[np.uint8]],
    *,
    cosine: float,
    budget: float,
    clock: Callable[[], float] = time.monotonic,
) -> Sensitivity:
    """Find the fewest layers that have to stay float for the model to answer as before.

    Layers are left float in the order of their noise. If the goal is out of reach or the time is
    up, the layers stay float that brought the answers nearest to it.

    Args:
        model: the float model.
        spec: its spec.
        placement: the parts of it that become int8.
        quantise: returns the int8 model with the layers of these names left float.
        clips: a few, uint8 (T, H, W, 3).
        cosine: the goal; see `Sensitivity`.
        budget: seconds after which no further set of layers is tried.
        clock: returns the time in seconds.
    """
    end = clock() + budget
    inputs = input_from_clips(np.stack(clips), spec)
    reference = _logits(model, inputs)
    whole = quantise(())
    found = {0: agreement(reference, _logits(whole, inputs)).cosine}
    if found[0] >= cosine:
        return Sensitivity((), found[0], {})
    noise = layer_noise(model, spec, placement, whole, clips)
    order = tuple(noise)

    def enough(count: int) -> bool:
        if clock() >= end:
            raise _TimeIsUpError
        found[count] = agreement(reference, _logits(quantise(order[:count]), inputs)).cosine
        return found[count] >= cosine

    with contextlib.suppress(_TimeIsUpError):
        _search(enough, len(order) - 1)
    counts = sorted(found)
    best = next((n for n in counts if found[n] >= cosine), max(counts, key=found.__getitem__))
    return Sensitivity(order[:best], found[best], noise)


class _TimeIsUpError(Exception):
    """The end of the search for lack of time."""


def _search(enough: Callable[[int], bool], most: int) -> None:
    """Try counts from 1 to `most`: doubling until one is enough, then bisecting."""
    low, high = 0, min(1, most)
    while low < high and not enough(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)


def layer_noise(
    model: onnx.ModelProto,
    spec: ModelSpec,
    placement: Placement,
    quantised: onnx.ModelProto,
    clips: Sequence[npt.NDArray[np.uint8]],
) -> dict[str, float]:
    """Measure the noise that int8 adds to the output of each layer by itself.

    Noise is the energy of the difference, relative to the energy of the float output or, if a sum
    reads the output, of the sum. Each layer is computed a second time beside the float model, from
    the float activations, so that one pass over the clips measures all.

    Args:
        quantised: made from the model by the placement.

    Returns:
        Noise by layer, the most first.
    """
    outputs = {node.output[0]: node.name for node in model.graph.node}
    outputs = {tensor: name for tensor, name in outputs.items() if name in placement.layers}
    signals = dict(zip(outputs, outputs))
    for node in model.graph.node:
        if node.op_type == "Add":
            signals |= {name: node.output[0] for name in node.input if name in outputs}
    nodes, twins = _twins(quantised, outputs)
    for tensor, name in outputs.items():
        difference = f"{_TWIN}{name}/difference"
        nodes += [
            helper.make_node("Sub", [twins[tensor], tensor], [difference]),
            helper.make_node("ReduceSumSquare", [difference], [f"{_TWIN}{name}/noise"], keepdims=0),
            helper.make_node(
                "ReduceSumSquare", [signals[tensor]], [f"{_TWIN}{name}/signal"], keepdims=0
            ),
        ]
    own = {tensor.name for tensor in model.graph.initializer}
    constants = [tensor for tensor in quantised.graph.initializer if tensor.name not in own]
    wanted = [f"{_TWIN}{name}/{part}" for part in ("noise", "signal") for name in outputs.values()]
    energy = np.zeros((2, len(outputs)))
    for _, (_, *values) in ClipFeed(spec, lambda: clips).run(model, wanted, nodes, constants):
        energy += np.array(values, np.float64).reshape(2, -1)
    noise, signal = energy
    relative = dict(zip(outputs.values(), (noise / np.maximum(signal, 1e-30)).tolist()))
    return dict(sorted(relative.items(), key=lambda item: -item[1]))


def _twins(
    quantised: onnx.ModelProto, outputs: Collection[str]
) -> tuple[list[onnx.NodeProto], dict[str, str]]:
    """Return the quantised layers to add to the float model, and their outputs by float output.

    They read the float model's activations. An output that is quantised right away, for a sum, is
    taken after its quantisation.
    """
    nodes, made, twins = [], set[str](), {}
    for node in quantised.graph.node:
        layer = node.op_type == "Conv" and node.output[0] in outputs
        if not layer and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        twin = onnx.NodeProto()
        twin.CopyFrom(node)
        twin.name = _TWIN + node.name
        for i, name in enumerate(node.input):
            if name in made:
                twin.input[i] = _TWIN + name
        twin.output[0] = _TWIN + node.output[0]
        made.add(node.output[0])
        nodes.append(twin)
        if layer:
            twins[node.output[0]] = twin.output[0]
    origin = {node.output[0]: node.input[0] for node in nodes if node.op_type != "Conv"}
    for end in origin:
        start = origin.get(origin[end], "").removeprefix(_TWIN)
        if start in twins:
            twins[start] = end
    return nodes, twins


def _logits(model: onnx.ModelProto, inputs: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return run_session(open_session(model.SerializeToString()), inputs)
