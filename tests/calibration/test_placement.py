"""The choice of layers and activations that become int8."""

import pytest
from quantisation import named
from requirements import needs

from r2p_edge.calibration.placement import place

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors"), needs("cv2")]


@pytest.mark.parametrize("both", [True, False])
def test_sums_within_a_convolution_are_no_sums_of_branches(float_model, float_conv2d_model, both):
    """In the form without 3-D convolutions, temporal convolutions are sums too."""
    apart = named(float_conv2d_model)
    whole = named(float_model)
    assert len([node for node in apart.graph.node if node.op_type == "Add"]) == 20
    one, other = (place(each, stem=True, both_summands=both) for each in (apart, whole))
    assert one.summands == other.summands
    assert len(one.summands) == (8 if both else 4)
