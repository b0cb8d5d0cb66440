"""The Conv3D-free form of video networks, against ONNX Runtime on the networks as they were."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import SMALL, random_parameters, spec_for
from requirements import needs, require

from r2p_edge.errors import ModelError
from r2p_edge.spec.model_spec import InputSpec

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper, shape_inference  # noqa: E402

from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d  # noqa: E402

pytestmark = needs("onnxruntime")
VIDEO = [1, 3, 4, 4, 4]
property_test = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def session(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data = model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def feeds(model, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    for value in model.graph.input:
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            found[value.name] = rng.integers(0, 256, shape, np.uint8)
        else:
            found[value.name] = rng.normal(size=shape).astype(np.float32)
    return found


def ranks(model):
    """The number of axes of every tensor but the inputs, by name."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.output):
        assert value.type.tensor_type.HasField("shape"), value.name
        found[value.name] = len(value.type.tensor_type.shape.dim)
    assert found.keys() >= {name for node in graph.node for name in node.output if name}
    return found


def lowered(model):
    """The Conv3D-free form, after checking all about it that does not take running it."""
    before = model.SerializeToString(deterministic=True)
    result = conv2d_from_conv3d(model)
    assert model.SerializeToString(deterministic=True) == before
    assert conv2d_from_conv3d(model).SerializeToString(deterministic=True) == (
        result.SerializeToString(deterministic=True)
    )
    onnx.checker.check_model(result, full_check=True)
    assert max(ranks(result).values()) <= 4
    for field in ("opset_import", "metadata_props", "ir_version", "producer_name"):
        assert getattr(result, field) == getattr(model, field)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    assert list(result.graph.input) == inputs
    assert result.graph.output == model.graph.output
    for value in inputs:
        if len(value.type.tensor_type.shape.dim) > 4:
            (reader,) = (node for node in result.graph.node if value.name in node.input)
            assert reader.op_type == "Reshape"
    return result


def outputs(model):
    return session(model).run(None, feeds(model))[0]


def check(model):
    """The Conv3D-free form, which answers as the model does."""
    result = lowered(model)
    assert_close(outputs(result), outputs(model))
    return result


def assert_close(have, want, tolerance=1e-5):
    assert (have.shape, have.dtype) == (want.shape, want.dtype)
    assert np.abs(have - want).max() <= tolerance * np.abs(want).max()


def graph_of(nodes, shape, weights=(), *, opset=17, kind=TensorProto.FLOAT, rank=2):
    """A model with input x and output y, of `rank` axes whose sizes are left to be found."""
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    axes = [f"axis {i}" for i in range(rank)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, axes)]
    constants = [numpy_helper.from_array(value, name) for name, value in dict(weights).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


# Networks of torchvision and others, as torch exports them


@needs("torch")
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 17), (True, 18)])
@pytest.mark.parametrize("name", ["r2plus1d_18", "r3d_18", "mc3_18"])
def test_torchvisions_networks(torchvision, name, dynamo, opset):
    import torch
    from conv3d_networks import exported, random_statistics

    if dynamo:
        require("onnxscript")
    torch.manual_seed(0)
    network = random_statistics(getattr(torchvision.models.video, name)(num_classes=11))
    model = exported(network, torch.randn(1, 3, 8, 32, 32), dynamo=dynamo, opset=opset)
    result = check(model)
    operators = {node.op_type for node in result.graph.node}
    # TorchScript's exporter folds batch norms away, and torch.export's optimiser does as well.
    assert operators <= {"Add", "Conv", "Flatten", "Gemm", "Identity", "Pad", "ReduceMean"} | {
        "Relu",
        "Reshape",
        "Slice",
        "Transpose",
        "MatMul",
    }


