"""A check of an ONNX model against the limits of a target, before the target's own tool fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.graph.model import model_inputs, opset, without_weights
from r2p_edge.export.graph.operator_limits import OPERATOR_LIMITS, OperatorLimits
from r2p_edge.export.graph.operator_rules import node_facts, node_problems
from r2p_edge.spec.checks import some_of

try:
    import onnx
    from onnx.inliner import inline_local_functions
except ImportError as error:
    raise missing("onnx") from error


@dataclass(frozen=True)
class Problem:
    """One part of a model that a target is not known to run.

    Attributes:
        node: its name, "Conv of <output>" if it has none; or the name of an input or the graph.
        operator: with its domain unless that is ONNX's own; or "input" or "graph".
        reason: the value found, and the limit.
        remedy: how to avoid it.
    """

    node: str
    operator: str
    reason: str
    remedy: str


def check_ops(
    model: onnx.ModelProto, target: str, *, precision: str | None = None
) -> list[Problem]:
    """List the parts of a model that `target` is not known to run, in the order of the graph.

    Inner graphs of control flow are checked and local functions expanded. Shapes that cannot be
    inferred are not reported, and neither are the places of Q/DQ nodes.

    Args:
        model: an ONNX model; it is left unchanged.
        target: a key of `r2p_edge.export.graph.operator_limits.OPERATOR_LIMITS`. These are finer
            than the targets of `build`: they tell releases and parts of a runtime apart.
        precision: the precision that the target's tool will compile for: "fp32", "fp16", "int8".

    Raises:
        UsageError: `target` is not in the table.
        ModelError: the model is malformed.
    """
    if target not in OPERATOR_LIMITS:
        raise UsageError(f"target is {target!r}; known are {', '.join(OPERATOR_LIMITS)}")
    limits = OPERATOR_LIMITS[target]
    light = without_weights(model)
    try:
        if light.functions:
            light = inline_local_functions(light)
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
        nodes = list(node_facts(light.graph, {}))
    except Exception as error:  # of onnx or protobuf, without a common base
        raise ModelError(
            f"the model is malformed ({str(error).strip().partition(chr(10))[0][:200]}); "
            "check it with onnx.checker"
        ) from error
    problems = list(_model_problems(light, limits))
    for node in nodes:
        operator = f"{node.domain}.{node.operator}" if node.domain else node.operator
        found = node_problems(node, limits, precision)
        problems += [Problem(node.name, operator, *problem) for problem in found]
    return problems


def require_ops(model: onnx.ModelProto, target: str, *, precision: str | None = None) -> None:
    """Raise an error if the model has parts that `target` is not known to run.

    Args:
        model, target, precision: see `check_ops`.

    Raises:
        ModelError: there are problems; the message names them.
        UsageError: `target` is not in the table.
    """
    problems = check_ops(model, target, precision=precision)
    if not problems:
        return
    # A deep network has the same problem in many nodes.
    groups: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        groups.setdefault((problem.operator, problem.reason), []).append(problem.node)
    texts = [f"{some_of(nodes, 2)} ({key[0]}): {key[1]}" for key, nodes in groups.items()]
    remedies = dict.fromkeys(problem.remedy for problem in problems)
    raise ModelError(
        f"the model does not fit {OPERATOR_LIMITS[target].title}: {some_of(texts, 5, '; ')}; "
        + ", and ".join(remedies)
    )


def _model_problems(model: onnx.ModelProto, limits: OperatorLimits) -> Iterator[Problem]:
    """Yield the problems of the opset and the inputs."""
    graph, version, (low, high) = model.graph, opset(model), limits.opsets
    if version < low or (high is not None and version > high):
        reason = f"opset {version}, where {low} to {high or 'the newest'} can be read"
        wanted = low if version < low else high
        remedy = f"write it with opset {wanted}, as by torch.onnx.export(opset_version={wanted})"
        yield Problem(graph.name, "graph", reason, remedy)
    for value in model_inputs(graph):
        if bad := "".join(c for c in limits.reserved if c in value.name):
            reason = f"{bad!r} in its name, which separates the arguments of the target's tool"
            yield Problem(value.name, "input", reason, "set input.name of the spec to a plain name")
        axes = list(enumerate(value.type.tensor_type.shape.dim))
        start = len(axes) if limits.open_axes is None else limits.open_axes
        if found := [str(i) for i, axis in axes[start:] if not axis.HasField("dim_value")]:
            reason = f"open axes {', '.join(found)}, where sizes must be fixed"
            yield Problem(value.name, "input", reason, "export it with fixed sizes")
