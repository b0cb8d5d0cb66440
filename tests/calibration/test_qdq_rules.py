"""The checker of TensorRT's rules finds each way to break one, and nothing in what is right."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from quantisation import CLIPS, SPEC, named
from requirements import needs
from rtx_builder import build

from r2p_edge.calibration.placement import place
from r2p_edge.calibration.qdq import PROFILES, qdq_from_float
from r2p_edge.calibration.qdq_rules import broken_rules, require_rules
from r2p_edge.calibration.ranges import observe
from r2p_edge.errors import ModelError

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

# Of a block with a downsampling branch, and of one without.
MAIN, BYPASS, OUTPUT = "layer2.0.bn2", "layer2.0.downsample.1", "layer2.0.add"
CONV, ACTIVATION = "layer1.0.conv1.conv2", "layer1.0.conv1.bn1.relu"
WEIGHT = f"{CONV}.weight"


@pytest.fixture(scope="module", params=["float_model", "float_conv2d_model"])
def any_rendering(request):
    return rendering("tensorrt", request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def right(float_model):
    return rendering("tensorrt", float_model)


def rendering(profile, path):
    model = named(path)
    made = PROFILES[profile]
    placement = place(model, stem=made.stem, both_summands=made.both_summands)
    ranges = observe(model, SPEC, placement.tensors, lambda: CLIPS[:2]).ranges
    return qdq_from_float(model, placement, ranges, made)


@pytest.fixture
def model(right):
    copied = onnx.ModelProto()
    copied.CopyFrom(right)
    return copied


def maker(model, tensor):
    return next(node for node in model.graph.node if tensor in node.output)


def reader(model, tensor, operator):
    return next(
        node for node in model.graph.node if tensor in node.input and node.op_type == operator
    )


def set_constant(model, name, value):
    (tensor,) = (each for each in model.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def constant(model, name):
    return numpy_helper.to_array(
        next(each for each in model.graph.initializer if each.name == name)
    )


def pair(model, tensor, operator):
    """Put a copy of ACTIVATION's Q/DQ between a tensor and the node that reads it."""
    target = reader(model, tensor, operator)
    scale, zero = reader(model, ACTIVATION, "QuantizeLinear").input[1:]
    nodes = [
        helper.make_node("QuantizeLinear", [tensor, scale, zero], ["more.q"], "more"),
        helper.make_node("DequantizeLinear", ["more.q", scale, zero], ["more.dq"], "more.undo"),
    ]
    for i, name in enumerate(target.input):
        if name == tensor:
            target.input[i] = "more.dq"
    place = list(model.graph.node).index(target)
    for node in reversed(nodes):
        model.graph.node.insert(place, node)


def no_zero_point(model):
    del reader(model, ACTIVATION, "QuantizeLinear").input[2]


def unsigned(model):
    set_constant(model, f"{ACTIVATION}_zero_point", np.uint8(0))


def shifted(model):
    set_constant(model, f"{ACTIVATION}_zero_point", np.int8(3))


def dead_channel(model):
    scale = constant(model, f"{WEIGHT}_scale").copy()
    scale[2] = 0
    set_constant(model, f"{WEIGHT}_scale", scale)


def half_scale(model):
    set_constant(model, f"{ACTIVATION}_scale", np.float16(0.1))


def too_few_zero_points(model):
    set_constant(model, f"{WEIGHT}_zero_point", np.zeros(2, np.int8))


def activation_per_channel(model):
    set_constant(model, f"{ACTIVATION}_scale", np.full(9, 0.1, np.float32))
    set_constant(model, f"{ACTIVATION}_zero_point", np.zeros(9, np.int8))


def input_channels(model):
    for node in (
        reader(model, WEIGHT, "QuantizeLinear"),
        maker(model, f"{WEIGHT}_DequantizeLinear_Output"),
    ):
        next(each for each in node.attribute if each.name == "axis").i = 1


def computed_scale(model):
    model.graph.node.insert(0, helper.make_node("Identity", [f"{ACTIVATION}_scale"], ["computed"]))
    reader(model, ACTIVATION, "QuantizeLinear").input[1] = "computed"


def stored_weights(model):
    stored = numpy_helper.from_array(np.zeros(constant(model, WEIGHT).shape, np.int8), "stored")
    model.graph.initializer.append(stored)
    maker(model, f"{WEIGHT}_DequantizeLinear_Output").input[0] = "stored"


def other_scale(model):
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "other"))
    maker(model, f"{ACTIVATION}_DequantizeLinear_Output").input[1] = "other"


