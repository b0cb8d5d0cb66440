"""Evidence in an ONNX model of someone else: its mode, its precision, and its outputs' kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, SpecError
from r2p_edge.export.graph.model import attributes, malformed_is_error, opset
from r2p_edge.spec import ModelSpec, OutputKind

try:
    import onnx
    from onnx import TensorProto, numpy_helper
except ImportError as error:
    raise missing("onnx") from error

_INTEGER = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QAttention",
        "QGemm",
        "QuantizeLinear",
    }
)
_MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedGemm", "FusedMatMul")

# What may stand between the function at a network's end and its output.
_REARRANGING = frozenset(
    {
        "Cast",
        "DequantizeLinear",
        "Flatten",
        "GlobalAveragePool",
        "Identity",
        "QuantizeLinear",
        "ReduceMean",
        "Reshape",
        "Slice",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
_ENDS: dict[str, OutputKind] = {
    "Softmax": "probabilities",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "sigmoid",
    "QLinearSoftmax": "probabilities",
    "QLinearSigmoid": "sigmoid",
}


@malformed_is_error()
def require_evaluation_mode(model: onnx.ModelProto) -> None:
    """Check that no layer of a model behaves as in training.

    Raises:
        ModelError: a batch norm takes its statistics from the clip, or a dropout is active.
    """
    version, constants = opset(model), _constants(model)
    norms = [node for node in _nodes(model) if _trains(node, version)]
    dropouts = [node for node in _nodes(model) if _drops(node, version, constants)]
    if not (norms or dropouts):
        return
    found = []
    if norms:
        found.append(f"{len(norms)} batch norms that compute their statistics from each clip")
    if dropouts:
        found.append(f"{len(dropouts)} dropouts that are active")
    first = (norms or dropouts)[0]
    raise ModelError(
        f"the model was exported in training mode: it has {' and '.join(found)} (the first is "
        f"{first.name or first.output[0]}), so its answers are not those of the trained network; "
        "export it again after model.eval(), with training=TrainingMode.EVAL"
    )


@malformed_is_error()
def source_precision(model: onnx.ModelProto) -> Literal["fp32", "fp16", "bf16", "int8"]:
    """Return the precision of a model's arithmetic, from its operators and weights."""
    if any(node.op_type in _INTEGER or "QLinear" in node.op_type for node in _nodes(model)):
        return "int8"
    types = {name: tensor.data_type for name, tensor in _constants(model).items()}
    half = {
        types.get(name)
        for node in _nodes(model)
        if node.op_type in _MULTIPLYING
        for name in node.input[:2]
    }
    if TensorProto.FLOAT16 in half:
        return "fp16"
    return "bf16" if TensorProto.BFLOAT16 in half else "fp32"


@malformed_is_error()
def found_kind(model: onnx.ModelProto, output: str) -> OutputKind | None:
    """Return the kind of the output `output`, where the last nodes show it; else None."""
    makers = {name: node for node in model.graph.node for name in node.output}
    functions = {(each.domain, each.name): each for each in model.functions}
    name = output
    for _ in range(len(model.graph.node) + 1):
        node = makers.get(name)
        if node is None or not node.input:
            return None
        inner = functions.get((node.domain, node.op_type))
        if inner is not None:  # a layer as a function, as some exporters write it
            last = [each for each in inner.node if set(each.output) & set(inner.output)]
            return _ENDS.get(last[0].op_type) if last else None
        if node.op_type in _ENDS:
            return _ENDS[node.op_type]
        if node.op_type not in _REARRANGING:
            return None
        name = node.input[0]
    return None


def check_kind(spec: ModelSpec, found: OutputKind | None) -> None:
    """Check that `spec.output.kind` does not contradict a model's last nodes.

    Args:
        spec: the contract.
        found: the kind that the nodes show, which has to be the spec's, unless that is "values" or
            "features", which promise nothing.

    Raises:
        SpecError: it does, or one output is to be one of several classes.
    """
    kind = spec.output.kind
    if found is not None and kind not in (found, "values", "features"):
        ends = {"probabilities": "a softmax", "sigmoid": "a sigmoid"}[found]
        raise SpecError(
            f"the model ends in {ends}, but the spec says {kind}; set output.kind to {found} "
            f"(--output-kind {found})"
        )
    if kind in ("logits", "probabilities") and len(spec.labels) == 1:
        raise SpecError(
            f"the model has one output and the spec says {kind}, of which a single class always "
            "has 100%; set output.kind to values (--output-kind values) for a number, or to "
            "sigmoid for a probability"
        )


def check_scores(spec: ModelSpec, outputs: np.ndarray) -> None:
    """Check that a model's outputs, (clips, classes), are of the kind that the spec says.

    Raises:
        SpecError: they are not.
    """
    kind, low, high = spec.output.kind, outputs.min(), outputs.max()
    shares = low >= -1e-3 and np.abs(outputs.sum(axis=1) - 1).max() < 1e-3
    if kind == "logits" and shares and low >= 0:
        raise SpecError(
            "the model's outputs are never negative and sum to 1, but the spec calls them logits; "
            "set output.kind to probabilities (--output-kind probabilities), or softmax would be "
            "applied twice"
        )
    if kind == "probabilities" and not shares:
        raise SpecError(
            f"the model's outputs go from {low:.3g} to {high:.3g} and do not sum to 1, but the "
            "spec calls them probabilities; set output.kind to logits, sigmoid or values "
            "(--output-kind)"
        )
    if kind == "sigmoid" and not (low >= -1e-3 and high <= 1 + 1e-3):
        raise SpecError(
            f"the model's outputs go from {low:.3g} to {high:.3g}, but the spec calls them "
            "sigmoids, which are from 0 to 1; set output.kind to logits or values (--output-kind)"
        )


def _trains(node: onnx.NodeProto, version: int) -> bool:
    if node.op_type != "BatchNormalization":
        return False
    given = attributes(node)
    if version >= 14:
        return bool(given.get("training_mode"))
    # Before opset 14 further outputs stand for training, before 7 an attribute.
    return bool(sum(map(bool, node.output)) > 1 or (version < 7 and not given.get("is_test", 0)))


def _drops(node: onnx.NodeProto, version: int, constants: dict[str, TensorProto]) -> bool:
    if node.op_type != "Dropout":
        return False
    if version < 7:
        return not attributes(node).get("is_test", 0)
    if version < 12 or len(node.input) < 3 or not node.input[2]:
        return False
    mode = constants.get(node.input[2])
    ratio = constants.get(node.input[1]) if node.input[1] else None
    nothing = ratio is not None and not numpy_helper.to_array(ratio).any()
    return not nothing and (mode is None or bool(numpy_helper.to_array(mode).any()))


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a model, those of inner graphs and functions too."""
    yield from _all(model.graph.node)
    for function in model.functions:
        yield from _all(function.node)


def _all(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _all(graph.node)


def _constants(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Return the constants of a model by name, but for those that are no tensors."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in _nodes(model):
        if node.op_type == "Constant":
            found.update(
                (node.output[0], each.t) for each in node.attribute if each.name == "value"
            )
    return found
