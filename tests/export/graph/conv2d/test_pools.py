"""3-D pools as 2-D ones and arithmetic, against ONNX Runtime on the 3-D ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requirements import needs

pytest.importorskip("onnx")
from conv2d_checks import compare, property_test, windows
from onnx import helper

pytestmark = needs("onnxruntime")


@pytest.mark.slow
@property_test
@given(windows(), st.sampled_from([0, 1]), st.sampled_from([13, 17, 19]))
def test_max_pools(window, ceil, opset):
    shape, attributes = window
    if ceil:
        attributes.pop("dilations", None)
    node = helper.make_node("MaxPool", ["x"], [], ceil_mode=ceil, **attributes)
    compare(node, shape, opset=opset, tolerance=0)


@pytest.mark.slow
@property_test
@given(windows(), st.sampled_from([0, 1]), st.sampled_from([0, 1]), st.sampled_from([17, 19]))
def test_average_pools(window, ceil, count_padding, opset):
    import onnxruntime

    shape, attributes = window
    # Until 1.23, ONNX Runtime does not count padding from opset 19 on and counts what ceil_mode
    # adds. Until 1.20, which Python 3.10 gets, it averages a last window behind the input. 1.31
    # does all of it right.
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24):
        ceil = 0
        opset = 17 if count_padding else opset
    if opset < 19 or ceil:
        attributes.pop("dilations", None)
    flags = {"ceil_mode": ceil, "count_include_pad": count_padding}
    compare(helper.make_node("AveragePool", ["x"], [], **flags, **attributes), shape, opset=opset)
