"""A small ONNX graph builder with the operators that a video ResNet needs.

Every tensor is named after the module of the source network whose output it is: `layer2.0.bn1` is
a convolution with batch norm `layer2.0.bn1` folded into it, `layer2.0.bn1.relu` the ReLU
after it. The same network, spec and versions give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from r2p_edge._optional import missing
from r2p_edge._version import __version__
from r2p_edge.artifact.onnx_metadata import METADATA_KEY
from r2p_edge.errors import SpecError, UsageError
from r2p_edge.spec import ModelSpec

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

OPSET = 17
"""The newest opset that TensorRT 8.6, ONNX Runtime 1.12, OpenVINO and all later releases read."""

IR_VERSION = 8
"""The IR version of onnx 1.12, which brought opset 17 (onnx, docs/Versioning.md). A runtime that
knows the opset reads it, while runtimes older than the installed onnx package reject the version
that the package writes by default."""

NORMALIZED = "normalized"
"""Name of the network's normalised input tensor: float32 (N, C, T, H, W)."""


Batch = int | Literal["dynamic"]
"""Size of a batch axis; "dynamic" leaves it open."""

DYNAMIC: Literal["dynamic"] = "dynamic"
"""Name of an open batch axis among the options."""


class BatchNorm(NamedTuple):
    """Statistics and affine parameters of an inference-time batch norm, each of shape (C,)."""

    weight: np.ndarray
    bias: np.ndarray
    running_mean: np.ndarray
    running_var: np.ndarray
    eps: float

    @property
    def factor(self) -> np.ndarray:
        """Factor of each channel, in float64."""
        factor: np.ndarray = self.weight / np.sqrt(self.running_var.astype(np.float64) + self.eps)
        return factor


