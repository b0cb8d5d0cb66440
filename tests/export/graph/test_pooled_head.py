"""Ends of networks: which have features, and which a class activation."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from requirements import needs

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.pooled_head import pooled_head

pytestmark = needs("onnx")

RNG = np.random.default_rng(0)
W = RNG.standard_normal((3, 4), np.float32)  # (classes, C)
B = RNG.standard_normal(3, np.float32)
SQUARE = RNG.standard_normal((4, 4), np.float32)


def network(*nodes, **constants):
    """Return a model of a map (N, 4, 2, 3, 3) with these nodes, the last of which is the answer."""
    constants = {"w": W, "wt": W.T, "b": B, "s": SQUARE, **constants}
    graph = helper.make_graph(
        [helper.make_node(op, reads.split(), [out], **more) for op, reads, out, more in nodes],
        "end",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 2, 3, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


RELU = ("Relu", "x", "map", {})
POOL = ("GlobalAveragePool", "map", "pool", {})
FLAT = ("Flatten", "pool", "flat", {})
MEAN = ("ReduceMean", "map", "flat", {"axes": [2, 3, 4], "keepdims": 0})
GEMM = ("Gemm", "flat w b", "logits", {"transB": 1})


@pytest.mark.parametrize(
    "end",
    [
        (RELU, POOL, FLAT, GEMM),
        (RELU, MEAN, GEMM),
        (RELU, MEAN, ("Gemm", "flat wt b", "logits", {})),
        (RELU, MEAN, ("MatMul", "flat wt", "product", {}), ("Add", "product b", "logits", {})),
        (RELU, MEAN, ("MatMul", "flat wt", "product", {}), ("Add", "b product", "logits", {})),
        (
            RELU,
            MEAN,
            ("Dropout", "flat", "dropped", {}),
            ("Gemm", "dropped w b", "logits", {"transB": 1}),
        ),
        # A mean of means over equal parts.
        (
            RELU,
            ("ReduceMean", "map", "rows", {"axes": [3, 4], "keepdims": 0}),
            ("ReduceMean", "rows", "flat", {"axes": [2], "keepdims": 0}),
            GEMM,
        ),
    ],
)
def test_one_linear_layer(end):
    found = pooled_head(network(*end), "logits")
    assert found.feature_map == "map"
    np.testing.assert_array_equal(found.linear.weight, W)
    np.testing.assert_array_equal(found.linear.bias, B)


@pytest.mark.parametrize(
    "end",
    [
        (
            RELU,
            MEAN,
            ("Gemm", "flat w b", "scores", {"transB": 1}),
            ("Softmax", "scores", "logits", {}),
        ),
        (
            RELU,
            MEAN,
            ("Gemm", "flat w b", "scores", {"transB": 1}),
            ("Sigmoid", "scores", "logits", {}),
        ),
        (
            RELU,
            MEAN,
            ("Gemm", "flat s", "hidden", {}),
            ("Gemm", "hidden w b", "logits", {"transB": 1}),
        ),
        (
            RELU,
            MEAN,
            ("Gemm", "flat s", "hidden", {}),
            ("Relu", "hidden", "active", {}),
            ("Gemm", "active w b", "logits", {"transB": 1}),
        ),
        (RELU, MEAN, ("Gemm", "flat w b", "logits", {"transB": 1, "alpha": 0.5})),
    ],
    ids=["softmax", "sigmoid", "two layers", "hidden layer", "scaled"],
)
def test_more_than_one_linear_layer_has_features_alone(end):
    found = pooled_head(network(*end), "logits")
    assert (found.feature_map, found.features, found.linear) == ("map", "flat", None)


@pytest.mark.parametrize(
    ("end", "what"),
    [
        ((RELU, ("ReduceMean", "map", "logits", {"axes": [2, 3, 4], "keepdims": 0})), "ReduceMean"),
        ((RELU, ("GlobalMaxPool", "map", "pool", {}), FLAT, GEMM), "GlobalMaxPool"),
        ((RELU, ("Flatten", "map", "flat", {}), GEMM), "Relu|nothing"),
        ((("Flatten", "x", "flat", {}), GEMM), "nothing"),
    ],
)
def test_no_average_pool(end, what):
    with pytest.raises(ModelError, match=f"no average pool.* but ({what}).*--feature-output"):
        pooled_head(network(*end), "logits")


def test_a_damaged_model_is_an_error_of_its_own():
    model = network(RELU, MEAN, GEMM)
    del model.graph.node[-1].input[1:]
    with pytest.raises(ModelError):
        pooled_head(model, "logits")
