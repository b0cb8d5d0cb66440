"""The choice of the layers and activations of a float model that become int8."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.graph.model import model_inputs

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

# The operators of a 3-D convolution that was rewritten as 2-D ones, quantised or not.
_LINEAR = {
    "Add", "Cast", "Concat", "Conv", "DequantizeLinear", "Identity", "Pad", "QuantizeLinear",
    "Reshape", "Slice", "Transpose",
}  # fmt: skip


class Placement(NamedTuple):
    """The parts of a model that become int8.

    Attributes:
        layers: names of the convolutions whose input and weights become int8.
        summands: tensors that become int8 because a sum of two branches reads them.
        tensors: all activations that become int8, in the order of the graph.
    """

    layers: tuple[str, ...]
    summands: tuple[str, ...]
    tensors: tuple[str, ...]


def name_nodes(model: onnx.ModelProto) -> None:
    """Name nodes without a name of their own after their first output, in place."""
    seen: set[str] = set()
    for node in model.graph.node:
        if not node.name or node.name in seen:
            node.name = node.output[0]
        seen.add(node.name)


def place(
    model: onnx.ModelProto,
    *,
    stem: bool,
    both_summands: bool,
    keep_float: Collection[str] = (),
) -> Placement:
    """Choose the parts of a model that become int8.

    Inputs of int8 layers become int8, and outputs of layers stay as they are. A sum of two branches
    gets int8 inputs; the sums within a convolution that was rewritten as 2-D ones do not.

    Args:
        model: its nodes have names of their own, see `name_nodes`.
        stem: True if convolutions become int8 that no other convolution precedes.
        both_summands: True if both branches of a sum become int8, False for only the one that
            bypasses the other.
        keep_float: names of layers to leave out, with their inputs and outputs.

    Raises:
        UsageError: `keep_float` has a name that is not a layer's.
        ModelError: nothing would become int8.
    """
    known = follow(model.graph)
    weights = {tensor.name for tensor in model.graph.initializer}
    layers = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[0] in known and node.input[1] in weights
    ]
    unknown = sorted(set(keep_float) - {node.name for node in layers})
    if unknown:
        raise UsageError(
            f"no layer is named {', '.join(unknown)}; choose from "
            + ", ".join(node.name for node in layers)
        )
    kept = {node.input[0] for node in layers if node.name in keep_float}
    layers = [node for node in layers if node.name not in keep_float]
    layers = [node for node in layers if stem or known[node.input[0]].follows_layer]
    if not layers:
        raise ModelError(
            "the model has no convolution that could become int8; leave fewer of them float, or "
            "use it as it is"
        )
    summands = []
    for node in model.graph.node:
        for name in branches(node, known)[: 2 if both_summands else 1]:
            if name not in kept and known[name].layers.isdisjoint(keep_float):
                summands.append(name)
    wanted = {*summands, *(node.input[0] for node in layers)}
    return Placement(
        tuple(node.name for node in layers),
        tuple(dict.fromkeys(summands)),
        tuple(name for name in known if name in wanted),
    )


class Activation(NamedTuple):
    """The origin of a tensor.

    Attributes:
        sources: positions in the graph of the tensors of which it is a linear function.
        layers: names of the convolutions between these and it.
        follows_layer: True if any convolution precedes it.
    """

    sources: frozenset[int]
    layers: frozenset[str]
    follows_layer: bool


def follow(graph: onnx.GraphProto) -> dict[str, Activation]:
    """Return the origin of each tensor that depends on the input, in the order of the graph."""
    start = Activation(frozenset([-1]), frozenset(), False)
    known = {value.name: start for value in model_inputs(graph)}
    for position, node in enumerate(graph.node):
        inputs = [known[name] for name in node.input if name in known]
        if not inputs:
            continue
        convolution = node.op_type == "Conv"
        sources, layers = frozenset([position]), frozenset[str]()
        if node.op_type in _LINEAR:
            sources = frozenset().union(*(each.sources for each in inputs))
            layers = frozenset([node.name] if convolution else []).union(
                *(each.layers for each in inputs)
            )
        follows = convolution or any(each.follows_layer for each in inputs)
        known |= {name: Activation(sources, layers, follows) for name in node.output}
    return known


def branches(node: onnx.NodeProto, known: dict[str, Activation]) -> list[str]:
    """Return the inputs of a sum of two branches, the one that starts earlier first; else []."""
    if node.op_type != "Add" or not all(name in known for name in node.input):
        return []
    one, other = node.input
    if known[one].sources == known[other].sources:
        return []
    return sorted([one, other], key=lambda name: min(known[name].sources))
