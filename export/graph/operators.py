"""What a target cannot run of an ONNX model, said before its own tool fails without a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.graph.operator_limits import TARGETS, WINDOWS, Target

try:
    import onnx
    from onnx.inliner import inline_local_functions
except ImportError as error:
    raise missing("onnx", "export") from error


@dataclass(frozen=True)
class Problem:
    """One thing of a model that a target is not known to run.

    Attributes:
        node: its name, "Conv of <output>" where it has none; else that of an input or the graph.
        operator: with its domain unless that is ONNX's own; else "input" or "graph".
        reason: what was found, and the limit.
        remedy: what to do.
    """

    node: str
    operator: str
    reason: str
    remedy: str


_CONV2D = "export with --graph conv2d"
_Shape = tuple["int | None", ...]
_Found = Iterator[tuple[str, str]]
"""Reason and remedy of each problem."""


class _Tensor(NamedTuple):
    type: int
    shape: _Shape | None


_UNKNOWN = _Tensor(onnx.TensorProto.UNDEFINED, None)


class _Node(NamedTuple):
    operator: str
    domain: str
    name: str
    attributes: dict[str, Any]
    inputs: list[_Tensor]
    outputs: list[_Tensor]

    @property
    def x(self) -> _Tensor:
        return self.inputs[0] if self.inputs else _UNKNOWN

    @property
    def kernel(self) -> list[int | None] | None:
        weight = self.inputs[1].shape if len(self.inputs) > 1 else None
        if "kernel_shape" in self.attributes or weight is None:
            return self.attributes.get("kernel_shape")
        return list(weight[2:])

    @property
    def rank(self) -> int | None:
        """Of the first input; where its shape is unknown the kernel tells."""
        if self.x.shape is not None:
            return len(self.x.shape)
        return len(self.kernel) + 2 if self.kernel and self.operator in WINDOWS else None


def check_ops(
    model: onnx.ModelProto, target: str, *, precision: str | None = None
) -> list[Problem]:
    """What `target` is not known to run, in the order of the graph.

    Inner graphs of control flow are looked into and local functions expanded. What the inference
    of shapes cannot tell is not reported, and neither is where Q/DQ nodes stand.

    Args:
        target: a name in `TARGETS`.
        precision: what the target's tool is to compile for: "fp32", "fp16", "int8".

    Raises:
        UsageError: there is no such target.
        ModelError: the model is malformed.
    """
    if target not in TARGETS:
        raise UsageError(f"target is {target!r}; known are {', '.join(TARGETS)}")
    limits = TARGETS[target]
    light = without_weights(model)
    try:
        if light.functions:
            light = inline_local_functions(light)
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
        nodes = list(_nodes(light.graph, {}))
    except Exception as error:  # of onnx or protobuf, without a common base
        raise ModelError(
            f"the model is malformed ({str(error).strip().partition(chr(10))[0][:200]}); "
            "check it with onnx.checker"
        ) from error
    problems = list(_model_problems(light, limits))
    for node in nodes:
        operator = f"{node.domain}.{node.operator}" if node.domain else node.operator
        found = list(_operator(node, limits))
        if not found:
            found = [problem for rule in _RULES for problem in rule(node, limits)]
            found += _precision(node, limits, precision)
        problems += [Problem(node.name, operator, *problem) for problem in found]
    return problems


def require_ops(model: onnx.ModelProto, target: str, *, precision: str | None = None) -> None:
    """Makes sure that nothing is known to keep `target` from running the model.

    Args:
        target, precision: see `check_ops`.

    Raises:
        ModelError: there are problems; it names them.
        UsageError: there is no such target.
    """
    problems = check_ops(model, target, precision=precision)
    if not problems:
        return
    # A deep network has the same problem in many nodes.
    groups: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        groups.setdefault((problem.operator, problem.reason), []).append(problem.node)
    texts = [f"{_some(nodes, 2, ', ')} ({key[0]}): {key[1]}" for key, nodes in groups.items()]
    remedies = dict.fromkeys(problem.remedy for problem in problems)
    raise ModelError(
        f"the model does not fit {TARGETS[target].title}: {_some(texts, 5, '; ')}; "
        + ", and ".join(remedies)
    )


def _some(texts: list[str], most: int, separator: str) -> str:
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


def _model_problems(model: onnx.ModelProto, target: Target) -> Iterator[Problem]:
    graph, (low, high) = model.graph, target.opsets
    opset = next((o.version for o in model.opset_import if not o.domain), 1)
    if opset < low or (high is not None and opset > high):
        reason = f"opset {opset}, where {low} to {high or 'the newest'} can be read"
        wanted = low if opset < low else high
        remedy = f"write it with opset {wanted}, as by torch.onnx.export(opset_version={wanted})"
        yield Problem(graph.name, "graph", reason, remedy)
    weights = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name in weights:
            continue
        if bad := "".join(c for c in target.reserved if c in value.name):
            reason = f"{bad!r} in its name, which separates the arguments of the target's tool"
            yield Problem(value.name, "input", reason, "set input.name of the spec to a plain name")
        axes = list(enumerate(value.type.tensor_type.shape.dim))
        start = len(axes) if target.open_axes is None else target.open_axes
        if found := [str(i) for i, axis in axes[start:] if not axis.HasField("dim_value")]:
            reason = f"open axes {', '.join(found)}, where sizes must be fixed"
            yield Problem(value.name, "input", reason, "export it with fixed sizes")


def _operator(node: _Node, target: Target) -> _Found:
    name = node.operator
    if node.domain:
        known = node.domain in target.domains
    elif target.operators is not None:
        known = name in target.operators
    else:
        known = onnx.defs.has(name) and name not in target.without
    if known:
        return
    remedy = "rewrite it with plainer operators, or choose another target"
    if node.domain:
        remedy = "replace it by operators of the ONNX standard"
    elif name in ("QuantizeLinear", "DequantizeLinear"):
        remedy = "export the float model, which the target's own tool may quantise"
    yield "not known to run there", remedy


def _ranks(node: _Node, target: Target) -> _Found:
    limit = target.ranks.get(node.operator)
    if limit is not None and node.rank is not None and node.rank > limit:
        remedy = _CONV2D if node.rank == 5 else "replace the layer by one of lower rank"
        yield f"input of rank {node.rank}, where at most {limit} is known to run", remedy
    rank = max((len(tensor.shape) for tensor in node.outputs if tensor.shape), default=0)
    if target.rank is not None and rank > target.rank:
        yield f"output of rank {rank}, where at most {target.rank} is possible", "merge axes of it"


def _attributes(node: _Node, target: Target) -> _Found:
    values = {**node.attributes, "kernel_shape": node.kernel}
    for attribute, allowed in target.attributes.get((node.operator, node.rank or 0), {}).items():
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


def _width(node: _Node, target: Target) -> _Found:
    shape = node.x.shape if node.operator in WINDOWS else None
    width = shape[-1] if shape else None
    if target.width is not None and width is not None and width > target.width:
        remedy = "use a smaller crop, and do not merge H and W"
        yield f"input {width} wide, where at most {target.width} is possible", remedy


def _types(node: _Node, target: Target) -> _Found:
    kind = node.x.type if node.operator in ("Conv", "ConvTranspose") else 0
    if kind and target.types and kind not in target.types:
        name = onnx.TensorProto.DataType.Name
        wanted = " or ".join(name(possible) for possible in target.types)
        yield f"in {name(kind)}, where {wanted} is known to run", "convert the model to float32"


def _uint8(node: _Node, target: Target) -> _Found:
    pixels = any(tensor.type == onnx.TensorProto.UINT8 for tensor in node.inputs)
    if target.only_casts_uint8 and pixels and node.operator != "Cast":
        remedy = "export with --input float32, or without --graph conv2d"
        yield "of a uint8 tensor, which can only be cast there", remedy


_RULES: tuple[Callable[[_Node, Target], _Found], ...] = (
    _ranks,
    _attributes,
    _width,
    _types,
    _uint8,
)


def _precision(node: _Node, target: Target, precision: str | None) -> _Found:
    possible = target.precisions_3d
    if (node.operator, node.rank) != ("Conv", 5) or not precision or not possible:
        return
    if precision not in possible:
        reason = f"3-D in {precision}, where {' or '.join(possible)} is possible"
        yield reason, f"export with --precision {possible[0]}, or {_CONV2D}"


def _nodes(graph: onnx.GraphProto, outer: Mapping[str, _Tensor]) -> Iterator[_Node]:
    """Every node with its tensors; those of inner graphs after the node that holds them."""
    tensors = dict(outer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
        tensors[value.name] = _Tensor(kind.elem_type, shape if kind.HasField("shape") else None)
    for weight in graph.initializer:
        tensors[weight.name] = _Tensor(weight.data_type, tuple(weight.dims))
    for node in graph.node:
        yield _Node(
            node.op_type,
            node.domain,
            node.name or f"{node.op_type} of {', '.join(node.output)}",
            {attribute.name: _value(attribute) for attribute in node.attribute},
            [tensors.get(name, _UNKNOWN) for name in node.input],
            [tensors.get(name, _UNKNOWN) for name in node.output],
        )
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner, tensors)


def _value(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large constants have type and shape only, as a model can have gigabytes."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name
    for part in ("node", "input", "output", "value_info"):
        getattr(graph, part).extend(getattr(source, part))
    for weight in source.initializer:
        # A small one can be a shape or axes, which the inference of shapes reads.
        if prod(weight.dims) <= 64:
            graph.initializer.append(weight)
        else:
            graph.initializer.add(name=weight.name, dims=weight.dims, data_type=weight.data_type)
    return light
