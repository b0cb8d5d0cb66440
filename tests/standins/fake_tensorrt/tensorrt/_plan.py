"""A plan of the stand-in: the real header, then a record of the build and the ONNX model.

The real header starts with "ftrt" and four zeros, and has the version at offset 24. That of
TensorRT for RTX starts with "vtrt" and also has the size at 16, and at 32 a bit for each chip.
"""

from __future__ import annotations

import json
import struct

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

_HEADER = struct.Struct("<4s4xQQ4BIQ24x")
CHIPS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
HEADER_SIZE = _HEADER.size

_REQUEST = (
    "Tactic Device request: 1000MB Available: 302MB. Device memory is insufficient to use tactic."
)
_NEW = "UNSUPPORTED_STATE: Skipping tactic 44 due to insufficient memory on requested size of "
SKIPPED = {
    8: (
        _REQUEST,
        "Skipping tactic 3 due to insuficient memory on requested size of 1000 detected for tactic "
        "4.\nTry decreasing the workspace size with IBuilderConfig::setMaxWorkspaceSize().",
    ),
    10: (_REQUEST, f"{_NEW}1048576000 detected for tactic 0x6e2a3c7a7fc5e4e1."),
    11: (_REQUEST,),
}
"""Warnings of the builder, by major version, about a kernel that it has no memory to try.

From logs in ultralytics/yolov5, issue 12248, and ultralytics/ultralytics, issue 22271 (an AGX
Orin); of 11, the only one of them whose words are in the library of TensorRT for RTX 1.7.1.
"""


class PlanError(Exception):
    """An error that the real library logs, with its code."""


def write(numbers, record, model):
    text = json.dumps(record).encode()
    size = _HEADER.size + len(text) + len(model)
    tag = b"vtrt" if "chips" in record else b"ftrt"
    bits = sum(1 << CHIPS.index(chip) for chip in record.get("chips", ()))
    return _HEADER.pack(tag, size, size, *numbers, len(text), bits) + text + model


def chips(plan):
    """Return the chips in a header of TensorRT for RTX."""
    bits = _HEADER.unpack_from(plan)[-1]
    return [chip for index, chip in enumerate(CHIPS) if bits >> index & 1]


def read(plan, numbers=None, tags=(b"ftrt", b"vtrt")):
    """Return the record and the model; raise PlanError if a library of `numbers` refuses it."""
    if plan[:4] not in tags:
        raise PlanError(
            1, "Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed."
        )
    if len(plan) < _HEADER.size:
        raise PlanError(1, "Serialization assertion sizeRead == kHEADER_SIZE failed.")
    _, size, _, *found, length, _ = _HEADER.unpack_from(plan)
    if numbers and tuple(found) != tuple(numbers):
        expected, got = (".".join(map(str, each)) for each in (numbers, found))
        raise PlanError(
            6,
            "The engine plan file is not compatible with this version of TensorRT, expecting "
            f"library version {expected} got {got}, please rebuild.",
        )
    if len(plan) < size:
        raise PlanError(1, f"Serialization assertion sizeRead == {size} failed.")
    start = _HEADER.size + length
    return json.loads(plan[_HEADER.size : start]), plan[start:size]


def _with_scales_of_one_type(content):
    """Return a model that ONNX Runtime 1.32 runs: float32 scales between float16 become that."""
    model = onnx.load_from_string(content)
    nodes = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    if not any(each.name == "output_dtype" for node in nodes for each in node.attribute):
        return content
    scales = {node.input[1] for node in nodes}
    for node in nodes:
        kept = [each for each in node.attribute if each.name != "output_dtype"]
        del node.attribute[:]
        node.attribute.extend(kept)
    for weight in model.graph.initializer:
        if weight.name in scales:
            half = numpy_helper.to_array(weight).astype("float16")
            weight.CopyFrom(numpy_helper.from_array(half, weight.name))
    model.opset_import[0].version, model.ir_version = 19, 9
    return model.SerializeToString()


def session(model, record=None):
    """Return the ONNX Runtime session that computes a model, or the engine of a record."""
    if record is not None and not record["typed"] and "FP16" in record["flags"]:
        model = _in_halves(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = _with_scales_of_one_type(model)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _in_halves(content):
    """Return a model with weights, and what passes between layers, rounded to float16.

    A number beyond 65504 becomes infinite, as on a GPU. A quantised model stays as it is, since its
    convolutions are int8.
    """
    model = onnx.load_model_from_string(content)
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return content
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {each.name: each.type.tensor_type.elem_type for each in inferred.value_info}
    kinds |= {each.name: each.type.tensor_type.elem_type for each in inferred.output}
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            with np.errstate(over="ignore"):
                half = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(half.astype(np.float32), weight.name))
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for number, name in enumerate(node.output):
            if kinds.get(name) == TensorProto.FLOAT:
                node.output[number] = f"{name}/full"
                steps = (
                    (f"{name}/full", f"{name}/half", TensorProto.FLOAT16),
                    (f"{name}/half", name, TensorProto.FLOAT),
                )
                nodes += [helper.make_node("Cast", [a], [b], to=kind) for a, b, kind in steps]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()
