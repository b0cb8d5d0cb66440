"""Refusals of graphs, found on the real MindSpore Lite 2.0.0.

Its parser refuses operators and, in 2.0 for every device, 3-D convolutions. Much of what it
converts with success it cannot load on the CPU. What the real one computes wrongly without a word
this one refuses to load, so that no test can pass on it. The proofs are in
tests/oracles/test_mindspore_lite.py.

Not shown here: that a graph runs at all, beyond these refusals; numbers, which are ONNX Runtime's;
what later releases refuse, of which 3-D convolutions alone are taken to be parsed; speed, memory;
flipped bits in a weight, which the real one does not notice; and all of Ascend.
"""

from __future__ import annotations

from collections import Counter

from onnx import TensorProto, helper, shape_inference

_NO_PARSER = ("HardSwish", "Mish", "Selu", "Mean")
_PAIRS = ("Max", "Min", "Sum")
_WRITTEN = {
    "Conv": ("strides",),
    "ConvTranspose": ("strides", "dilations", "output_padding"),
    "Elu": ("alpha",),
}


def parser_refusal(model, version):
    """Return what the ONNX parser says against a model; None if it takes it."""
    for node in model.graph.node:
        if node.op_type in _NO_PARSER:
            return f"ConvertNodes] not support onnx data type {node.op_type}"
    if version < (2, 1) and has_conv3d(model):
        return "ParseKernelShape] kernel_shape size 3 is not 1 or 2"
    return None


def has_conv3d(model):
    """Return whether a model has 3-D convolutions."""
    ranks = {weight.name: len(weight.dims) for weight in model.graph.initializer}
    return any(
        node.op_type == "Conv" and ranks.get(node.input[1]) == 5 for node in model.graph.node
    )


def load_refusal(model):
    """Return why the CPU cannot load a model; None if it can."""
    if has_conv3d(model):
        return "Not found the kernel of Conv3D"
    graph = shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    readers = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        rank = ranks.get(node.input[0]) if node.input else None
        if node.op_type != "Cast" and kinds.get(node.input[0]) == TensorProto.UINT8:
            return f"FindBackendKernel return nullptr, name: {node.name}, type: {node.op_type}"
        if (
            (node.op_type == "Pad" and len(node.input) > 1 and readers[node.input[1]] > 1)
            or (node.op_type in _PAIRS and len(node.input) != 2)
            or (node.op_type == "InstanceNormalization" and rank == 3)
            or (rank == 4 and not given.keys() >= set(_WRITTEN.get(node.op_type, ())))
        ):
            return f"InferShape failed, name: {node.name}, type: {node.op_type}"
        counted = given.get("count_include_pad", 0) and any(given.get("pads", ()))
        first = min(given.get("axes", [2])) if node.op_type == "ReduceMax" else 2
        if counted or first in (0, 1):
            return f"{node.name} would be computed wrongly"
    return None
