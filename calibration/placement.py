"""Which layers and activations of a float model become int8."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, UsageError

try:
    import onnx
except ImportError as error:
    raise missing("onnx", "export") from error

# What a convolution that was taken apart may consist of, quantised or not.
_LINEAR = {
    "Add", "Cast", "Concat", "Conv", "DequantizeLinear", "Identity", "Pad", "QuantizeLinear",
    "Reshape", "Slice", "Transpose",
}  # fmt: skip


class Placement(NamedTuple):
    """What becomes int8.

    Attributes:
        layers: names of the convolutions whose input and weights do.
        summands: tensors that do because a sum of two branches reads them.
        tensors: all activations that do, in the order of the graph.
    """

    layers: tuple[str, ...]
    summands: tuple[str, ...]
    tensors: tuple[str, ...]


def name_nodes(model: onnx.ModelProto) -> None:
    """Gives nodes without a name of their own that of their first output, in place."""
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
    """What becomes int8 of a model whose nodes have names of their own.

    Outputs of layers stay as they are; where the next layer is int8, its input is. A sum of two
    branches gets int8 inputs, the sums within a convolution that was taken apart do not.

    Args:
        stem: whether convolutions become int8 that none comes before.
        both_summands: whether both branches do, or only the one that bypasses the other.
        keep_float: names of layers to leave out, with what they read and make.

    Raises:
        UsageError: `keep_float` names what is no layer.
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
            f"no layer is named {', '.join(unknown)}; there is "
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
    """What a tensor is made from.

    Attributes:
        sources: positions in the graph of the tensors that it is a linear function of.
        layers: names of the convolutions between these and it.
        follows_layer: whether any convolution comes before it.
    """

    sources: frozenset[int]
    layers: frozenset[str]
    follows_layer: bool


def follow(graph: onnx.GraphProto) -> dict[str, Activation]:
    """The tensors that depend on the graph's input, in the order of the graph."""
    weights = {tensor.name for tensor in graph.initializer}
    known = {
        value.name: Activation(frozenset([-1]), frozenset(), False)
        for value in graph.input
        if value.name not in weights
    }
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
    """The inputs of a sum of two branches, first the one that starts earlier; else nothing."""
    if node.op_type != "Add" or not all(name in known for name in node.input):
        return []
    one, other = node.input
    if known[one].sources == known[other].sources:
        return []
    return sorted([one, other], key=lambda name: min(known[name].sources))
