"""Q/DQ nodes in each profile's form."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from quantisation import CLIPS, logits
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.calibration.qdq import PROFILES
from r2p_edge.calibration.qdq_rules import broken_rules
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.errors import BackendError
from r2p_edge.export.graph.float16 import half_from_float
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.runtimes.cpu import read_cpu

pytestmark = [
    needs("onnx"),
    needs("onnxruntime"),
    needs("safetensors"),
    needs("cv2"),
]


@pytest.mark.slow
def test_the_typed_form_of_the_tensorrt_rendering_answers_alike(float_model, out):
    quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS, profile="tensorrt")
    typed = half_from_float(load_onnx(out / "m.onnx"))
    assert broken_rules(typed) == []
    onnx.save(typed, out / "typed.onnx")
    answers = [logits(out / name, CLIPS) for name in ("m.onnx", "typed.onnx")]
    assert agreement(*answers).cosine >= 0.99


def check_like(source, path, profile):
    """Check that an int8 model answers like its source, or is refused where it would not."""
    if profile == "cpu" and read_cpu().int8 == "saturating":
        with pytest.raises(BackendError, match="no VNNI"):
            Predictor(path)
    else:
        assert agreement(logits(source, CLIPS), logits(path, CLIPS)).cosine >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_form_of_the_graph_can_be_quantised(
    float_model, float_conv2d_model, out, graph, profile
):
    source = float_model if graph == "conv3d" else float_conv2d_model
    spec = quantize_onnx(source, out / "m.onnx", lambda: CLIPS, profile=profile)
    assert spec.graph == graph
    check_like(source, out / "m.onnx", profile)


def stored(model, layer):
    (tensor,) = (t for t in model.graph.initializer if t.name == f"{layer}.weight_quantized")
    return numpy_helper.to_array(tensor)


@pytest.mark.slow
def test_weights_have_eight_bits_or_seven(float_model, out):
    largest = {}
    for profile in ("cpu", "cpu-avx2"):
        quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS, profile=profile)
        weight = stored(onnx.load(out / "m.onnx"), "layer1.0.conv1.conv1")
        assert weight.dtype == np.int8
        largest[profile] = np.abs(weight.astype(int)).reshape(len(weight), -1).max(axis=1)
    assert (largest["cpu"] == 127).all()
    assert (largest["cpu-avx2"] == 64).all()


@pytest.mark.slow
def test_all_convolutions_and_whole_sums_are_int8_on_cpus(float_model, out):
    quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS)
    graph = onnx.load(out / "m.onnx").graph
    undone = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 21
    assert all(undone.issuperset(node.input) for node in convolutions)
    sums = [node for node in graph.node if node.op_type == "Add" and node.name != "input.add"]
    assert len(sums) == 4
    assert all(undone.issuperset(node.input) for node in sums)
    onnx.checker.check_model(onnx.load(out / "m.onnx"), full_check=True)


def test_a_float_layer_reads_and_makes_floats(float_model, out):
    """Its input is int8 only for another layer, and its output would be int8 for the sum."""
    keep = ["layer2.0.conv1.conv1", "layer2.0.conv2.conv2"]
    quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS, keep_float=keep)
    graph = onnx.load(out / "m.onnx").graph
    nodes = {node.name: node for node in graph.node}
    assert nodes[keep[0]].input[:2] == ["layer1.0", f"{keep[0]}.weight"]
    assert nodes["layer2.0.downsample.0"].input[0] != "layer1.0"
    assert "layer2.0.bn2" in nodes["layer2.0.add"].input
    assert "layer2.0.downsample.1" not in nodes["layer2.0.add"].input


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_channels_without_weights_keep_their_bias(float_model, tmp_path, out, profile):
    model = onnx.load(float_model)
    name = "layer1.0.conv1.conv2.weight"
    (tensor,) = (each for each in model.graph.initializer if each.name == name)
    weight = numpy_helper.to_array(tensor).copy()
    weight[[0, 3]] = 0
    tensor.CopyFrom(numpy_helper.from_array(weight, name))
    source = tmp_path / "dead.onnx"  # without the sidecar of the other
    onnx.save(model, source)
    quantize_onnx(source, out / "m.onnx", lambda: CLIPS, profile=profile)
    made = {t.name: numpy_helper.to_array(t) for t in onnx.load(out / "m.onnx").graph.initializer}
    assert (made[f"{name}_scale"] > 0).all()
    check_like(source, out / "m.onnx", profile)
