"""Models converted to float16, against ONNX Runtime on the float32 ones, and torch."""

from __future__ import annotations

import numpy as np
import pytest
from networks import INPUTS, small_network, spec_for, torchvision_network
from requirements import needs, require
from tensorrt_models import quantise

from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.errors import ModelError
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.synthetic_clips import input_from_clips, normalized, verification_clips

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper, shape_inference  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d  # noqa: E402
from r2p_edge.export.graph.float16 import half_from_float  # noqa: E402

pytestmark = needs("onnxruntime")
SMALLEST = 2.0**-24  # of float16's positive numbers
Q, DQ = "QuantizeLinear", "DequantizeLinear"


def answers(model, tensor):
    return run_session(open_session(model.SerializeToString()), tensor)


def reference_answers(model, tensor):
    """Run onnx's own evaluator, as older ONNX Runtimes are wrong in float16.

    Up to 1.23 at least they cut fractions off in QuantizeLinear instead of rounding
    (microsoft/onnxruntime#22741), and crash on weights that are listed as inputs.
    """
    return ReferenceEvaluator(model).run(None, {model.graph.input[0].name: tensor})


def constants(model):
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def halved(model):
    """Return the model in float16, after every check that needs no run of it."""
    before = model.SerializeToString(deterministic=True)
    result = half_from_float(model)
    assert model.SerializeToString(deterministic=True) == before
    assert half_from_float(model).SerializeToString(deterministic=True) == (
        result.SerializeToString(deterministic=True)
    )
    onnx.checker.check_model(result, full_check=True)
    for field in ("metadata_props", "producer_name"):
        assert getattr(result, field) == getattr(model, field)
    assert result.graph.output == model.graph.output
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    assert [value for value in result.graph.input if value.name not in weights] == inputs

    # Only the outputs are float32, and only a Cast may give one.
    types = types_of(result)
    outputs = {value.name for value in result.graph.output}
    for node in result.graph.node:
        for name in node.output:
            assert types[name] not in (TensorProto.FLOAT, TensorProto.DOUBLE) or (
                node.op_type == "Cast" and name in outputs
            ), node
    return result


def types_of(model):
    graph = shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def check(model, tensor, cosine=0.9999, answers_of_half=answers):
    """Return the model in float16, after checking that it answers nearly as the model does."""
    result = halved(model)
    assert not any(array.dtype == np.float32 for array in constants(result).values())
    want, have = answers(model, tensor), answers_of_half(result, tensor)
    assert have.dtype == np.float32
    found = agreement(want, have)
    assert found.cosine >= cosine, found
    assert found.max_abs > 0
    return result


# Networks


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
def test_motion(motion_model, graph):
    model, spec = onnx.load(motion_model), embedded_spec(motion_model)
    if graph == "conv2d":
        model = conv2d_from_conv3d(model)
    result = check(model, verification_clips(spec))
    assert result.metadata_props
    assert result.opset_import == model.opset_import
    assert result.ir_version == model.ir_version
    # The names of the tensors are all there; the casts have new ones.
    names = [{name for node in m.graph.node for name in node.output} for m in (model, result)]
    assert names[1] - names[0] == {"logits.float16"}
    assert names[0] <= names[1]


@pytest.mark.parametrize("input", INPUTS)
def test_every_input(input):
    spec = spec_for(7, input=input)
    check(small_network(spec, batch=2), input_from_clips(verification_clips(spec), spec))


@needs("torch")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize(
    ("name", "opsets"),
    [
        pytest.param("r2plus1d_18", (17, 18), marks=pytest.mark.long),
        ("InflatedInception", (13, 20)),
        ("Depthwise", (13, 20)),
    ],
)
def test_what_torch_exports(name, dynamo, opsets):
    import torch
    from conv3d_networks import exported, random_statistics

    if dynamo:
        require("onnxscript")
    if name == "r2plus1d_18":
        require("torchvision")
        network, spec = torchvision_network()[0], spec_for(400)
    else:
        import conv3d_networks

        torch.manual_seed(0)
        network = random_statistics(getattr(conv3d_networks, name)())
        spec = spec_for(5, frames=16, size=64)
    clips = normalized(verification_clips(spec), spec)
    model = exported(network, torch.from_numpy(clips[:1]), dynamo=dynamo, opset=opsets[dynamo])
    check(model, clips)
    if name != "r2plus1d_18":
        check(conv2d_from_conv3d(model), clips)