@needs("torch")
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 13), (False, 17), (True, 18), (True, 20)])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("name", "shape"), [("InflatedInception", (16, 64, 64)), ("Depthwise", (8, 32, 32))]
)
def test_networks_with_pools_and_branches(name, shape, batch, dynamo, opset):
    import conv3d_networks
    import torch

    if dynamo:
        require("onnxscript")
    torch.manual_seed(0)
    network = conv3d_networks.random_statistics(getattr(conv3d_networks, name)())
    example = torch.randn(batch, 3, *shape)
    model = conv3d_networks.exported(network, example, dynamo=dynamo, opset=opset)
    result = check(model)
    assert result.opset_import[0].version == opset
    with torch.no_grad():
        want = network(example).numpy()
    (have,) = session(result).run(None, {result.graph.input[0].name: example.numpy()})
    assert_close(have, want)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "input",
    [
        InputSpec(),
        InputSpec(layout="NCTHW"),
        InputSpec(dtype="float32", layout="NTHWC"),
        InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False),
    ],
)
def test_own_export(batch, input):
    model = own_export(spec_for(7, frames=5, size=20, input=input), batch)
    result = check(model)
    assert len(result.metadata_props) == 1
    names = {name for node in result.graph.node for name in node.output}
    # All but the transposed input, which nothing computes.
    assert {node.output[0] for node in model.graph.node if node.op_type != "Transpose"} <= names


def own_export(spec, batch):
    """A small R(2+1)D as this package exports it."""
    from r2p_edge.export.checkpoints.dialects import canonical_parameters
    from r2p_edge.export.checkpoints.network import network_from_parameters
    from r2p_edge.export.graph.r2plus1d import onnx_from_parameters

    named = canonical_parameters(random_parameters(**SMALL))
    network = network_from_parameters(named.parameters, named.bn_eps)
    return onnx_from_parameters(named.parameters, network, spec, batch=batch)


@needs("torchvision")
@needs("openvino")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openvino_runs_it(torchvision):
    import openvino
    import torch
    from conv3d_networks import exported, random_statistics

    torch.manual_seed(0)
    network = random_statistics(torchvision.models.video.r2plus1d_18(num_classes=11))
    model = exported(network, torch.randn(1, 3, 8, 32, 32), dynamo=False, opset=17)
    core = openvino.Core()
    read = core.read_model(lowered(model).SerializeToString(), b"")
    assert all(
        len(output.partial_shape) <= 4
        for operation in read.get_ops()
        if operation.get_type_name() != "Parameter"
        for output in operation.outputs()
    )
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    (have,) = core.compile_model(read, "CPU", config)(list(feeds(model).values())).values()
    assert_close(have, outputs(model))


# Single operators


@st.composite
def windows(draw, most_padding=lambda kernel: kernel - 1):
    """Shape of an input, and attributes of an operator with a window."""
    shape = [draw(st.integers(1, 2)), draw(st.sampled_from([1, 2, 4]))]
    shape += [draw(st.integers(1, 7)) for _ in range(3)]
    kernel = [draw(st.integers(1, 4)) for _ in range(3)]
    strides = [draw(st.integers(1, 3)) for _ in range(3)]
    found = {"kernel_shape": kernel, "strides": strides}
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode.startswith("SAME"):
        # ONNX Runtime takes dilations for none here, and refuses to skip elements.
        found["strides"] = [min(pair) for pair in zip(strides, kernel)]
        return shape, {**found, "auto_pad": mode}
    found["dilations"] = dilations = [draw(st.integers(1, 2)) for _ in range(3)]
    if mode == "VALID":
        found["auto_pad"], pads = mode, [0] * 6
    else:
        found["pads"] = pads = [draw(st.integers(0, most_padding(k))) for k in kernel * 2]
    axes = zip(shape[2:], kernel, strides, dilations, pads, pads[3:])
    for size, k, stride, dilation, before, after in axes:
        places = range(0, size + before + after - dilation * (k - 1), stride)
        reads = {place + tap * dilation - before for place in places for tap in range(k)}
        assume(reads & set(range(size)))
    return shape, found


def compare(node, shape, weights=(), *, opset=17, tolerance=1e-5):
    """Checks one node, which is given without an output, on a random input."""
    node.output.append("z")
    nodes = [node, helper.make_node("Flatten", ["z"], ["y"])]
    result = lowered(graph_of(nodes, shape, weights, opset=opset))
    node.output[0] = "y"
    # The node alone: ONNX Runtime may give another size after a pool than it inferred for it.
    want = outputs(graph_of([node], shape, weights, opset=opset, rank=5))
    assert_close(outputs(result), want.reshape(len(want), -1), tolerance)


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


@property_test
@given(windows(), st.sampled_from([0, 1]), st.sampled_from([13, 17, 19]))
def test_max_pools(window, ceil, opset):
    shape, attributes = window
    if ceil:
        attributes.pop("dilations", None)
    node = helper.make_node("MaxPool", ["x"], [], ceil_mode=ceil, **attributes)
    compare(node, shape, opset=opset, tolerance=0)


