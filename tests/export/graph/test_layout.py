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
        ((2, 5, 5), 5, (2,)),
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
        ((2,), np.int64, r"y is the number of a class \(int64\), .* without its ArgMax"),
        ((2, 1), np.int32, r"y is the number of a class \(int32\), .* without its ArgMax"),
    ],
)
def test_outputs_that_are_no_scores(shape, dtype, message):
    from r2p_edge.export.graph.layout import by_class

    with pytest.raises(SpecError, match=message):
        by_class(np.zeros(shape, dtype), 5, "y")
