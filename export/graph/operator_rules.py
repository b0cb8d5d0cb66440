"""The rules by which a node of an ONNX graph is checked against the limits of a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from r2p_edge._optional import missing
from r2p_edge.export.graph.lite_rules import lite_problems
from r2p_edge.export.graph.model import attributes
from r2p_edge.export.graph.operator_limits import WINDOWS, OperatorLimits

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

Found = Iterator[tuple[str, str]]
"""Reason and remedy of each problem of a node."""

_CONV2D = "export with --graph conv2d"


class TensorFacts(NamedTuple):
    """The facts known about a tensor.

    Attributes:
        type: TensorProto.DataType, 0 if unknown.
        shape: None if unknown; None for an open axis.
    """

    type: int
    shape: tuple[int | None, ...] | None


_UNKNOWN = TensorFacts(onnx.TensorProto.UNDEFINED, None)


class NodeFacts(NamedTuple):
    """A node, with the facts known about its tensors.

    Attributes:
        name: for messages.
        readers: number of nodes that read each input.
    """

    operator: str
    domain: str
    name: str
    attributes: dict[str, Any]
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]
    readers: list[int]

    @property
    def x(self) -> TensorFacts:
        """The first input."""
        return self.inputs[0] if self.inputs else _UNKNOWN

    @property
    def kernel(self) -> list[int | None] | None:
        """Sizes of the kernel, from the attribute or the weight."""
        weight = self.inputs[1].shape if len(self.inputs) > 1 else None
        if "kernel_shape" in self.attributes or weight is None:
            return self.attributes.get("kernel_shape")
        return list(weight[2:])

    @property
    def rank(self) -> int | None:
        """Rank of the first input, or if its shape is unknown, the one that the kernel implies."""
        if self.x.shape is not None:
            return len(self.x.shape)
        return len(self.kernel) + 2 if self.kernel and self.operator in WINDOWS else None


def node_facts(graph: onnx.GraphProto, outer: Mapping[str, TensorFacts]) -> Iterator[NodeFacts]:
    """Yield every node; the nodes of an inner graph follow the node that contains it.

    Args:
        graph: with inferred shapes.
        outer: tensors of the graphs around it, by name.
    """
    tensors = dict(outer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
        tensors[value.name] = TensorFacts(kind.elem_type, shape if kind.HasField("shape") else None)
    for weight in graph.initializer:
        tensors[weight.name] = TensorFacts(weight.data_type, tuple(weight.dims))
    readers = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        yield NodeFacts(
            node.op_type,
            node.domain,
            node.name or f"{node.op_type} of {', '.join(node.output)}",
            attributes(node),
            [tensors.get(name, _UNKNOWN) for name in node.input],
            [tensors.get(name, _UNKNOWN) for name in node.output],
            [readers[name] for name in node.input],
        )
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from node_facts(inner, tensors)


def node_problems(
    node: NodeFacts, limits: OperatorLimits, precision: str | None
) -> list[tuple[str, str]]:
    """Return the reason and remedy of each problem of a node.

    Args:
        precision: the precision that the target's tool will compile for, if known.
    """
    # The other rules mean little for an operator that does not run at all.
    found = list(_operator(node, limits))
    if not found:
        found = [problem for rule in _RULES for problem in rule(node, limits)]
        found += _precision(node, limits, precision)
    return found


def _operator(node: NodeFacts, limits: OperatorLimits) -> Found:
    name = node.operator
    if node.domain:
        known = node.domain in limits.domains
    elif limits.operators is not None:
        known = name in limits.operators
    else:
        known = onnx.defs.has(name) and name not in limits.without
    if known:
        return
    remedy = "rewrite it with plainer operators, or choose another target"
    if node.domain:
        remedy = "replace it by operators of the ONNX standard"
    elif name in ("QuantizeLinear", "DequantizeLinear"):
        remedy = "export the float model, which the target's own tool may quantise"
    yield "not known to run there", remedy


def _ranks(node: NodeFacts, limits: OperatorLimits) -> Found:
    limit = limits.ranks.get(node.operator)
    if limit is not None and node.rank is not None and node.rank > limit:
        remedy = _CONV2D if node.rank == 5 else "replace the layer by one of lower rank"
        yield f"input of rank {node.rank}, where at most {limit} is known to run", remedy
    rank = max((len(tensor.shape) for tensor in node.outputs if tensor.shape), default=0)
    if limits.rank is not None and rank > limits.rank:
        yield f"output of rank {rank}, where at most {limits.rank} is possible", "merge axes of it"


def _attributes(node: NodeFacts, limits: OperatorLimits) -> Found:
    values = {**node.attributes, "kernel_shape": node.kernel}
    for attribute, allowed in limits.attributes.get((node.operator, node.rank or 0), {}).items():
        found = values.get(attribute)
        elements = found if isinstance(found, list) else [found]
        if attribute in ("kernel_shape", "strides", "dilations"):
            elements = elements[-2:]
        if all(element is None or element in allowed for element in elements):
            continue
        # A range of one value would read oddly.
        ends = (allowed[0], allowed[-1]) if isinstance(allowed, range) else ()
        wanted = " to ".join(map(str, dict.fromkeys(ends))) or " or ".join(map(str, allowed))
        remedies = {"auto_pad": "export it with explicit pads", "group": _CONV2D}
        remedy = remedies.get(attribute, "replace the layer by one within the limits")
        yield f"{attribute} is {found}, where {wanted} is possible", remedy


def _width(node: NodeFacts, limits: OperatorLimits) -> Found:
    shape = node.x.shape if node.operator in WINDOWS else None
    width = shape[-1] if shape else None
    if limits.width is not None and width is not None and width > limits.width:
        remedy = "use a smaller crop, and do not merge H and W"
        yield f"input {width} wide, where at most {limits.width} is possible", remedy


def _types(node: NodeFacts, limits: OperatorLimits) -> Found:
    kind = node.x.type if node.operator in ("Conv", "ConvTranspose") else 0
    if kind and limits.types and kind not in limits.types:
        name = onnx.TensorProto.DataType.Name
        wanted = " or ".join(name(possible) for possible in limits.types)
        yield f"in {name(kind)}, where {wanted} is known to run", "convert the model to float32"


def _uint8(node: NodeFacts, limits: OperatorLimits) -> Found:
    pixels = any(tensor.type == onnx.TensorProto.UINT8 for tensor in node.inputs)
    if limits.only_casts_uint8 and pixels and node.operator != "Cast":
        remedy = "export with --input float32"
        yield "of a uint8 tensor, which can only be cast there", remedy


def _lite(node: NodeFacts, limits: OperatorLimits) -> Found:
    if limits.is_lite:
        yield from lite_problems(node)


_RULES: tuple[Callable[[NodeFacts, OperatorLimits], Found], ...] = (
    _ranks,
    _attributes,
    _width,
    _types,
    _uint8,
    _lite,
)


def _precision(node: NodeFacts, limits: OperatorLimits, precision: str | None) -> Found:
    by_rank = limits.precisions.get((node.operator, node.rank or 0))
    possible = by_rank or limits.precisions.get((node.operator, 0))
    if not precision or not possible or precision in possible:
        return
    what = f"3-D in {precision}" if by_rank and node.rank == 5 else f"in {precision}"
    remedy = f"export with --precision {possible[0]}"
    if node.operator in WINDOWS:
        remedy += f", or {_CONV2D}"
    yield f"{what}, where {' or '.join(possible)} is possible", remedy