@property_test
@given(windows(), st.sampled_from([0, 1]), st.sampled_from([0, 1]), st.sampled_from([17, 19]))
def test_average_pools(window, ceil, count_padding, opset):
    import onnxruntime

    shape, attributes = window
    # ONNX Runtime 1.23, the last for Python 3.10, does not count padding from opset 19 on, and
    # counts what ceil_mode adds; 1.31 does both right.
    old = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24)
    if old and count_padding:
        opset, ceil = 17, 0
    if opset < 19 or ceil:
        attributes.pop("dilations", None)
    flags = {"ceil_mode": ceil, "count_include_pad": count_padding}
    compare(helper.make_node("AveragePool", ["x"], [], **flags, **attributes), shape, opset=opset)


class Chain:
    """Random nodes, each on the output of the one before, from a video tensor to a matrix."""

    def __init__(self, rng, shape):
        self.rng, self.shape, self.nodes, self.weights = rng, tuple(shape), [], {}
        self.name = "x"

    def add(self, operator, shape, *constants, extra=(), **attributes):
        names = [f"c{len(self.weights) + i}" for i in range(len(constants))]
        self.weights |= dict(zip(names, constants))
        output = f"t{len(self.nodes)}"
        inputs = [self.name, *extra, *names]
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        self.name, self.shape = output, tuple(int(size) for size in shape)

    def axis(self):
        return int(self.rng.integers(len(self.shape)))

    def resized(self, axis, size):
        return (*self.shape[:axis], size, *self.shape[axis + 1 :])

    def transpose(self):
        axes = [int(axis) for axis in self.rng.permutation(len(self.shape))]
        self.add("Transpose", [self.shape[axis] for axis in axes], perm=axes)

    def reshape(self):
        """To four or more axes, of which some are split and others merged."""
        factors = [factor for size in self.shape for factor in ([2, 2] if size == 4 else [size])]
        cuts = sorted(self.rng.integers(0, len(factors) + 1, int(self.rng.integers(3, 6))))
        shape = np.array([np.prod(part) for part in np.split(factors, cuts)], np.int64)
        self.add("Reshape", shape, shape)

    def arithmetic(self):
        shape = [n if self.rng.random() < 0.5 else 1 for n in self.shape]
        shape = shape[int(self.rng.integers(len(shape))) :]
        operator = str(self.rng.choice(["Mul", "Add", "Sub", "Max"]))
        self.add(operator, self.shape, self.rng.normal(size=shape).astype(np.float32))

    def excite(self):
        """A product with what is reduced from the same tensor."""
        before, shape = self.name, self.shape
        self.reduce(keepdims=1)
        self.add("Sigmoid", self.shape)
        self.add("Mul", shape, extra=[before])

    def reduce(self, keepdims=None):
        count = int(self.rng.integers(1, len(self.shape)))
        axes = sorted(map(int, self.rng.choice(len(self.shape), count, replace=False)))
        keepdims = int(self.rng.integers(2)) if keepdims is None else keepdims
        shape = [1 if a in axes else n for a, n in enumerate(self.shape)]
        if not keepdims:
            shape = [n for a, n in enumerate(self.shape) if a not in axes]
        operator = str(self.rng.choice(["ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2"]))
        if operator == "ReduceSum":
            self.add(operator, shape, np.array(axes), keepdims=keepdims)
        else:
            self.add(operator, shape, axes=axes, keepdims=keepdims)

    def slice(self):
        axis = self.axis()
        start, end, step = (int(n) for n in self.rng.integers(-6, 7, 3))
        step = step or 1
        size = len(range(*slice(start, end, step).indices(self.shape[axis])))
        if size:
            bounds = [np.array([n]) for n in (start, end, axis - len(self.shape), step)]
            self.add("Slice", self.resized(axis, size), *bounds)

    def split(self):
        axis = self.axis()
        shape, size = self.shape, self.shape[axis]
        if size > 1:
            self.add("Split", self.resized(axis, size - 1), np.array([1, size - 1]), axis=axis)
            first = f"{self.name}.first"
            self.nodes[-1].output[:] = [first, self.name]
            self.add("Concat", shape, extra=[first], axis=axis)

    def concat(self):
        axis = self.axis()
        more = self.rng.normal(size=self.resized(axis, 2)).astype(np.float32)
        self.add("Concat", self.resized(axis, self.shape[axis] + 2), more, axis=axis)

    def pad(self):
        pads = self.rng.integers(0, 2, 2 * len(self.shape))
        mode = str(self.rng.choice(["constant", "edge"]))
        shape = np.add(self.shape, pads.reshape(2, -1).sum(0))
        self.add("Pad", shape, pads, np.float32(0.5), mode=mode)

    def gather(self):
        axis = self.axis()
        if self.rng.random() < 0.5:
            shape = (*self.shape[:axis], *self.shape[axis + 1 :])
            self.add("Gather", shape, np.array(-1), axis=axis)
        else:
            self.add("Gather", self.resized(axis, 3), np.array([0, -1, 0]), axis=axis)

    def softmax(self):
        self.add("Softmax", self.shape, axis=self.axis())

    def tile(self):
        repeats = self.rng.integers(1, 3, len(self.shape))
        self.add("Tile", np.multiply(self.shape, repeats), repeats)

    def multiply(self):
        matrix = self.rng.normal(size=(self.shape[-1], 3)).astype(np.float32)
        self.add("MatMul", (*self.shape[:-1], 3), matrix)

    def normalize(self):
        scales = [self.rng.normal(size=self.shape[1]).astype(np.float32) for _ in range(2)]
        self.add("InstanceNormalization", self.shape, *scales)

    def unsqueeze(self):
        axis = int(self.rng.integers(len(self.shape) + 1))
        self.add("Unsqueeze", np.insert(self.shape, axis, 1), np.array([axis]))

    def squeeze(self):
        axes = [axis for axis, size in enumerate(self.shape) if size == 1]
        if axes:
            self.add("Squeeze", np.delete(self.shape, axes[0]), np.array(axes[:1]))