class GraphBuilder:
    """An ONNX graph under construction, to which every method adds nodes in execution order.

    Attributes:
        nodes, constants, inputs: added so far.
        names: of all tensors so far.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.names: set[str] = set()

    def input(
        self, spec: ModelSpec, batch: Batch, layout: str = "NCTHW", *, normalize: bool = True
    ) -> str:
        """Add the input that `spec` describes, and its conversion to normalised float32.

        Channels stay in the order in which `spec.input.color`, `mean` and `std` list them; the
        graph does not swap them.

        Args:
            spec: describes the input.
            batch: size of the batch axis.
            layout: order of the axes of the result.
            normalize: False for a network that takes the input as it is, but for the layout.

        Returns:
            The name of the converted tensor.

        Raises:
            UsageError: `batch` is not positive.
        """
        check_batch(batch)
        name, given = spec.input.name, spec.input.layout
        pixels = spec.input.dtype == "uint8"
        kind = onnx.TensorProto.UINT8 if pixels else onnx.TensorProto.FLOAT
        shape = (batch_axis(batch), *spec.input_shape[1:])
        self.inputs.append(onnx.helper.make_tensor_value_info(self._claim(name), kind, shape))
        steps: list[tuple[str, list[str], dict[str, Any]]] = []
        if pixels and normalize:
            steps.append(("Cast", [], {"to": onnx.TensorProto.FLOAT}))
        if spec.input.normalized_in_graph and normalize:
            mean, std = np.array(spec.mean), np.array(spec.std)
            # (p * scale - mean) / std in one multiplication and one addition.
            channels = (-1,) if given == "NTHWC" else (-1, 1, 1, 1)
            factor = self._constant("input.factor", (spec.scale / std).reshape(channels))
            offset = self._constant("input.offset", (-mean / std).reshape(channels))
            steps += [("Mul", [factor], {}), ("Add", [offset], {})]
        if layout != given:
            steps.append(("Transpose", [], {"perm": [given.index(axis) for axis in layout]}))
        tensor = name
        for i, (operator, constants, attributes) in enumerate(steps, 1):
            output = NORMALIZED if i == len(steps) else f"input.{operator.lower()}"
            tensor = self._node(operator, [tensor, *constants], output, **attributes)
        return tensor

    def cast(self, x: str, kind: int, output: str) -> str:
        """Add a Cast of `x` to a type of `onnx.TensorProto`; return its output."""
        return self._node("Cast", [x], output, to=kind)

    def reshape(self, x: str, shape: Sequence[int], output: str) -> str:
        """Add a Reshape of `x`, where 0 leaves an axis as it is; return its output."""
        return self._node("Reshape", [x, self._whole(f"{output}.shape", shape)], output)

    def flatten(self, x: str, output: str) -> str:
        """Add a Flatten of `x` to (N, all other elements); return its output."""
        return self._node("Flatten", [x], output, axis=1)

    def mean(self, x: str, axes: Sequence[int], opset: int, output: str) -> str:
        """Add a mean over some axes, which are removed; return its output."""
        if opset < 18:
            return self._node("ReduceMean", [x], output, axes=list(axes), keepdims=0)
        constant = self._whole(f"{output}.axes", axes)
        return self._node("ReduceMean", [x, constant], output, keepdims=0)

    def conv(
        self,
        name: str,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray | None,
        norm: BatchNorm | None,
        output: str,
        *,
        stride: Sequence[int] = (1, 1, 1),
        pads: Sequence[int] | None = None,
    ) -> str:
        """Add a convolution and the batch norm after it as one Conv; return its output.

        Args:
            name: of the convolution in the source network.
            x: name of the input tensor, (N, C, T, H, W).
            weight: (O, C, kt, kh, kw).
            bias: (O,), if it has one.
            norm: of O channels, if there is one; folded in float64 and rounded to float32 once.
            output: name of the output tensor.
            stride: along T, H and W.
            pads: zeros before T, H and W and behind them; half a kernel on both sides by default.
        """
        shift = np.zeros(len(weight)) if bias is None else bias
        if norm is not None:
            factor = norm.factor
            weight = weight * factor[:, None, None, None, None]
            shift = norm.bias - (norm.running_mean - shift) * factor
        half = [size // 2 for size in weight.shape[2:]]
        constants = [
            self._constant(f"{name}.weight", weight),
            self._constant(f"{name}.bias", shift),
        ]
        return self._node(
            "Conv",
            [x, *constants],
            output,
            name=name,
            kernel_shape=list(weight.shape[2:]),
            strides=list(stride),
            pads=[*half, *half] if pads is None else list(pads),
        )

    def norm(self, x: str, norm: BatchNorm, output: str) -> str:
        """Add a batch norm that follows no convolution; return its output."""
        shape = (-1, 1, 1, 1)
        factor = self._constant(f"{output}.factor", norm.factor.reshape(shape))
        offset = norm.bias - norm.running_mean * norm.factor
        scaled = self._node("Mul", [x, factor], f"{output}.scaled")
        shift = self._constant(f"{output}.offset", offset.reshape(shape))
        return self._node("Add", [scaled, shift], output)

    def pool(
        self,
        x: str,
        kernel: Sequence[int],
        stride: Sequence[int],
        output: str,
        pads: Sequence[int] | None = None,
    ) -> str:
        """Add a max pool, padded as a convolution is by default; return its output."""
        half = [(size - 1) // 2 for size in kernel]
        return self._node(
            "MaxPool",
            [x],
            output,
            kernel_shape=list(kernel),
            strides=list(stride),
            pads=[*half, *half] if pads is None else list(pads),
        )

    def average(self, x: str, kernel: Sequence[int], output: str) -> str:
        """Add an average pool without padding, of steps of one; return its output."""
        return self._node("AveragePool", [x], output, kernel_shape=list(kernel))

    def concat(self, parts: Sequence[str], output: str) -> str:
        """Add the channels of tensors side by side; return the output."""
        return self._node("Concat", list(parts), output, axis=1)

    def relu(self, x: str, output: str) -> str:
        """Add a Relu of `x` and return its output."""
        return self._node("Relu", [x], output)

    def add(self, a: str, b: str, output: str) -> str:
        """Add the sum of `a` and `b` and return its output."""
        return self._node("Add", [a, b], output)

    def global_mean(self, x: str) -> str:
        """Add the mean over T, H and W: (N, C, T, H, W) to (N, C); return its output."""
        return self._node("ReduceMean", [x], "pool", axes=[2, 3, 4], keepdims=0)

    def linear(self, name: str, x: str, weight: np.ndarray, bias: np.ndarray, output: str) -> str:
        """Add a linear layer: (N, C) to (N, len(weight)); return its output."""
        constants = [self._constant(f"{name}.weight", weight), self._constant(f"{name}.bias", bias)]
        return self._node("Gemm", [x, *constants], output, name=name, transB=1)

    def model(self, name: str, output: str, shape: Sequence[int | str]) -> onnx.ModelProto:
        """Return the finished model, with one float32 output named `output` of the given shape."""
        outputs = [onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, shape)]
        graph = onnx.helper.make_graph(
            self.nodes, name, self.inputs, outputs, initializer=self.constants
        )
        return onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="r2p_edge",
            producer_version=__version__,
        )

    def _node(
        self, operator: str, inputs: list[str], output: str, name: str = "", **attributes: Any
    ) -> str:
        self._claim(output)
        node = onnx.helper.make_node(operator, inputs, [output], name=name or output, **attributes)
        self.nodes.append(node)
        return output

    def _constant(self, name: str, value: np.ndarray) -> str:
        array = np.ascontiguousarray(value, dtype=np.float32)
        self.constants.append(onnx.numpy_helper.from_array(array, self._claim(name)))
        return name

    def _whole(self, name: str, values: Sequence[int]) -> str:
        array = np.array(values, np.int64)
        self.constants.append(onnx.numpy_helper.from_array(array, self._claim(name)))
        return name

    def _claim(self, name: str) -> str:
        if name in self.names:
            raise SpecError(
                f"input or output is named {name!r}, which is a tensor inside the network; "
                "choose another name"
            )
        self.names.add(name)
        return name


def embed_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Write `spec` to the model's metadata in place, over an older one."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = spec.to_json()
            return
    model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())


def check_batch(batch: Batch) -> None:
    """Raise UsageError unless `batch` can be the size of a batch axis."""
    right = batch >= 1 if isinstance(batch, int) else batch == DYNAMIC
    if not right:
        raise UsageError(f"batch is {batch}; it must be 1 or more, or {DYNAMIC}")


def batch_axis(batch: Batch) -> int | str:
    """Return a batch as the size of an axis, or the name of an open one."""
    return "N" if isinstance(batch, str) else batch
