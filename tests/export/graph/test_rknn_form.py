"""The form for Rockchip's NPUs answers as its source, without layers for the CPU."""

import numpy as np
import pytest
from networks import SMALL, random_parameters, small_network, spec_for
from requirements import needs

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d  # noqa: E402
from r2p_edge.export.graph.model import attributes, axis_sizes  # noqa: E402
from r2p_edge.export.graph.rknn_form import rknn_form  # noqa: E402
from r2p_edge.export.verify.ort_session import open_session  # noqa: E402
from r2p_edge.spec import InputSpec  # noqa: E402

pytestmark = needs("onnxruntime")

NORMALISED = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)


def lowered(frames):
    spec = spec_for(SMALL["classes"], frames=frames, input=NORMALISED)
    return conv2d_from_conv3d(small_network(spec))


def model_of(nodes, shape, output, **arrays):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model, array):
    (value,) = model.graph.input
    return open_session(model.SerializeToString()).run(None, {value.name: array})[0]


def both(model):
    """Return the answers of a model and of its form to one clip."""
    form = rknn_form(model)
    onnx.checker.check_model(form, full_check=True)
    shape = axis_sizes(model.graph.input[0])
    clip = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    images = np.ascontiguousarray(clip[0].transpose(1, 0, 2, 3))
    assert axis_sizes(form.graph.input[0]) == list(images.shape)
    mine, theirs = answer(form, images), answer(model, clip)
    assert mine.size == theirs.size
    return form, mine.reshape(theirs.shape), theirs


def on_the_cpu(model):
    """Return the nodes that RKNN-Toolkit2 2.5.0 puts on the CPU."""
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    return [
        node.op_type
        for node in model.graph.node
        if node.op_type in ("Transpose", "Gemm", "ReduceMean")
        or (node.op_type == "Slice" and arrays[node.input[4]].item() != 1)
    ]


@pytest.mark.parametrize("frames", [4, 8, 7])
def test_a_network_answers_as_before(frames):
    model = lowered(frames)
    before = model.SerializeToString()
    form, mine, theirs = both(model)
    assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()
    assert model.SerializeToString() == before
    assert {"Transpose", "Gemm", "Slice"} <= set(on_the_cpu(model))
    assert on_the_cpu(form) == ([] if frames != 7 else ["Slice"] * 3)


def test_an_odd_number_of_images_is_sliced_as_before():
    form, _, _ = both(lowered(7))
    steps = {node.name for node in form.graph.node if node.name.endswith(".pairs")}
    assert steps  # the four images of the second stage are even


def test_a_slice_from_another_start():
    bounds = {"s": [3], "e": [8], "a": [0], "p": [2]}
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["r"], "r"),
        helper.make_node("Transpose", ["r"], ["t"], "t", perm=[1, 0, 2, 3]),
        helper.make_node("Slice", ["t", "s", "e", "a", "p"], ["y"], "y"),
    ]
    arrays = {name: np.array(value) for name, value in bounds.items()}
    model = model_of(nodes, [1, 3, 8, 4, 5], [3, 3, 4, 5], flat=np.array([3, 8, 4, 5]), **arrays)
    form, mine, theirs = both(model)
    assert np.array_equal(mine, theirs)
    assert on_the_cpu(form) == []
    assert [node.op_type for node in form.graph.node] == ["Reshape", "Slice", "Slice"]


def test_another_beginning_gets_its_clip_back():
    nodes = [helper.make_node("ReduceMax", ["x"], ["y"], "y", axes=[2], keepdims=0)]
    model = model_of(nodes, [1, 3, 4, 6, 5], [1, 3, 6, 5])
    form, mine, theirs = both(model)
    assert np.array_equal(mine, theirs)
    first = form.graph.node[0]
    assert (first.op_type, attributes(first)["perm"]) == ("Transpose", [1, 0, 2, 3])


def classifier(**changes):
    """Return a pool over images and pixels, and a dense layer behind it."""
    rng = np.random.default_rng(0)
    given = {"transB": 1, **changes.pop("attributes", {})}
    arrays = {
        "flat": np.array([3, 4, 6, 5]),
        "row": np.array([1, 3]),
        "w": rng.normal(size=(7, 3) if given["transB"] else (3, 7)).astype(np.float32),
        "b": rng.normal(size=changes.pop("bias", 7)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["r"], "r"),
        helper.make_node("Transpose", ["r"], ["t"], "t", perm=[1, 0, 2, 3]),
        helper.make_node("ReduceMean", ["t"], ["m"], "m", axes=changes.pop("axes", [0, 2, 3])),
        helper.make_node("Reshape", ["m", "row"], ["f"], "f"),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], "y", **given),
    ]
    return model_of(nodes, [1, 3, 4, 6, 5], [1, 7], **arrays)


@pytest.mark.parametrize("attributes", [{}, {"transB": 0}])
def test_the_classifier_is_a_convolution(attributes):
    form, mine, theirs = both(classifier(attributes=attributes))
    assert np.abs(mine - theirs).max() <= 1e-5
    kinds = [node.op_type for node in form.graph.node]
    assert kinds == ["GlobalAveragePool", "Reshape", "Conv"]
    assert axis_sizes(form.graph.output[0]) == [1, 7, 1, 1]


@pytest.mark.parametrize("changes", [{"attributes": {"alpha": 2.0}}, {"bias": (1, 7)}])
def test_another_classifier_stays(changes):
    form, mine, theirs = both(classifier(**changes))
    assert np.abs(mine - theirs).max() <= 1e-6
    assert [node.op_type for node in form.graph.node][-1] == "Gemm"
    assert axis_sizes(form.graph.output[0]) == [1, 7]


def test_a_network_of_more_blocks():
    parameters = random_parameters((2, 1, 1, 1), (8, 8, 8, 8), 5)
    spec = spec_for(5, frames=4, input=NORMALISED)
    _, mine, theirs = both(conv2d_from_conv3d(small_network(spec, parameters=parameters)))
    assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()