STEPS = sorted(
    {name for name in vars(Chain) if not name.startswith("_")} - {"add", "axis", "resized"}
)


@pytest.mark.parametrize("seed", range(100))
def test_chains_of_operators(seed):
    rng = np.random.default_rng(seed)
    shape = [int(size) for size in rng.integers(1, 5, 5)]
    chain = Chain(rng, shape)
    for _ in range(10):
        step = str(rng.choice(STEPS))
        if len(chain.shape) == 5 or (len(chain.shape) == 6 and step not in ("normalize", "tile")):
            getattr(chain, step)()
    print(shape, [node.op_type for node in chain.nodes])
    nodes = [*chain.nodes, helper.make_node("Flatten", [chain.name], ["y"])]
    check(graph_of(nodes, shape, chain.weights))


def node(operator, *names, **attributes):
    """A node of the inputs and the one output named."""
    *inputs, output = names
    return helper.make_node(operator, inputs, [output], name=f"the {output}", **attributes)


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2])
def test_elementwise_operators(batch):
    scale = {"one": normal(3, 1, 1, 1), "two": normal(1, 1, 4, 1, 1), "three": normal(5)}
    nodes = [
        node("Mul", "x", "one", "a"),
        node("PRelu", "a", "one", "b"),
        node("Add", "b", "two", "c"),
        node("LeakyRelu", "c", "d", alpha=0.2),
        node("Clip", "d", "low", "", "e"),
        node("HardSwish", "e", "f"),
        node("Greater", "f", "three", "g"),
        node("Where", "g", "f", "two", "h"),
        node("Dropout", "h", "i"),
        node("BatchNormalization", "i", *("m" * 3), "v", "j"),
        node("Cast", "j", "k", to=TensorProto.FLOAT16),
        node("Cast", "k", "l", to=TensorProto.FLOAT),
        node("GlobalMaxPool", "l", "o"),
        node("HardSigmoid", "o", "p"),
        node("Div", "l", "p", "q"),
        node("Mean", "q", "x", "o", "r"),
        node("Flatten", "r", "y"),
    ]
    more = {"low": np.float32(-1), "m": normal(3), "v": normal(3) ** 2}
    check(graph_of(nodes, [batch, 3, 4, 2, 5], {**scale, **more}))


