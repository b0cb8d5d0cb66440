"""Whole networks without 3-D operators, against ONNX Runtime on the networks as they were."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from networks import INPUTS, small_network, spec_for
from requirements import needs, require

pytest.importorskip("onnx")
from conv2d_checks import (
    VIDEO,
    assert_close,
    check,
    feeds,
    graph_of,
    lowered,
    node,
    normal,
    outputs,
    refusal,
    session,
)
from onnx import TensorProto, helper, numpy_helper, shape_inference

from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d

pytestmark = needs("onnxruntime")


@pytest.mark.slow
@needs("torchvision")
@needs("torch")
@pytest.mark.parametrize(
    ("dynamo", "opset"), [(False, 17), pytest.param(True, 18, marks=pytest.mark.long)]
)
@pytest.mark.parametrize(
    "name",
    ["r2plus1d_18", *(pytest.param(n, marks=pytest.mark.long) for n in ("r3d_18", "mc3_18"))],
)
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
@pytest.mark.parametrize(
    ("dynamo", "opset"),
    [
        (False, 13),
        (False, 17),
        pytest.param(True, 18, marks=pytest.mark.long),
        (True, 20),
    ],
)
@pytest.mark.parametrize("batch", [1, pytest.param(2, marks=pytest.mark.long)])
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
@pytest.mark.parametrize("input", INPUTS)
def test_own_export(batch, input):
    model = small_network(spec_for(7, frames=5, size=20, input=input), batch)
    result = check(model)
    assert len(result.metadata_props) == 1
    names = {name for node in result.graph.node for name in node.output}
    # All but the transposed input, which nothing computes.
    assert {node.output[0] for node in model.graph.node if node.op_type != "Transpose"} <= names


@pytest.mark.slow
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


def test_weights_that_are_inputs_as_well():
    """Files of old exporters have them."""
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
        model = small_network(spec_for(7, frames=5, size=20), batch)
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


def test_a_model_without_such_tensors_comes_back():
    model = graph_of([node("Flatten", "x", "y")], [1, 3, "H", 4])
    result = conv2d_from_conv3d(model)
    assert result == model
    assert result is not model


def test_open_axes_are_refused():
    nodes = [node("Flatten", "x", "y")]
    text = refusal(graph_of(nodes, ["batch", 3, 4, None, 5]))
    assert "the input x has open axes: 0 (batch), 3; export the model with static shapes" in text


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
    assert "pip install onnx" in result.stdout, result.stderr
