"""3-D convolutions as 2-D ones, against ONNX Runtime on the 3-D ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from requirements import needs

pytest.importorskip("onnx")
from conv2d_checks import check, compare, graph_of, node, normal, property_test, windows
from onnx import helper, shape_inference

pytestmark = needs("onnxruntime")


@pytest.mark.slow
@property_test
@given(windows(most_padding=lambda kernel: kernel), st.booleans(), st.sampled_from([1, 2, 4]))
def test_convolutions(window, bias, groups):
    shape, attributes = window
    channels = shape[1]
    assume(channels % groups == 0)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, channels // groups, *attributes["kernel_shape"]))
    weights = {"w": weight.astype(np.float32)}
    if bias:
        weights["b"] = rng.normal(size=4).astype(np.float32)
    compare(
        helper.make_node("Conv", ["x", *weights], [], group=groups, **attributes), shape, weights
    )


def test_only_needed_frames_are_computed():
    """The convolution ends in one frame, with fewer channels out than in."""
    nodes = [node("Conv", "x", "w", "c"), node("Flatten", "c", "y")]
    result = check(graph_of(nodes, [1, 8, 6, 4, 4], {"w": normal(2, 8, 6, 3, 3)}))
    graph = shape_inference.infer_shapes(result).graph
    results = {name for each in graph.node if each.op_type == "Conv" for name in each.output}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    assert [shapes[name][0].dim_value for name in results] == [1] * 6