def test_weights_that_are_computed():
    """Constant nodes, shape arithmetic, a function, and a branch that a constant decides."""
    then = helper.make_graph(
        [node("Relu", "c", "then out")],
        "then",
        [],
        [helper.make_empty_tensor_value_info("then out")],
    )
    other = helper.make_graph(
        [node("Neg", "c", "else out")],
        "else",
        [],
        [helper.make_empty_tensor_value_info("else out")],
    )
    weight = numpy_helper.from_array(normal(4, 3, 2, 1, 1).astype(np.float16))
    nodes = [
        helper.make_node("Constant", [], ["half"], value=weight),
        node("Cast", "half", "w", to=TensorProto.FLOAT),
        node("Conv", "x", "w", "c"),
        node("Shape", "c", "shape"),
        node("Size", "shape", "rank"),
        node("Equal", "rank", "five", "is five"),
        helper.make_node("If", ["is five"], ["z"], then_branch=then, else_branch=other),
        node("Gather", "shape", "zero", "rows"),
        node("Concat", "rows", "rest", "wanted", axis=0),
        node("Reshape", "z", "wanted", "y"),
    ]
    numbers = {"five": np.array(5), "zero": np.array([0]), "rest": np.array([-1])}
    result = check(graph_of(nodes, [2, 3, 4, 2, 5], numbers))
    assert {node.op_type for node in result.graph.node} >= {"Conv", "Relu"}
    assert not {"If", "Shape", "Constant", "Cast", "Neg"} & {n.op_type for n in result.graph.node}


def test_local_functions():
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [node("Add", "a", "a", "b")], opsets
    )
    nodes = [helper.make_node("Twice", ["x"], ["z"], domain="local"), node("Flatten", "z", "y")]
    model = graph_of(nodes, [1, 3, 4, 2, 5])
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    inputs = feeds(model)
    (have,) = session(conv2d_from_conv3d(model)).run(None, inputs)
    assert_close(have, 2 * inputs["x"].reshape(1, -1))


@pytest.mark.parametrize("channels", [False, True])
def test_quantised_networks(channels):
    rng = np.random.default_rng(0)
    count = 4 if channels else 1
    scales = rng.uniform(0.01, 0.02, (count,)).astype(np.float32)
    weights = {
        "w": rng.integers(-127, 128, (4, 3, 3, 3, 3), np.int8),
        "ws": scales if channels else scales.reshape(()),
        "wz": np.zeros(count if channels else (), np.int8),
        "s": np.float32(0.05),
        "z": np.uint8(128),
        "b": rng.integers(-500, 500, 4, np.int32),
        "bs": (scales if channels else scales.reshape(())) * np.float32(0.05),
        "fc": normal(4, 5),
    }
    nodes = [
        node("QuantizeLinear", "x", "s", "z", "xq"),
        node("DequantizeLinear", "xq", "s", "z", "xf"),
        node("DequantizeLinear", "w", "ws", "wz", "wf", axis=0),
        node("DequantizeLinear", "b", "bs", "bf", axis=0),
        node("Conv", "xf", "wf", "bf", "c", strides=[2, 1, 1], pads=[1] * 6),
        node("QuantizeLinear", "c", "s", "z", "cq"),
        node("DequantizeLinear", "cq", "s", "z", "cf"),
        node("ReduceMean", "cf", "m", axes=[2, 3, 4], keepdims=0),
        node("MatMul", "m", "fc", "y"),
    ]
    model = graph_of(nodes, [2, 3, 4, 6, 5], weights)
    result = lowered(model)
    # A value at the edge between two steps may fall to the other side.
    assert_close(outputs(result), outputs(model), 1e-2)
    made_by = {name: each for each in result.graph.node for name in each.output}
    weights = [made_by[each.input[1]] for each in result.graph.node if each.op_type == "Conv"]
    kinds = {each.name: each.data_type for each in result.graph.initializer}
    assert [each.op_type for each in weights] == ["DequantizeLinear"] * 3
    assert {kinds[each.input[0]] for each in weights} == {TensorProto.INT8}


def test_activations_quantised_by_channel():
    nodes = [
        node("QuantizeLinear", "x", "scales", "zeros", "q", axis=1),
        node("DequantizeLinear", "q", "scales", "zeros", "d", axis=-4),
        node("Flatten", "d", "y"),
    ]
    weights = {"scales": np.float32([0.01, 0.02, 0.04]), "zeros": np.zeros(3, np.int8)}
    check(graph_of(nodes, [2, 3, 4, 2, 5], weights))


