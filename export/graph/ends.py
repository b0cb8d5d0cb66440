"""The end of an ONNX model of someone else: what stands behind its last layer."""

from __future__ import annotations

from collections.abc import Sequence

from r2p_edge._optional import missing
from r2p_edge.export.graph.axes import CONVOLUTIONS, REGROUPING, SAMPLING, WEIGHTED, Follower
from r2p_edge.export.graph.model import malformed_is_error

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

_MOVING = frozenset({*REGROUPING, *SAMPLING, "Cast", "Gather", "Slice", "Split", "Transpose"})
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})

# Logits stay logits behind these: they are moved, scaled, added, averaged, or chosen.
_HARMLESS = _MOVING | {
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Concat",
    "Div",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "LogSoftmax",
    "Max",
    "MaxPool",
    "Mean",
    "Mul",
    "QLinearAdd",
    "QLinearConcat",
    "QLinearGlobalAveragePool",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Sub",
    "Sum",
}
_CHOOSING = frozenset({"ArgMax", "ArgMin", "TopK", "NonMaxSuppression"})


@malformed_is_error()
def odd_end(model: onnx.ModelProto, output: str) -> list[str]:
    """List the operators behind the last layers that make something else of their logits.

    Those that only move, scale, add, average or choose numbers are none of them.

    Args:
        model: an ONNX model.
        output: name of its output.
    """
    follower = Follower(model)
    derived = follower.derived()
    found: dict[str, None] = {}
    for node in _behind_layers(follower, output, derived):
        if node.op_type not in _HARMLESS or _turns(follower, node, derived):
            found[node.op_type] = None
    return list(found)


@malformed_is_error()
def chosen_classes(model: onnx.ModelProto, output: str) -> str | None:
    """Return the operator that an output is a few classes of, such as ArgMax; None for others."""
    follower = Follower(model)
    name = output
    for _ in range(len(follower.nodes)):
        node = follower.makers.get(name)
        if node is None or not node.input:
            return None
        if node.op_type in _CHOOSING:
            return str(node.op_type)
        if node.op_type not in _MOVING:
            return None
        name = node.input[0]
    return None


@malformed_is_error()
def class_axis(
    model: onnx.ModelProto, output: str, sizes: Sequence[int] | None = None
) -> int | None:
    """Return the axis of an output on which its last layers put their classes; None if unknown.

    Args:
        model: an ONNX model.
        output: name of its output.
        sizes: of the input's axes, where the model leaves them open.
    """
    follower = Follower(model, sizes)
    derived = follower.derived()
    behind = _behind_layers(follower, output, derived)
    ends = {name for node in behind for name in node.input} | {output}
    start = {}
    for node in follower.nodes:
        name = node.output[0]
        if node.op_type not in WEIGHTED or name not in ends:
            continue
        shape = follower.shapes.get(name)
        if shape is None or len(node.input) < 2 or node.op_type in _RECURRENT:
            return None
        if node.op_type not in CONVOLUTIONS and node.input[1] in derived:
            return None  # two results are multiplied: neither is known to be classes
        place = 1 if node.op_type in CONVOLUTIONS else len(shape) - 1
        start[name] = tuple(
            frozenset({int(axis == place)}) if size != 1 else frozenset()
            for axis, size in enumerate(shape)
        )
    marks = follower.marks(start, WEIGHTED).get(output, ())
    found = [axis for axis, each in enumerate(marks) if each == {1}]
    return found[0] if len(found) == 1 else None


def _behind_layers(follower: Follower, output: str, derived: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes between the last layers and an output, in the order of the graph."""
    wanted, found = {output}, []
    for node in reversed(follower.nodes):
        if not wanted.intersection(node.output) or node.op_type in WEIGHTED:
            continue
        moved = node.op_type in _MOVING
        if not derived.intersection(node.input):
            continue
        found.append(node)
        wanted.update(node.input[:1] if moved else derived.intersection(node.input))
    return found[::-1]


def _turns(follower: Follower, node: onnx.NodeProto, derived: set[str]) -> bool:
    """Return whether arithmetic turns the order of numbers round, or is of two results."""
    if node.op_type not in ("Div", "Mul", "Sub"):
        return False
    first, second = (name in derived for name in node.input[:2])
    if first and second:
        return True
    if node.op_type != "Mul" and second:
        return True
    if node.op_type == "Sub":
        return False
    value = follower.constant(node.input[1 if first else 0])
    return value is not None and bool((value < 0).any())