def integers_read(model):
    name = reader(model, ACTIVATION, "QuantizeLinear").output[0]
    model.graph.node.append(helper.make_node("Identity", [name], ["integers"]))


def float_weights(model):
    reader(model, f"{WEIGHT}_DequantizeLinear_Output", "Conv").input[1] = WEIGHT


def float_input(model):
    reader(model, f"{ACTIVATION}_DequantizeLinear_Output", "Conv").input[0] = ACTIVATION


def int8_bias(model):
    pair(model, f"{CONV}.bias", "Conv")


def before_relu(model):
    pair(model, "layer1.0.conv1.bn1", "Relu")


def both_branches(model):
    pair(model, MAIN, "Add")


def batch_norm(model):
    inputs = [ACTIVATION, "s", "b", "m", "v"]
    model.graph.node.append(helper.make_node("BatchNormalization", inputs, ["bn"], "norm"))


def old_opset(model):
    model.opset_import[0].version = 12


def groups(model):
    node = maker(model, "layer2.0.conv1.bn1")
    node.attribute.append(helper.make_attribute("group", 4))


BROKEN = {
    no_zero_point: "has no zero point",
    unsigned: "has uint8 zero points",
    shifted: "has int8 zero points that are not all 0",
    dead_channel: "has a scale that is not positive",
    half_scale: "has a scale of float16",
    too_few_zero_points: "scales but 2 zero points",
    activation_per_channel: "has a scale per channel of an activation",
    input_channels: "along axis 1 of weights",
    computed_scale: "that is not constant",
    stored_weights: "reads stored integers",
    other_scale: "has another scale than",
    integers_read: "is not followed by a DequantizeLinear alone",
    float_weights: "has int8 input but float weights",
    float_input: "has int8 weights but float input",
    int8_bias: "has a quantised bias",
    before_relu: "stands between the convolution layer1.0.conv1.conv1 and",
    both_branches: f"{OUTPUT} adds two branches of which the longer one ends in int8",
    batch_norm: "norm is a batch norm",
    old_opset: "has opset 12",
    groups: "has 4 groups",
}


@pytest.mark.slow
def test_the_rendering_breaks_no_rule(any_rendering):
    assert broken_rules(any_rendering) == []
    require_rules(any_rendering)
    quantised = [n for n in any_rendering.graph.node if n.op_type == "QuantizeLinear"]
    assert len(quantised) >= 40


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_each_damage_is_reported(model, damage):
    damage(model)
    found = broken_rules(model)
    assert any(BROKEN[damage] in text for text in found), found
    with pytest.raises(ModelError, match="TensorRT would reject the quantised model"):
        require_rules(model)


# Of the rules, those that NVIDIA's parser or builder of TensorRT 11's generation enforces, with its
# words. The others are of 8.6, or of what is fast; `unsigned` it takes for int8, with a warning.
REFUSED = {
    shifted: "QuantizeLinear",
    dead_channel: "QuantizeLinear",
    half_scale: "`input` type is Half but `kernel` is of type Float",
    too_few_zero_points: "QuantizeLinear",
    activation_per_channel: "QuantizeLinear",
    input_channels: "QuantizeLinear",
}
BUILT = BROKEN.keys() - REFUSED.keys() - {batch_norm, groups}  # which are not whole models here


@needs("tensorrt_rtx")
@pytest.mark.parametrize("damage", REFUSED, ids=lambda damage: damage.__name__)
def test_nvidia_refuses_it_too(model, damage):
    damage(model)
    done = build(model)
    assert done.plan is None
    assert REFUSED[damage] in done.errors


@needs("tensorrt_rtx")
def test_nvidia_takes_what_is_right(right):
    done = build(right)
    assert done.plan is not None
    assert (done.errors, done.warnings) == ("", {})


@needs("tensorrt_rtx")
@pytest.mark.slow
@pytest.mark.parametrize("damage", sorted(BUILT, key=str), ids=lambda damage: damage.__name__)
def test_rules_that_are_not_nvidias(model, damage):
    damage(model)
    done = build(model)
    assert done.plan is not None
    assert bool(done.warnings) == (damage is unsigned)


def test_half_scales_are_fine_from_opset_19_on(model):
    model.opset_import[0].version = 19
    half_scale(model)
    assert broken_rules(model) == []


def test_what_cpus_want_is_not_what_tensorrt_wants(float_model):
    found = " ".join(broken_rules(rendering("cpu", float_model)))
    for text in ("uint8 zero points", "reads stored integers", "quantised bias", "ends in int8"):
        assert text in found