def test_axes_as_inputs():
    nodes = [
        node("ReduceMean", "x", "", "same", noop_with_empty_axes=1),
        node("ReduceMax", "same", "axes", "z"),
        node("Expand", "z", "sizes", "e"),
        node("ReduceMean", "e", "most", "m", keepdims=0),
        node("Pad", "m", "pads", "", "places", "p", mode="reflect"),
        node("Flatten", "p", "y"),
    ]
    weights = {
        "axes": np.array([-3, 0]),
        "sizes": np.array([2, 1, 2, 1, 4, 1, 1]),
        "most": np.array([0, 1]),
        "pads": np.array([1, 1]),
        "places": np.array([1]),
    }
    check(graph_of(nodes, [2, 2, 3, 5, 4], weights, opset=18))


def test_weights_that_are_inputs_as_well():
    """As files of old exporters have them."""
    model = graph_of([node("Conv", "x", "w", "c"), node("Flatten", "c", "y")], VIDEO)
    model.graph.initializer.append(numpy_helper.from_array(normal(4, 3, 3, 1, 1), "w"))
    info = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 1, 1])
    model.graph.input.append(info)
    result = lowered(model)
    feed = {"x": normal(*VIDEO)}
    (want,), (have,) = (session(each).run(None, feed) for each in (model, result))
    assert_close(have, want)


def test_names_do_not_collide():
    nodes = [
        node("Relu", "x", "x.2d"),
        node("Conv", "x.2d", "w", "w.2d"),
        node("Flatten", "w.2d", "y"),
    ]
    check(graph_of(nodes, [1, 3, 4, 2, 5], {"w": normal(4, 3, 1, 1, 1)}))


def test_frames_stay_planes():
    """No convolution gets a tensor whose last axis is that of several rows."""
    for batch in (1, 2):
        model = own_export(spec_for(7, frames=5, size=20), batch)
        result = lowered(model)
        graph = shape_inference.infer_shapes(result).graph
        sizes = {
            value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in graph.value_info
        }
        for each in graph.node:
            if each.op_type == "Conv":
                assert sizes[each.input[0]][0] <= 5 * batch
                assert sizes[each.input[0]][2] == sizes[each.input[0]][3] <= 20


def test_only_needed_frames_are_computed():
    """Of a convolution that ends in one frame, with fewer channels out than in."""
    nodes = [node("Conv", "x", "w", "c"), node("Flatten", "c", "y")]
    result = check(graph_of(nodes, [1, 8, 6, 4, 4], {"w": normal(2, 8, 6, 3, 3)}))
    graph = shape_inference.infer_shapes(result).graph
    results = {name for each in graph.node if each.op_type == "Conv" for name in each.output}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    assert [shapes[name][0].dim_value for name in results] == [1] * 6


def test_a_model_without_such_tensors_comes_back():
    model = graph_of([node("Flatten", "x", "y")], [1, 3, "H", 4])
    result = conv2d_from_conv3d(model)
    assert result == model
    assert result is not model


# What is refused


def refusal(model):
    with pytest.raises(ModelError) as caught:
        conv2d_from_conv3d(model)
    return str(caught.value)


def test_open_axes_are_refused():
    nodes = [node("Flatten", "x", "y")]
    text = refusal(graph_of(nodes, ["batch", 3, 4, None, 5]))
    assert "the input x has open axes: 0 (batch), 3; export the model with static shapes" in text


