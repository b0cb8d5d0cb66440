"""A plan of the stand-in: the real header, then a record of the build and the ONNX model.

The real header starts with "ftrt" and four zeros, and has the version at offset 24. That of
TensorRT for RTX starts with "vtrt" and also has the size at 16, and at 32 a bit for each chip.
"""

from __future__ import annotations

import json
import struct

import onnx
import onnxruntime
from onnx import numpy_helper

_HEADER = struct.Struct("<4s4xQQ4BIQ24x")
CHIPS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
HEADER_SIZE = _HEADER.size


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


def session(model):
    """Return the ONNX Runtime session that computes a model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = _with_scales_of_one_type(model)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
