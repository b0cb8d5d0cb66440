"""The stand-in for TensorRT for RTX, beside the real library."""

import pytest
from fake_tensorrt import RTX, installed
from requirements import needs
from rtx_builder import build
from rtx_layers import LAYERS

pytestmark = [needs("tensorrt_rtx"), needs("onnxruntime")]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("chip", ["sm75", "sm86"])
def test_the_stand_in_refuses_what_the_builder_refuses(name, chip):
    real = build(LAYERS[name], [chip])
    with installed(RTX, FAKE_CUDA_DEVICES=0):
        other = build(LAYERS[name], [chip])
    assert (other.plan is None) == (real.plan is None), other.errors
    if "Turing" in real.errors:
        assert "FP32" in other.errors
        assert real.errors.partition("FP32")[2].startswith(_kind(other.errors))


def _kind(errors):
    """Return what the error says cannot be compiled."""
    return errors.partition("FP32")[2].partition(".")[0]
