"""A small ONNX graph builder: the operators that a video ResNet needs, and their names.

Every tensor is named for the module of the source network whose output it is: `layer2.0.bn1` is
a convolution with batch norm `layer2.0.bn1` folded into it, `layer2.0.bn1.relu` what follows.
The same network, spec and versions give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from r2p_edge._optional import missing
from r2p_edge._version import __version__
from r2p_edge.artifact.onnx_metadata import METADATA_KEY
from r2p_edge.errors import SpecError, UsageError
from r2p_edge.spec import ModelSpec

try:
    import onnx
except ImportError as error:
    raise missing("onnx", "export") from error

OPSET = 17
"""What TensorRT 8.6, OpenVINO, ONNX Runtime 1.12 and all later ones read."""

IR_VERSION = 8
"""That of onnx 1.12, the release that brought opset 17 (onnx, docs/Versioning.md): whatever knows
the opset reads it, while the number that a new onnx package writes by default is refused by
runtimes older than that package."""

NORMALIZED = "normalized"
"""Name of the tensor that enters the network proper: float32 (N, 3, T, H, W)."""


class BatchNorm(NamedTuple):
    """Statistics and affine parameters of an inference-time batch norm, each of shape (C,)."""

    weight: np.ndarray
    bias: np.ndarray
    running_mean: np.ndarray
    running_var: np.ndarray
    eps: float


class GraphBuilder:
    """Collects nodes in the order of execution; every method returns its output's name.

    Attributes:
        nodes, constants, inputs: what was added so far.
        names: of all tensors so far.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.names: set[str] = set()

    def input(self, spec: ModelSpec, batch: int) -> str:
        """The model's input as `spec` describes it, turned into normalised float32 NCTHW.

        Channels are taken in the order in which `spec.input.color`, `mean` and `std` list them;
        the graph swaps none.
        """
        check_batch(batch)
        name, layout = spec.input.name, spec.input.layout
        pixels = spec.input.dtype == "uint8"
        kind = onnx.TensorProto.UINT8 if pixels else onnx.TensorProto.FLOAT
        shape = (batch, *spec.input_shape[1:])
        self.inputs.append(onnx.helper.make_tensor_value_info(self._claim(name), kind, shape))
        steps: list[tuple[str, list[str], dict[str, Any]]] = []
        if pixels:
            steps.append(("Cast", [], {"to": onnx.TensorProto.FLOAT}))
        if spec.input.normalized_in_graph:
            mean, std = np.array(spec.mean), np.array(spec.std)
            # (p * scale - mean) / std in one multiplication and one addition.
            channels = (3,) if layout == "NTHWC" else (3, 1, 1, 1)
            factor = self._constant("input.factor", (spec.scale / std).reshape(channels))
            offset = self._constant("input.offset", (-mean / std).reshape(channels))
            steps += [("Mul", [factor], {}), ("Add", [offset], {})]
        if layout == "NTHWC":
            steps.append(("Transpose", [], {"perm": [0, 4, 1, 2, 3]}))
        tensor = name
        for i, (operator, constants, attributes) in enumerate(steps, 1):
            output = NORMALIZED if i == len(steps) else f"input.{operator.lower()}"
            tensor = self._node(operator, [tensor, *constants], output, **attributes)
        return tensor

    def conv(
        self,
        name: str,
        x: str,
        weight: np.ndarray,
        norm: BatchNorm,
        output: str,
        *,
        stride: Sequence[int] = (1, 1, 1),
        padding: Sequence[int] = (0, 0, 0),
    ) -> str:
        """A bias-free convolution and the batch norm after it, as one Conv.

        Args:
            name: of the convolution in the source network.
            x: the input tensor, (N, C, T, H, W).
            weight: (O, C, kt, kh, kw).
            norm: of O channels; folded in float64, rounded to float32 once.
            output: name of the result.
            stride: along T, H and W.
            padding: zeros on both sides of T, H and W.
        """
        factor = norm.weight / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
        folded = weight * factor[:, None, None, None, None]
        bias = norm.bias - norm.running_mean * factor
        constants = [self._constant(f"{name}.weight", folded), self._constant(f"{name}.bias", bias)]
        return self._node(
            "Conv",
            [x, *constants],
            output,
            name=name,
            kernel_shape=list(weight.shape[2:]),
            strides=list(stride),
            pads=[*padding, *padding],
        )

    def relu(self, x: str, output: str) -> str:
        return self._node("Relu", [x], output)

    def add(self, a: str, b: str, output: str) -> str:
        return self._node("Add", [a, b], output)

    def head(self, x: str, weight: np.ndarray, bias: np.ndarray, output: str) -> str:
        """Mean over T, H and W, then the classifier `fc`: (N, C, T, H, W) to (N, classes)."""
        pooled = self._node("ReduceMean", [x], "pool", axes=[2, 3, 4], keepdims=0)
        constants = [self._constant("fc.weight", weight), self._constant("fc.bias", bias)]
        return self._node("Gemm", [pooled, *constants], output, name="fc", transB=1)

    def model(self, name: str, output: str, shape: Sequence[int | str]) -> onnx.ModelProto:
        """The finished model, with the one float32 output `output` of the given shape."""
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

    def _claim(self, name: str) -> str:
        if name in self.names:
            raise SpecError(
                f"input or output is named {name!r}, which is a tensor inside the network; "
                "choose another name"
            )
        self.names.add(name)
        return name


def embed_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Puts `spec` into the model's metadata in place, instead of one that was there."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = spec.to_json()
            return
    model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())


def check_batch(batch: int) -> None:
    """Raises UsageError where `batch` cannot be the size of a batch axis."""
    if batch < 1:
        raise UsageError(f"batch is {batch}; it must be 1 or more")
