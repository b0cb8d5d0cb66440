"""Small ONNX graphs, and their answers in MindSpore and ONNX Runtime."""

import numpy as np
from models import spec_of_brightness
from onnx import TensorProto, helper, numpy_helper

from r2p_edge.export.targets.mindspore import export as mindspore_export
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.mindspore import MindSpore

IMAGE, CLIP, MATRIX = (2, 6, 11, 13), (1, 4, 5, 9, 8), (3, 10)


def chain(nodes, shape, weights=(), opset=17, kind=TensorProto.FLOAT):
    """Return a model of nodes in a chain, each of which reads the one before it and weights.

    A node is (operator, attributes, number of weights that it reads).
    """
    names = [f"weight {number}" for number in range(len(weights))]
    rest, made, last = iter(names), [], "x"
    for number, (operator, attributes, count) in enumerate(nodes):
        inputs = [last, *(next(rest) for _ in range(count))]
        last = f"{operator} {number}"
        made.append(helper.make_node(operator, inputs, [last], **attributes))
    graph = helper.make_graph(
        made,
        "chain",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(w), name) for w, name in zip(weights, names)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def answers(model, folder, x=None):
    """Return the outputs of the model in MindSpore and in ONNX Runtime."""
    given = model.graph.input[0].type.tensor_type
    shape = [axis.dim_value for axis in given.shape.dim]
    if x is None:
        x = np.random.default_rng(1).normal(0, 2, shape).astype(np.float32)
    (want,) = open_session(model.SerializeToString()).run(None, {model.graph.input[0].name: x})
    draft = mindspore_export._export(MindSpore.library(), model, x.dtype, folder)
    runtime = MindSpore.open(draft, spec_of_brightness(), Options())
    return runtime.run(x), want


def same(model, folder, x=None):
    """Assert that MindSpore answers as ONNX Runtime does."""
    have, want = answers(model, folder, x)
    assert (have.shape, have.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def floats(*shape, low=-1.0):
    """Return random float32 numbers."""
    return np.random.default_rng(len(shape)).uniform(low, 1, shape).astype(np.float32)


def longs(*numbers):
    """Return numbers as int64."""
    return np.array(numbers, np.int64)
