from __future__ import annotations

import numpy as np
import pytest
from networks import spec_for
from requirements import needs

from r2p_edge.errors import SpecError

pytestmark = needs("onnx")


def model(shape, perm=None):
    """A model with an input of this shape, which a Transpose brings to a convolution."""
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    node = helper.make_node("Transpose", ["x"], ["t"], perm=perm or list(range(len(shape))))
    nodes = [node, helper.make_node("Conv", ["t", "w"], ["y"])]
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "g", [value], [end]))


@pytest.mark.parametrize(
    ("shape", "perm", "layout"),
    [
        (("N", 3, 4, 32, 32), None, "NCTHW"),
        ((1, 4, 32, 32, 3), None, "NTHWC"),
        ((1, 4, 3, 32, 32), None, "NTCHW"),
        ((1, 1, 3, 4, 32, 32), None, "NKCTHW"),
        (("N", "K", 4, 32, 32, 3), None, "NKTHWC"),
        ((2, 1, 4, 3, 32, 32), None, "NKTCHW"),
        (("N", None, None, None, 3), None, "NTHWC"),
        # The sizes leave it open, and the first convolution decides.
        (("N", None, None, None, None), [0, 4, 1, 2, 3], "NTHWC"),
        (("N", None, None, None, None), [0, 2, 1, 3, 4], "NTCHW"),
        (("N", None, None, None, None), None, "NCTHW"),
    ],
)
def test_the_layout_follows_from_the_sizes(shape, perm, layout):
    from r2p_edge.export.graph.layout import input_layout

    assert input_layout(model(shape, perm), spec_for(7)) == layout


@pytest.mark.parametrize(("perm", "layout"), [([0, 2, 1, 3, 4], "NTCHW"), (None, "NCTHW")])
def test_as_many_frames_as_colours(perm, layout):
    from r2p_edge.export.graph.layout import input_layout

    assert input_layout(model((1, 3, 3, 32, 32), perm), spec_for(7, frames=3)) == layout


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 10, 3, 4, 32, 32), "10 clips of a video in one call; export it for one clip"),
        ((1, 3, 16, 112, 112), r"\(1, 3, 16, 112, 112\) but the recipe .* has \(N, 3, 4, 32, 32"),
        ((1, 3, 16, 112, 112), "; give --frames 16 --size 112$"),
        ((1, 16, 3, 32, 32), "; give --frames 16$"),
        ((1, 1, 4, 64, 64, 3), "; give --size 64$"),
        ((1, 3, 4, 32, 64), "; export the model with these sizes, or give another recipe$"),
        ((1, 2, 4, 32, 32), "; export the model with these sizes, or give another recipe$"),
        ((1, 3, 32, 32), "is images and not clips of several frames; give a network of clips"),
    ],
)
def test_no_layout_fits(shape, message):
    from r2p_edge.export.graph.layout import input_layout

    with pytest.raises(SpecError, match=message):
        input_layout(model(shape), spec_for(7))


@pytest.mark.parametrize(
    ("shape", "classes", "axes"),
    [
        ((2, 5), 5, ()),
        ((2, 5, 1, 1, 1), 5, (2, 3, 4)),
        ((2, 5, 5), 5, None),
        ((2, 5, 3, 5), 5, None),
        ((2, 3, 5), 5, (1,)),
        ((2,), 1, ()),
        ((5,), 5, ()),
        ((), 1, ()),
        ((2, 4), 5, None),
        ((4,), 5, None),
        ((2, 5, 3), 4, None),
    ],
)
def test_the_axis_of_classes(shape, classes, axes):
    from r2p_edge.export.graph.layout import by_class, class_axes

    assert class_axes(shape, classes) == axes
    if axes is not None and shape[:1] == (2,):
        outputs = np.random.default_rng(0).normal(size=shape)
        expected = outputs.mean(axes) if axes else outputs.reshape(2, classes)
        np.testing.assert_allclose(by_class(outputs, classes, "y"), expected)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2, 8, 7, 27, 27), np.float32, r"is a feature map \(\?, 8, 7, 27, 27\), and not sco"),
        ((2, 4, 1, 1, 1), np.float32, r"y is \(\?, 4, 1, 1, 1\) but the recipe .* 5 labels; give"),
        ((2, 5, 5), np.float32, r"y is \(\?, 5, 5\), .* may both .*; export it .* as \(N, 5\)"),
        ((2,), np.int64, r"y is the number of a class \(int64\), .* without its ArgMax"),
        ((2, 1), np.int32, r"y is the number of a class \(int32\), .* without its ArgMax"),
    ],
)
def test_outputs_that_are_no_scores(shape, dtype, message):
    from r2p_edge.export.graph.layout import by_class

    with pytest.raises(SpecError, match=message):
        by_class(np.zeros(shape, dtype), 5, "y")


