"""Models of one layer, some of which the builder of TensorRT for RTX refuses for some chips."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def layer(
    operator: str,
    rank: int,
    weights: np.ndarray | None = None,
    kind: int = TensorProto.FLOAT,
    **attributes: Any,
) -> onnx.ModelProto:
    """Return a model of one layer, with 8 channels of 9 values along each further axis."""
    shape = [1, 8, *([9] * (rank - 2))]
    arrays = [] if weights is None else [numpy_helper.from_array(weights, "w")]
    node = helper.make_node(operator, ["x", *("w" for _ in arrays)], ["y"], "node", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        arrays,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def ones(*shape: int) -> np.ndarray:
    """Return float32 weights."""
    return np.ones(shape, np.float32)


LAYERS = {
    "Conv of 1": layer("Conv", 3, ones(8, 8, 3)),
    "Conv of 2": layer("Conv", 4, ones(8, 8, 3, 3)),
    "Conv of 2, depthwise": layer("Conv", 4, ones(8, 1, 3, 3), group=8),
    "Conv of 3": layer("Conv", 5, ones(8, 8, 3, 3, 3)),
    "ConvTranspose of 2": layer("ConvTranspose", 4, ones(8, 8, 3, 3)),
    "ConvTranspose of 3": layer("ConvTranspose", 5, ones(8, 8, 3, 3, 3)),
    "Gemm": layer("Gemm", 2, ones(8, 4)),
    "MatMul": layer("MatMul", 2, ones(8, 4)),
    "MaxPool of 3": layer("MaxPool", 5, kernel_shape=[3, 3, 3]),
    "GlobalAveragePool of 3": layer("GlobalAveragePool", 5),
    "Softmax": layer("Softmax", 2),
    "Relu of uint8": layer("Relu", 4, kind=TensorProto.UINT8),
    "Transpose of uint8": layer("Transpose", 4, kind=TensorProto.UINT8, perm=[0, 2, 3, 1]),
    "rank 9": layer("Relu", 9),
}