def test_all_that_cannot_be_lowered_is_named():
    nodes = [
        node("Resize", "x", "", "scales", "a"),
        node("Conv", "a", "w", "b"),
        node("LpPool", "b", "c", kernel_shape=[1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["d", "indices"], name="the d", kernel_shape=[1, 1, 1]),
        node("ReduceMax", "indices", "e", axes=[1, 2, 3, 4], keepdims=0),
        node("Conv", "d", "d", "f"),
        node("Flatten", "f", "y"),
    ]
    weights = {"scales": np.float32([1, 1, 1, 2, 2]), "w": normal(3, 3, 1, 1, 1)}
    text = refusal(graph_of(nodes, [1, 3, 1, 1, 1], weights))
    assert "the a (Resize: it has more than four axes), the c (LpPool:" in text
    assert "the b" not in text


@pytest.mark.parametrize(
    ("nodes", "shape", "reason"),
    [
        ([node("Conv", "x", "x", "z")], [3, 3, 1, 1, 1], "the z (Conv: its weight is not constant"),
        ([node("Conv", "x", "w6", "z")], [1, 1, 2, 2, 2, 2], "it slides over 4 axes"),
        (
            [node("Conv", "x", "w", "z", pads=[3] * 6, strides=[8] * 3)],
            VIDEO,
            "all it reads is pad",
        ),
        (
            [node("MaxPool", "x", "z", kernel_shape=[2] * 3, ceil_mode=1, dilations=[2] * 3)],
            VIDEO,
            "it has both ceil_mode and dilations",
        ),
        (
            [
                helper.make_node("MaxPool", ["x"], ["", "i"], "the pool", kernel_shape=[2] * 3),
                node("Cast", "i", "z", to=TensorProto.FLOAT),
            ],
            VIDEO,
            "the pool (MaxPool: its indices count positions",
        ),
        (
            [
                helper.make_node("Dropout", ["x"], ["d", "mask"], "drop"),
                node("Where", "mask", "x", "d", "z"),
            ],
            VIDEO,
            "drop (Dropout: its mask would be needed)",
        ),
        (
            [
                helper.make_node(
                    "BatchNormalization",
                    ["x", *["v"] * 4],
                    ["z", "mean", "variance"],
                    name="norm",
                    training_mode=1,
                )
            ],
            VIDEO,
            "norm (BatchNormalization: it is in training mode)",
        ),
        ([node("MatMul", "x", "x", "z")], VIDEO, "other than with a matrix from the right"),
        (
            [node("LayerNormalization", "x", "square", "z", axis=3)],
            VIDEO,
            "it is over more than the last axis",
        ),
        ([node("Gather", "x", "matrix", "z")], VIDEO, "its indices are not a constant vector"),
        (
            [
                node("DequantizeLinear", "bytes", "v", "wf", axis=2),
                node("Conv", "x", "wf", "z"),
            ],
            VIDEO,
            "the wf (DequantizeLinear: its scales are neither one nor one per channel)",
        ),
        (
            [node("NonZero", "x", "n"), node("Cast", "n", "z", to=TensorProto.FLOAT)],
            VIDEO,
            "of the n (NonZero: the shape of n is not known before it runs); replace",
        ),
        ([node("Other", "x", "n"), node("Relu", "n", "z")], VIDEO, "the n (Other: the shape of n"),
        ([node("Relu", "nothing", "z")], VIDEO, "the shape of nothing is not known"),
    ],
)
def test_refusals(nodes, shape, reason):
    weights = {
        "w": normal(3, 3, 1, 1, 1),
        "w6": normal(1, 1, 1, 1, 1, 1),
        "v": np.ones(3, np.float32),
        "square": normal(4, 4),
        "matrix": np.zeros((2, 2), np.int64),
        "bytes": np.ones((3, 3, 3, 1, 1), np.int8),
    }
    text = refusal(graph_of([*nodes, node("Flatten", "z", "y")], shape, weights))
    assert reason in text
    assert text.endswith("replace these in its source and export it again")


def test_an_output_of_five_axes_is_refused():
    text = refusal(graph_of([node("Relu", "x", "y")], VIDEO, rank=5))
    assert "because of the output y (it has 5 axes); replace" in text


def test_undecided_branches_are_refused():
    branches = {
        name: helper.make_graph([node(operator, "x", name)], name, [], [value])
        for name, operator in (("then_branch", "Relu"), ("else_branch", "Neg"))
        for value in [helper.make_tensor_value_info(name, TensorProto.FLOAT, VIDEO)]
    }
    nodes = [
        node("ReduceMax", "x", "m", keepdims=0),
        node("Cast", "m", "c", to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["z"], "choice", **branches),
        node("Flatten", "z", "y"),
    ]
    assert "choice (If: control flow is not looked into)" in refusal(graph_of(nodes, VIDEO))


def test_old_opsets_are_refused():
    model = graph_of([node("Flatten", "x", "y")], VIDEO, opset=12)
    assert "is of opset 12 and must be of 13 or later" in refusal(model)


def test_onnx_is_needed():
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; sys.modules['onnx'] = None\n"
        "from r2p_edge.errors import MissingDependencyError\n"
        "from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d\n"
        "try: conv2d_from_conv3d(None)\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "r2p_edge[export]"' in result.stdout, result.stderr
