"""A plan of the stand-in: the real header, then a record of the build and the ONNX model.

The real header starts with "ftrt" and four zeros, and has the version at offset 24.
"""

from __future__ import annotations

import json
import struct

import onnxruntime

_HEADER = struct.Struct("<4s4xQ8x4BI")


class PlanError(Exception):
    """An error that the real library logs, with its code."""


def write(numbers, record, model):
    text = json.dumps(record).encode()
    size = _HEADER.size + len(text) + len(model)
    return _HEADER.pack(b"ftrt", size, *numbers, len(text)) + text + model


def read(plan, numbers=None):
    """Return the record and the model; raise PlanError if a library of `numbers` refuses it."""
    if plan[:4] != b"ftrt":
        raise PlanError(
            1, "Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed."
        )
    if len(plan) < _HEADER.size:
        raise PlanError(1, "Serialization assertion sizeRead == kHEADER_SIZE failed.")
    _, size, *found, length = _HEADER.unpack_from(plan)
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


def session(model):
    """Return the ONNX Runtime session that computes a model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
