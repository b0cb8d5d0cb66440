"""The lowering of each ONNX operator to a form without tensors of rank > 4."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import onnx

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.conv2d.arithmetic import (
    lower_batch_norm,
    lower_cast,
    lower_elementwise,
    lower_global_pool,
    lower_in_layout,
    lower_on_last_axis,
    lower_quantisation,
    lower_reduction,
    lower_softmax,
)
from r2p_edge.export.graph.conv2d.builder import LoweredGraph, LoweringError, Value
from r2p_edge.export.graph.conv2d.convolutions import lower_convolution
from r2p_edge.export.graph.conv2d.layout import MAX_RANK, contiguous_layout
from r2p_edge.export.graph.conv2d.movement import (
    lower_concat,
    lower_gather,
    lower_pad,
    lower_repeat,
    lower_reshape,
    lower_slice,
    lower_split,
    lower_transpose,
)
from r2p_edge.export.graph.conv2d.plain import (
    lower_elu,
    lower_flat_average,
    lower_flat_convolution,
    lower_flat_norm,
    lower_hard_swish,
    lower_pairwise,
)
from r2p_edge.export.graph.conv2d.pools import lower_pool
from r2p_edge.export.graph.static import StaticGraph

Lowering = Callable[[LoweredGraph, onnx.NodeProto], None]

_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Div
    Dropout Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    IsInf IsNaN LeakyRelu Less LessOrEqual Log Mean Mish Mod Mul Neg Not Or PRelu Pow
    Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Swish
    Tan Tanh ThresholdedRelu Where Xor
""".split()  # noqa: SIM905  one name per line would fill a page

_REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare
""".split()  # noqa: SIM905

LOWERINGS: dict[str, Lowering] = {
    **dict.fromkeys(_ELEMENTWISE, lower_elementwise),
    **dict.fromkeys(_REDUCTIONS, lower_reduction),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"), lower_reshape),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), lower_quantisation),
    **dict.fromkeys(("Softmax", "LogSoftmax"), lower_softmax),
    **dict.fromkeys(("MatMul", "LayerNormalization"), lower_on_last_axis),
    **dict.fromkeys(("Expand", "Tile"), lower_repeat),
    **dict.fromkeys(("MaxPool", "AveragePool"), lower_pool),
    "BatchNormalization": lower_batch_norm,
    "Cast": lower_cast,
    "Concat": lower_concat,
    "Conv": lower_convolution,
    "Gather": lower_gather,
    "GlobalAveragePool": partial(lower_global_pool, "ReduceMean"),
    "GlobalMaxPool": partial(lower_global_pool, "ReduceMax"),
    "InstanceNormalization": partial(lower_in_layout, ((0,), (1,), (2,), (3, 4))),
    **dict.fromkeys(("Max", "Min", "Sum"), lower_pairwise),
    "Elu": lower_elu,
    "HardSwish": lower_hard_swish,
    "Pad": lower_pad,
    "Slice": lower_slice,
    "Split": lower_split,
    "Transpose": lower_transpose,
}
"""The lowering of each operator, for nodes with a tensor of rank > 4."""

_FLAT: dict[str, Lowering] = {
    **dict.fromkeys(("Max", "Min", "Sum"), lower_pairwise),
    **dict.fromkeys(("Conv", "ConvTranspose"), lower_flat_convolution),
    "AveragePool": lower_flat_average,
    "Elu": lower_elu,
    "HardSwish": lower_hard_swish,
    "InstanceNormalization": lower_flat_norm,
    "ReduceMax": lower_reduction,
}
# Those of nodes whose tensors have rank <= 4 and would otherwise be copied.


def lowered(
    source: StaticGraph, opset: int, inputs: Iterable[str], outputs: Iterable[str]
) -> LoweredGraph:
    """Lower all nodes of a model.

    Args:
        source: the model.
        opset: of the model.
        inputs, outputs: names of the model's inputs and outputs, which keep their shapes.

    Raises:
        ModelError: nodes or outputs have no form of rank <= 4; the message names them all.
    """
    graph = LoweredGraph(source, opset)
    for name in inputs:
        graph.feed(name)
    problems: list[str] = []
    for node in source.nodes:
        graph.place = next(filter(None, node.output))
        if problems and any(name not in source.shapes for name in node.input if name):
            continue  # follows from a problem that is reported already
        try:
            _lower(graph, node)
        except LoweringError as reason:
            problems.append(f"{node.name or node.output[0]} ({node.op_type}: {reason})")
        # Go on after a problem, as other nodes may have problems of their own.
        for name in source.shapes.keys() & node.output - graph.values.keys():
            shape = source.shapes[name]
            graph.values[name] = Value(name, shape, contiguous_layout(shape))
    for name in outputs:
        if len(source.shapes.get(name, ())) > MAX_RANK:
            problems.append(f"the output {name} (it has {len(source.shapes[name])} axes)")
        elif name in graph.values and graph.values[name].name != name:
            graph.emit("Identity", [graph.values[name].name], name)
    # MindSpore Lite 2.0 changes the numbers of a Pad in place, once for each node that reads them.
    graph.unshare("Pad", 1)
    if problems:
        raise ModelError(
            f"the model has no form without 3-D operators because of {', '.join(problems)}; "
            "replace these in its source and export it again"
        )
    return graph


def _lower(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    shapes = graph.source.shapes
    names = [name for name in (*node.input, *node.output) if name]
    unknown = [name for name in names if name not in shapes]
    if any(each.HasField("g") or each.graphs for each in node.attribute):
        raise LoweringError("control flow is not looked into")
    if unknown:
        raise LoweringError(f"the shape of {unknown[0]} is not known before it runs")
    flat = all(len(shapes[name]) <= MAX_RANK for name in names)
    lowering = (_FLAT if flat else LOWERINGS).get(node.op_type)
    if lowering is not None and node.domain in ("", "ai.onnx"):
        lowering(graph, node)
    elif flat:
        graph.copy(node, [graph.plain(name) for name in node.input])
    else:
        raise LoweringError("it has more than four axes")
