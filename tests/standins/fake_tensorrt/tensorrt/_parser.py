"""The ONNX parser: what it takes and what it refuses."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from ._core import API, ENUMS, GENERATION, Dims, ILogger, Owned, bound, check, log
from ._network import INetworkDefinition, ITensor

__all__ = ["OnnxParser", "ParserError"]

_Code = ENUMS["ErrorCode"]

# fmt: off
_OPERATORS = {
    "Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip",
    "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "DequantizeLinear", "Div",
    "Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather",
    "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "HardSigmoid", "HardSwish",
    "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less", "Log",
    "LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Not", "Or", "PRelu", "Pad",
    "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "Relu", "Reshape", "Resize", "Round", "Selu", "Shape", "Sigmoid",
    "Sin", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
    "Tanh", "Tile", "TopK", "Transpose", "Unsqueeze", "Where",
}
# fmt: on

# The docs/operators.md of onnx-tensorrt's release, where it says; for 10.16 that of 10.13.
_NEWEST_OPSET = {(8, 6): 17, (10, 3): 20, (10, 13): 24, (10, 16): 24, (11, 4): 25}[GENERATION]

_DTYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
}


@bound
class ParserError(Owned):
    def _setup(self, code, desc, node=-1, name="", operator=""):
        self._code, self._desc, self._node = code, desc, node
        self._name, self._operator = name, operator

    def code(self):
        return self._code

    def desc(self):
        return self._desc

    def file(self):
        return "ModelImporter.cpp"

    def func(self):
        return "parseNode"

    def line(self):
        return 726

    def node(self):
        return self._node

    def node_name(self):
        return self._name

    def node_operator(self):
        return self._operator


@bound
class OnnxParser(Owned):
    def __init__(self, network, logger):
        self._network, self._logger = check(network, INetworkDefinition), check(logger, ILogger)
        self._errors = []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        # The real one reads past the end of its list.
        return self._errors[check(index, int)]

    def clear_errors(self):
        self._errors.clear()

    def parse(self, model, path=None):
        try:
            proto = onnx.load_from_string(bytes(memoryview(model)))
        except DecodeError:
            self._fail(_Code.MODEL_DESERIALIZE_FAILED, "Failed to parse the ONNX model.")
            return False
        return self._import(proto, Path(path or "").parent)

    def parse_from_file(self, model):
        try:
            proto = onnx.load(check(model, str), load_external_data=False)
        except (OSError, DecodeError):
            # The real one keeps no error in this case, either.
            log(self._logger, "ERROR", f"Failed to parse ONNX model from file: {model}!")
            return False
        return self._import(proto, Path(model).parent)

    def _fail(self, *details):
        self._errors.append(ParserError._make(*details))
        made = self._errors[-1]
        if made.node() >= 0:
            where = f'{made.node()} [{made._operator} -> "{made._name}"]'
            log(self._logger, "ERROR", f"While parsing node number {where}:")
        log(
            self._logger,
            "ERROR",
            f"ERROR: {made.file()}:{made.line()} In function {made.func()}:\n"
            f"[{int(made.code())}] {made.desc()}",
        )

    def _import(self, model, folder):
        if self._network._implicit_batch:
            self._fail(
                _Code.INVALID_VALUE,
                "Assertion failed: !_importer_ctx.network()->hasImplicitBatchDimension() && "
                '"This version of the ONNX parser only supports TensorRT INetworkDefinitions with '
                "an explicit batch dimension. Please ensure the network was created using the "
                'EXPLICIT_BATCH NetworkDefinitionCreationFlag."',
            )
            return False
        if not model.graph.node:
            self._fail(_Code.MODEL_DESERIALIZE_FAILED, "Failed to parse the ONNX model.")
            return False
        try:
            onnx.load_external_data_for_model(model, str(folder))
        except (OSError, onnx.checker.ValidationError) as error:
            self._fail(_Code.INVALID_GRAPH, f"Failed to open file: {error}")
            return False
        graph = model.graph
        types = {each.data_type for each in graph.initializer}
        if GENERATION < (10,) and TensorProto.INT64 in types:
            log(
                self._logger,
                "WARNING",
                "Your ONNX model has been generated with INT64 weights, while TensorRT does not "
                "natively support INT64. Attempting to cast down to INT32.",
            )
        self._network.name = graph.name
        problems = _Review(model, self._logger).problems()
        # Older ones stop at the first.
        found = list(itertools.islice(problems, 1 if GENERATION < (10,) else None))
        for problem in found:
            self._fail(*problem)
        if not found:
            names = {each.name for each in graph.initializer}
            self._network._take(
                model,
                [_tensor(each) for each in graph.input if each.name not in names],
                [_tensor(each) for each in graph.output],
            )
        return not found


def _dtype(value):
    return _DTYPES.get(value.type.tensor_type.elem_type)


def _tensor(value):
    axes = value.type.tensor_type.shape.dim
    shape = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in axes]
    return ITensor._make(value.name, getattr(ENUMS["DataType"], _dtype(value)), shape)


class _Review:
    """Looks for what the real parser does not take."""

    def __init__(self, model, logger):
        self._model, self._logger = model, logger
        self._constants = {each.name: each for each in model.graph.initializer}

    def problems(self):
        opset = next(each.version for each in self._model.opset_import if not each.domain)
        if opset > _NEWEST_OPSET:
            text = f"Opset {opset} is newer than {_NEWEST_OPSET}, the newest that is supported."
            yield _Code.UNSUPPORTED_GRAPH, text
            return
        for value in (*self._model.graph.input, *self._model.graph.output):
            if _dtype(value) not in API["DataType"]:
                text = "Failed to convert ONNX date type to TensorRT data type."
                yield _Code.UNSUPPORTED_NODE, text
            if len(value.type.tensor_type.shape.dim) > Dims.MAX_DIMS:
                text = "Failed to convert ONNX dimensions to TensorRT dimensions."
                yield _Code.UNSUPPORTED_NODE, text
                return
        for index, node in enumerate(self._model.graph.node):
            for code, text in self._node(node):
                yield code, text, index, node.name or node.output[0], node.op_type
            self._remember_constant(node)

    def _remember_constant(self, node):
        if node.op_type == "Constant":
            self._constants[node.output[0]] = node.attribute[0].t
        elif all(name in self._constants for name in node.input if name):
            self._constants[node.output[0]] = None

    def _node(self, node):
        if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS:
            yield (
                _Code.UNSUPPORTED_NODE,
                'Assertion failed: creator && "Plugin not found, are the plugin name, version, '
                'and namespace correct?"',
            )
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            for text in self._quantization(node):
                yield _Code.UNSUPPORTED_NODE, f"Assertion failed: {text}"

    def _array(self, name):
        proto = self._constants.get(name)
        return None if proto is None else numpy_helper.to_array(proto)

    def _quantization(self, node):
        old = GENERATION < (10,)
        scale = self._array(node.input[1])
        if scale is None:
            yield "(inputs.at(1).is_weights()) && the scale must be an initializer"
            return
        dtypes = ("float32",) if old else ("float32", "float16")
        if str(scale.dtype) not in dtypes:
            yield f"scale must be one of {', '.join(dtypes)}"
        if not (scale > 0).all():
            yield "scale.value() > 0 && all scale factors must be positive"
        if len(node.input) == 3:
            yield from self._zero_point(node.input[2], scale, old)
        elif old:
            yield "(nbInputs == 3) && a zero point is needed"
        if scale.size > 1:
            yield from self._per_axis(node, scale)
        stored = self._array(node.input[0])
        if node.op_type == "DequantizeLinear" and stored is not None and stored.dtype != np.int8:
            yield "only INT8 can be dequantized"

    def _zero_point(self, name, scale, old):
        zero_point = self._array(name)
        if zero_point is None:
            yield "(inputs.at(2).is_weights()) && the zero point must be an initializer"
            return
        if zero_point.dtype == np.uint8 and not old:
            text = "TensorRT doesn't support QuantizeLinear with UINT8 zero_point. INT8 is taken."
            log(self._logger, "WARNING", text)
            signed = numpy_helper.from_array(zero_point.astype(np.int8), name)
            self._constants[name].CopyFrom(signed)
        elif zero_point.dtype != np.int8:
            yield "the zero point must be INT8"
        if zero_point.any():
            yield "TensorRT only supports symmetric quantization"
        if zero_point.size != scale.size:
            yield "zero point and scale must have one size"

    def _per_axis(self, node, scale):
        axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
        weights = self._array(node.input[0])
        if node.input[0] not in self._constants:
            yield "per-axis quantization is for weights only"
        elif weights is not None and weights.shape[axis] != scale.size:
            yield f"scale.size() == {weights.shape[axis]}"