@pytest.mark.parametrize(
    ("nodes", "axis"),
    [
        ([("Gemm", ["a", "w"], {}), ("Unsqueeze", ["_", "one"], {}), ("Tile", ["_", "r"], {})], 2),
        ([("Gemm", ["a", "w"], {}), ("Unsqueeze", ["_", "two"], {}), ("Tile", ["_", "q"], {})], 1),
        ([("Gemm", ["a", "w"], {}), ("Reshape", ["_", "s"], {})], None),
        ([("Reshape", ["x", "rows"], {}), ("MatMul", ["_", "v"], {}), ("Softmax", ["_"], {})], 2),
        ([("MatMul", ["g", "v"], {}), ("Transpose", ["_"], {"perm": [0, 2, 1]})], 1),
    ],
    ids=["copies before", "copies behind", "mixed", "rows of places", "transposed"],
)
def test_the_axis_on_which_the_last_layer_puts_its_classes(nodes, axis):
    from onnx import TensorProto, helper, numpy_helper

    from r2p_edge.export.graph.ends import class_axis

    ints = {
        "one": [1],
        "two": [2],
        "r": [1, 5, 1],
        "q": [1, 1, 5],
        "s": [1, 5, 1],
        "rows": [1, 5, 6],
    }
    floats = {"w": np.ones((30, 5)), "v": np.ones((6, 5)), "wide": np.ones((30, 25))}
    constants = {name: np.array(value) for name, value in ints.items()}
    constants |= {name: value.astype(np.float32) for name, value in floats.items()}
    made = [
        helper.make_node("Reshape", ["x", "flat"], ["a"]),
        helper.make_node("Reshape", ["x", "rows"], ["g"]),
    ]
    constants["flat"] = np.array([1, 30])
    last = ""
    for number, (operator, inputs, attributes) in enumerate(nodes):
        ends = [last if each == "_" else each for each in inputs]
        last = "y" if number == len(nodes) - 1 else f"t{number}"
        made.append(helper.make_node(operator, ends, [last], **attributes))
    if axis is None:  # 25 scores, of which nobody knows the order
        made[-2].input[1] = "wide"
        constants["s"] = np.array([1, 5, 5])
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 30])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    theirs = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert class_axis(theirs, "y") == axis


def reshaped(shape, target):
    """A model that brings its input to a convolution by a Reshape."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Reshape", ["x", "to"], ["t"]),
        helper.make_node("Conv", ["t", "w"], ["y"]),
    ]
    weight = np.ones((2, target[1], *[1] * (len(target) - 2)), np.float32)
    constants = {"to": np.array(target), "w": weight}
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )


def test_as_many_frames_as_colours_by_a_reshape():
    from r2p_edge.export.graph.layout import input_layout

    spec = spec_for(7, frames=3)
    # Frames as a batch: what is left beside them are the channels.
    assert input_layout(reshaped((1, 3, 3, 32, 32), (3, 3, 32, 32)), spec) == "NTCHW"
    assert input_layout(reshaped(("N", None, 3, 32, 32), (-1, 3, 32, 32)), spec) == "NTCHW"
    stacked = reshaped((1, 3, 3, 32, 32), (1, 9, 32, 32))
    with pytest.raises(SpecError, match=r"may be NCTHW or NTCHW, .* channels last \(N, T, H, W, 3"):
        input_layout(stacked, spec)
    with pytest.raises(SpecError, match=r"\(\?, \?, \?, 32, 32\), which may .* fixed sizes"):
        input_layout(reshaped(("N", None, None, 32, 32), (1, 9, 32, 32)), spec)
    assert input_layout(stacked, spec, "NCTHW") == "NCTHW"  # as an artifact says of itself
    assert input_layout(reshaped((1, 3, 32, 32, 3), (1, 9, 32, 32)), spec) == "NTHWC"