@needs("torch")
def test_against_torch():
    """Use numbers whose last digits float16 drops, after which all results are exact."""
    import torch

    rng = np.random.default_rng(0)

    def numbers(*shape):
        return (rng.integers(-2, 3, shape) * (1 + 2.0**-12)).astype(np.float32)

    x = np.sign(numbers(2, 3, 4, 6, 6))
    weights = {"w": numbers(4, 3, 3, 3, 3), "b": numbers(4), "f": numbers(5, 4), "c": numbers(5)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("ReduceMean", ["relu"], ["mean"], axes=[2, 3, 4], keepdims=0),
        helper.make_node("Gemm", ["mean", "f", "c"], ["y"], transB=1),
    ]
    model = graph_of(nodes, x.shape, weights, rank=2)
    half = {name: torch.from_numpy(array).half() for name, array in weights.items()}
    conv = torch.nn.functional.conv3d(torch.from_numpy(x).half(), half["w"], half["b"])
    mean = conv.relu().mean((2, 3, 4))
    want = torch.nn.functional.linear(mean, half["f"], half["c"]).float().numpy()
    np.testing.assert_array_equal(answers(halved(model), x), want)
    assert (answers(model, x) != want).all()


def graph_of(nodes, shape, weights=(), *, opset=17, rank=5):
    """Make a model with input x and output y."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    axes = [f"axis {i}" for i in range(rank)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, axes)]
    arrays = dict(weights).items()
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(a, name) for name, a in arrays]
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


# Quantised models


@pytest.fixture
def quantised(tmp_path):
    """A small R(2+1)D whose convolutions are int8, as TensorRT wants it, and its spec."""
    spec = spec_for(7)
    source, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(small_network(spec), source)
    quantise(source, path, spec)
    return onnx.load(path), spec


@pytest.mark.slow
def test_quantised(quantised):
    model, spec = quantised
    before = constants(model)
    # Of values on the edge between two int8 ones some become the other.
    clips = verification_clips(spec)[:1]
    result = check(model, clips, 0.999, lambda half, clips: reference_answers(half, clips)[0])
    assert (result.opset_import[0].version, result.ir_version) == (19, 9)
    after, types = constants(result), types_of(result)
    count = 0
    for node in result.graph.node:
        if node.op_type not in (Q, DQ):
            continue
        scale, zero = node.input[1:]
        np.testing.assert_array_equal(after[scale], before[scale].astype(np.float16))
        np.testing.assert_array_equal(after[zero], np.zeros(before[zero].shape, np.int8))
        assert types[node.output[0]] == (TensorProto.INT8 if node.op_type == Q else 10)
        if node.op_type == Q and node.input[0] in after:
            assert after[node.input[0]].dtype == np.float16
            count += 1
    assert count == sum(node.op_type == "Conv" for node in model.graph.node)


@pytest.mark.parametrize(("opset", "expected"), [(13, 19), (18, 19), (19, 19), (21, 21)])
def test_quantised_numbers_stay(opset, expected):
    """If float16 represents all of them, the answers are the same."""
    nodes = [
        helper.make_node(Q, ["x", "s", "z"], ["q"]),
        helper.make_node(DQ, ["q", "s", "z"], ["d"]),
        helper.make_node(Q, ["w", "t", "u"], ["wq"], axis=0),
        helper.make_node(DQ, ["wq", "t", "u"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    weights = {
        "s": np.float32(0.25),
        "z": np.int8(0),
        "w": rng.integers(-9, 9, (2, 2, 1, 3, 3)).astype(np.float32) / 8,
        "t": np.array([0.5, 0.25], np.float32),
        "u": np.zeros(2, np.int8),
    }
    x = rng.integers(-60, 60, (1, 2, 3, 5, 5)).astype(np.float32) / 16
    model = graph_of(nodes, x.shape, weights, opset=opset)
    result = halved(model)
    assert result.opset_import[0].version == expected
    np.testing.assert_array_equal(reference_answers(result, x)[0], answers(model, x))


def test_scales_that_stay_float32(quantised):
    model, spec = quantised
    result = half_from_float(model, float32_scales=True)
    onnx.checker.check_model(result, full_check=True)
    assert (result.opset_import[0].version, result.ir_version) == (23, 11)
    before, after, types = constants(model), constants(result), types_of(result)
    nodes = [node for node in result.graph.node if node.op_type in (Q, DQ)]
    assert nodes
    for node in nodes:
        np.testing.assert_array_equal(after[node.input[1]], before[node.input[1]])
        assert types[node.output[0]] == (TensorProto.INT8 if node.op_type == Q else 10)
    clips = input_from_clips(verification_clips(spec)[:1], spec)
    have = reference_answers(result, clips)[0]
    assert agreement(answers(model, clips), have).cosine >= 0.999


def test_scales_that_float16_lacks():
    """Where they stay float32 nothing is lost, and nothing refused."""
    nodes = [
        helper.make_node(DQ, ["w", "s"], ["d"], axis=0),
        helper.make_node("Mul", ["x", "d"], ["y"]),
    ]
    weights = {"w": np.arange(-2, 2, dtype=np.int8), "s": np.array([0.5, 1, 2, 7e-6], "f")}
    result = half_from_float(graph_of(nodes, [1, 1, 1, 1, 4], weights), float32_scales=True)
    np.testing.assert_array_equal(constants(result)["s"], weights["s"])


@pytest.mark.parametrize("scale", [0, 1e-9, 2.0**-20, 0.5])
def test_scales_stay_positive(scale):
    nodes = [
        helper.make_node(Q, ["x", "s", "z"], ["q"]),
        helper.make_node(DQ, ["q", "s", "z"], ["y"]),
    ]
    weights = {"s": np.float32(scale), "z": np.int8(0)}
    assert constants(halved(graph_of(nodes, [1] * 5, weights)))["s"] == max(scale, SMALLEST)


@pytest.mark.parametrize("as_nodes", [False, True])
@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_constants_that_are_quantised_already(dtype, as_nodes):
    def model(scale):
        nodes = [
            helper.make_node(DQ, ["w", "s"], ["d"], axis=0),
            helper.make_node("Mul", ["x", "d"], ["y"]),
        ]
        weights = {"w": np.arange(-2, 2, dtype=dtype), "s": np.array([0.5, 1, 2, scale], "f")}
        if not as_nodes:
            return graph_of(nodes, [1, 1, 1, 1, 4], weights)
        tensors = {name: numpy_helper.from_array(array) for name, array in weights.items()}
        made = [helper.make_node("Constant", [], [n], value=t) for n, t in tensors.items()]
        return graph_of([*made, *nodes], [1, 1, 1, 1, 4])

    x = np.ones((1, 1, 1, 1, 4), np.float32)
    assert answers(halved(model(2.0**-17)), x).ravel().tolist() == [-1, -1, 0, 2.0**-17]
    with pytest.raises(ModelError, match=r"^w is quantised with a scale of 7e-06 \(s\), which"):
        half_from_float(model(7e-6))


# Constants and types


@pytest.mark.parametrize("kind", ["initializer", "Constant", "value_floats", "ConstantOfShape"])
def test_what_float16_cannot_hold(kind):
    def model(value):
        array = np.array([value], np.float32)
        weights = {"n": np.array([1])} | ({"k": array} if kind == "initializer" else {})
        attributes = {"value": numpy_helper.from_array(array)}
        if kind == "value_floats":
            attributes = {kind: [value]}
        inputs = ["n"] if kind == "ConstantOfShape" else []
        operator = "Constant" if kind == "value_floats" else kind
        nodes = [helper.make_node("Mul", ["x", "k"], ["y"])]
        if kind != "initializer":
            nodes.insert(0, helper.make_node(operator, inputs, ["k"], name="k", **attributes))
        return graph_of(nodes, [1] * 5, weights)

    x = np.ones([1] * 5, np.float32)
    for value, held in ((-65519, -65504), (-np.inf, -np.inf), (1e-9, 0)):
        assert answers(halved(model(value)), x) == held
    with pytest.raises(ModelError, match=r"^k has values up to 65520, but float16 ends at 65504"):
        half_from_float(model(-65520))


@pytest.mark.parametrize("as_node", [False, True])
def test_what_onnx_wants_in_float32_stays(as_node):
    scales = np.array([1, 1, 2, 2], np.float32)
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"])]
    if as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["scales"], value_floats=scales.tolist()))
    model = graph_of(nodes, [1, 1, 2, 2], {} if as_node else {"scales": scales}, rank=4)
    result = halved(model)
    np.testing.assert_array_equal(constants(result)["scales"], scales)
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(answers(result, x), answers(model, x))


def test_ends_that_are_read_inside_too():
    """Weights are listed as inputs, as old exporters do, and a name is taken already."""
    nodes = [
        helper.make_node("Add", ["x", "w"], ["x.float16"]),
        helper.make_node("Mul", ["x.float16", "x"], ["y"]),
        helper.make_node("Neg", ["y"], ["z"]),
    ]
    model = graph_of(nodes, [1] * 5, {"w": np.ones([1] * 5, np.float32)})
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1] * 5))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1] * 5))
    result = halved(model)
    assert [value.type.tensor_type.elem_type for value in result.graph.input] == [1, 10]
    found = reference_answers(result, np.full([1] * 5, 3, np.float32))
    assert [float(array.item()) for array in found] == [12, -12]


def test_local_functions():
    opsets = [helper.make_opsetid("", 17)]
    body = [
        helper.make_node("Constant", [], ["k"], value_float=0.1),
        helper.make_node("Mul", ["a", "k"], ["b"]),
    ]
    model = graph_of([helper.make_node("Tenth", ["x"], ["y"], domain="own")], [1] * 5)
    model.functions.append(helper.make_function("own", "Tenth", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert answers(halved(model), np.ones([1] * 5, np.float32)) == np.float16(0.1)


RELU = helper.make_node("Relu", ["d"], ["y"])


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], r"com\.microsoft\.Gelu"),
        ([helper.make_node("Unheard", ["x"], ["y"], name="n")], "^n is a Unheard,"),
        (
            [
                helper.make_node("Flatten", ["x"], ["f"]),
                helper.make_node("NonMaxSuppression", ["x", "x"], ["n"], name="boxes"),
                helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
            ],
            "node name: boxes",
        ),
        (
            [
                helper.make_node("Cast", ["x"], ["c"], to=TensorProto.DOUBLE, name="wide"),
                helper.make_node("Cast", ["c"], ["d"], to=TensorProto.FLOAT),
                RELU,
            ],
            "^wide gives DOUBLE",
        ),
        (
            [
                helper.make_node("RandomNormalLike", ["x"], ["r"], name="noise", dtype=1),
                helper.make_node("Cast", ["r"], ["d"], to=TensorProto.FLOAT),
                RELU,
            ],
            "^noise gives FLOAT",
        ),
    ],
)
def test_what_is_refused(nodes, named):
    with pytest.raises(ModelError, match=named):
        half_from_float(graph_of(nodes, [1, 1, 4], rank=3))


def test_opsets_that_onnx_cannot_convert():
    nodes = [
        helper.make_node(Q, ["x", "s", "z"], ["q"]),
        helper.make_node(DQ, ["q", "s", "z"], ["d"]),
        helper.make_node("Upsample", ["d", "k"], ["y"], mode="nearest"),
    ]
    weights = {"s": np.float32(1), "z": np.int8(0), "k": np.ones(5, np.float32)}
    with pytest.raises(ModelError, match="cannot convert the quantised model from opset 9 to 19"):
        half_from_float(graph_of(nodes, [1] * 5, weights, opset=9))
