"""Dense layers become convolutions that compute the same."""

import numpy as np
import pytest
from requirements import needs

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from r2p_edge.export.graph.dense import conv_from_dense  # noqa: E402
from r2p_edge.export.verify.ort_session import open_session  # noqa: E402

pytestmark = needs("onnxruntime")


def gemm(inputs=("x", "w", "b"), bias=(5,), **attributes):
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(5, 8) if attributes.get("transB") else (8, 5)).astype(np.float32),
        "b": rng.normal(size=bias).astype(np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("Gemm", inputs, ["y"], "fc", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 5])],
        [numpy_helper.from_array(arrays[name], name) for name in inputs[1:]],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answers(model):
    x = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    return open_session(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize("inputs", [("x", "w", "b"), ("x", "w")])
@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"alpha": 1.0}])
def test_the_answers_stay(inputs, attributes):
    model = gemm(inputs, **attributes)
    before = model.SerializeToString(deterministic=True)
    result = conv_from_dense(model)
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(result, full_check=True)
    assert [node.op_type for node in result.graph.node] == ["Reshape", "Conv", "Reshape"]
    np.testing.assert_allclose(answers(result), answers(model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"alpha": 2.0}, {"beta": 0.5}, {"bias": (1, 5)}, {"bias": (3, 1)}]
)
def test_what_is_no_such_layer_stays(options):
    model = gemm(**options)
    assert conv_from_dense(model) == model
