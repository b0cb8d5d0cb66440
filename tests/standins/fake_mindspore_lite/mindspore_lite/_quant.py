"""The stand-in's full quantization for the CPU, after the real one's tools/converter/quantizer.

What config_parser/quant_param_parser.cc and preprocess_parser.cc refuse is refused; the model
computes in float on values that were rounded to int8's steps. KL's and REMOVAL_OUTLIER's ranges are
those of MAX_MIN here.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

_LAYERS = ("Conv", "MatMul", "Gemm")  # full_quant_quantizer.cc, InitCpuConfig
_VALUES = {
    "bit_num": ("8",),
    "input_type": ("IMAGE", "BIN"),
    "activation_quant_method": ("MAX_MIN", "KL", "REMOVAL_OUTLIER"),
    "bias_correction": ("true", "false"),
    "per_channel": ("true", "false"),
}


class QuantError(Exception):
    """Why the model cannot be quantized."""


def quantize(model, sections):
    """Round a model in place; return {tensor: (lowest, highest)} of the samples."""
    data, full = sections.get("data_preprocess_param", {}), sections.get("full_quant_param", {})
    for key, value in {**sections["common_quant_param"], **data, **full}.items():
        if key in _VALUES and value not in _VALUES[key]:
            raise QuantError(f"INPUT ILLEGAL: {key} must be {'|'.join(_VALUES[key])}.")
    if "target_device" in full:
        raise QuantError(f"{full['target_device']} is no target of this stand-in")
    if data.get("input_type") != "BIN":
        raise QuantError("missing file, improper permissions, unsupported or invalid format.")
    inputs = _samples(model, data)
    weights = {each.name: each for each in model.graph.initializer}
    layers = [
        node
        for node in model.graph.node
        if node.op_type in _LAYERS and node.input[0] not in weights and node.input[1] in weights
    ]
    ranges = _ranges(model, [node.input[0] for node in layers], inputs)
    for name, kind in {node.input[1]: node.op_type for node in layers}.items():
        _round_weight(weights[name], kind == "Conv" and full.get("per_channel") == "true")
    _round_activations(model, {node.output[0] for node in layers}, ranges)
    return ranges


def _samples(model, data):
    """Yield each file as the model's input, in the order in which the real one takes them."""
    if "calibrate_path" not in data:
        raise QuantError("calibrate path must pass.")
    size = int(data.get("calibrate_size", "0"))
    if not 1 <= size <= 65535:
        raise QuantError("calibrate size must pass and the size should in [1, 65535].")
    pairs = data["calibrate_path"].split(",")
    found = dict(re.fullmatch("(.*):(.*)", pair).groups() for pair in pairs)
    (entry,) = model.graph.input
    if entry.name not in found:
        raise QuantError(f"Cant find input:{entry.name}")
    folder = Path(found[entry.name])
    if not folder.is_dir():
        raise QuantError(f"cant open dir: {folder}")
    # With . and .., of which it expects that they come first.
    names = sorted([".", "..", *(file.name for file in folder.iterdir())])
    if len(names) < size + 2:
        raise QuantError(f"file count less than calibrate size, file count: {len(names)}")
    kind = entry.type.tensor_type
    shape = [each.dim_value for each in kind.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    for name in set(names[: size + 2]) - {".", ".."}:
        content = (folder / name).read_bytes()
        if len(content) != np.prod(shape) * dtype.itemsize:
            raise QuantError(
                "the input data is not consistent with model input, file_size: "
                f"{len(content)} input tensor size: {np.prod(shape) * dtype.itemsize}"
            )
        yield {entry.name: np.frombuffer(content, dtype).reshape(shape)}


def _ranges(model, names, inputs):
    """Return the extremes of tensors over the samples and zero."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    names = list(dict.fromkeys(names))
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    lowest, highest = np.zeros(len(names)), np.zeros(len(names))
    for feeds in inputs:
        values = session.run(None, feeds)
        lowest = np.minimum(lowest, [value.min() for value in values])
        highest = np.maximum(highest, [value.max() for value in values])
    return {name: pair for name, *pair in zip(names, lowest.tolist(), highest.tolist())}


def _round_weight(weight, per_channel):
    value = numpy_helper.to_array(weight)
    axes = tuple(range(1, value.ndim)) if per_channel else None
    step = np.maximum(np.abs(value).max(axis=axes, keepdims=True), 1e-30) / 127
    weight.CopyFrom(numpy_helper.from_array(np.round(value / step) * step, weight.name))


def _round_activations(model, outputs, ranges):
    """Put Q and DQ before the layers of these outputs."""
    nodes = list(model.graph.node)
    made = {}
    for name, (low, high) in ranges.items():
        step = max((high - low) / 255, 1e-30)
        constants = {"step": np.float32(step), "zero": np.uint8(round(-low / step))}
        for what, value in constants.items():
            tensor = numpy_helper.from_array(np.asarray(value), f"{name}/{what}")
            model.graph.initializer.append(tensor)
        pair = [f"{name}/step", f"{name}/zero"]
        made[name] = [
            helper.make_node("QuantizeLinear", [name, *pair], [f"{name}/q"]),
            helper.make_node("DequantizeLinear", [f"{name}/q", *pair], [f"{name}/dq"]),
        ]
    del model.graph.node[:]
    for node in nodes:
        if node.output[0] in outputs:
            model.graph.node.extend(made.pop(node.input[0], []))
            node.input[0] = f"{node.input[0]}/dq"
        model.graph.node.append(node)
