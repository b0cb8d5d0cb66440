"""The check of whole models against the limits of a target: problems, messages and remedies."""

from __future__ import annotations

import importlib
import io
import re
import warnings

import numpy as np
import pytest
from networks import small_network, spec_for
from operator_models import ASCEND, CONV3D, NO_3D, conv, model_of, one, reasons
from requirements import needs, require

from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
from r2p_edge.export.graph.operator_limits import OPERATOR_LIMITS
from r2p_edge.export.graph.operators import check_ops, require_ops
from r2p_edge.spec import InputSpec

pytestmark = needs("onnx")

WITH_3D = sorted(OPERATOR_LIMITS.keys() - set(NO_3D))


@pytest.mark.parametrize("target", OPERATOR_LIMITS)
def test_a_plain_2d_network_fits_every_target(target):
    model = model_of(
        ("Conv", "x w", "a", {"pads": [1, 1, 1, 1], "strides": [1, 1]}),
        ("Relu", "a", "b", {}),
        ("MaxPool", "b", "c", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("GlobalAveragePool", "c", "d", {}),
        ("Flatten", "d", "e", {}),
        ("Gemm", "e f", "y", {"transB": 1}),
        constants=[("w", 1, (4, 4, 3, 3)), ("f", 1, (2, 4))],
    )
    assert check_ops(model, target) == []
    require_ops(model, target)


@pytest.mark.parametrize("target", OPERATOR_LIMITS)
def test_opsets(target):
    low, high = OPERATOR_LIMITS[target].opsets
    title = OPERATOR_LIMITS[target].title
    assert check_ops(one("Relu", opset=low), target) == []
    if low > 1:
        (problem,) = check_ops(one("Relu", opset=low - 1), target)
        assert (problem.node, problem.operator) == ("small", "graph")
        assert problem.reason.startswith(f"opset {low - 1}, where {low} to ")
    if high is None:
        return
    assert check_ops(one("Relu", opset=high), target) == []
    with pytest.raises(ModelError) as caught:
        require_ops(one("Relu", opset=high + 1), target)
    assert str(caught.value) == (
        f"the model does not fit {title}: small (graph): opset {high + 1}, "
        f"where {low} to {high} can be read; write it with opset {high}, "
        f"as by torch.onnx.export(opset_version={high})"
    )


@pytest.mark.parametrize(
    ("target", "name", "bad"),
    [
        ("mindspore-lite", "in:0", ":"),
        ("mindspore-lite", "a;b,c", ";,"),
        ("ascend310p", "in:0", ":"),
        ("ascend310p", "a,b", ""),
        ("onnx", "in:0;x", ""),
    ],
)
def test_characters_of_the_input_name(target, name, bad):
    model = model_of(("Relu", name, "y", {}), name=name)
    found = check_ops(model, target)
    assert [(p.node, p.operator) for p in found] == ([(name, "input")] if bad else [])
    assert all(p.reason.startswith(f"'{bad}' in its name") for p in found)


@pytest.mark.parametrize(
    ("target", "batch", "height"),
    [
        ("onnx", [], []),
        ("openvino", [], []),
        ("mindspore-lite", [], []),
        ("xnnpack", [], ["2"]),
        *((t, ["0"], ["0", "2"]) for t in ("mindspore", "tensorrt", "dla", *ASCEND)),
    ],
)
def test_open_axes(target, batch, height):
    for shape, axes in ((("N", 4, 8, 8), batch), (("N", 4, None, 8), height)):
        found = reasons(one("Relu", shape), target)
        text = f"open axes {', '.join(axes)}, where sizes must be fixed"
        assert found == ([text] if axes else [])


def test_nodes_without_a_name_are_named_by_their_output():
    model = conv(**CONV3D)
    model.graph.node[0].name = ""
    assert [p.node for p in check_ops(model, "mindspore-lite")] == ["Conv of y"]


def branches():
    """Make an If, each of whose branches has a 3-D pool of an outer tensor."""
    import onnx
    from onnx import helper

    def branch(name):
        node = helper.make_node("MaxPool", ["x"], ["z"], name=name, kernel_shape=[1, 2, 2])
        output = helper.make_tensor_value_info("z", 1, None)
        return helper.make_graph([node], name, [], [output])

    node = ("If", "c", "y", {"then_branch": branch("yes"), "else_branch": branch("no")})
    model = model_of(node, shape=(1, 4, 2, 16, 16))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "c"))
    return model


def test_inner_graphs():
    assert check_ops(branches(), "tensorrt") == []
    assert {p.node for p in check_ops(branches(), "mindspore-lite")} == {"yes", "no"}
    assert not check_ops(branches(), "mindspore")  # which folds it


def test_local_functions_are_expanded():
    from onnx import helper

    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[1, 2, 2])]
    function = helper.make_function("my.ops", "Pool", ["a"], ["b"], body, opsets)
    node = ("Pool", "x", "y", {"domain": "my.ops"})
    model = model_of(node, shape=(1, 4, 2, 16, 16), functions=[function])
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    assert check_ops(model, "onnx") == []
    assert [problem.operator for problem in check_ops(model, "mindspore-lite")] == ["MaxPool"]


def test_shapes_are_inferred_through_computed_ones():
    """A Reshape to a small constant gives the rank of a pool's input."""
    import onnx

    model = model_of(("Reshape", "x s", "a", {}), ("GlobalAveragePool", "a", "y", {"name": "pool"}))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 4, 4, 8, 8]), "s"))
    assert [problem.node for problem in check_ops(model, "coreml")] == ["pool"]


def test_the_docstring_names_the_table_of_targets():
    """`r2p_edge.export.TARGETS` is another table, without "tensorrt10", "dla" and others."""
    named = re.search(r"target: a (?:key of|name in) `([\w.]+)`", check_ops.__doc__)[1]
    module, _, name = named.rpartition(".")
    table = getattr(importlib.import_module(module or "r2p_edge.export"), name)
    with pytest.raises(UsageError, match=rf"known are {', '.join(table)}$"):
        check_ops(conv(), "tpu")


def test_unknown_targets_and_broken_models():
    with pytest.raises(UsageError, match="target is 'tpu'; known are onnx, openvino, "):
        check_ops(conv(), "tpu")
    model = model_of(("Relu", "x", "y", {"domain": "not.imported"}))
    with pytest.raises(ModelError, match=r"malformed .* check it with onnx\.checker"):
        check_ops(model, "onnx")


def test_the_model_is_left_alone():
    model = conv(**CONV3D)
    before = model.SerializeToString()
    check_ops(model, "mindspore-lite")
    assert model.SerializeToString() == before


@pytest.fixture(scope="module")
def exported():
    return small_network(spec_for(7))


def convolutions(model):
    return [node.name for node in model.graph.node if node.op_type == "Conv"]


def test_our_own_export(exported):
    for target in WITH_3D:
        assert check_ops(exported, target) == [], target
    for target in NO_3D:
        assert [problem.node for problem in check_ops(exported, target)] == convolutions(exported)
    names, count = convolutions(exported), len(convolutions(exported))
    with pytest.raises(ModelError) as caught:
        require_ops(exported, "mindspore-lite")
    assert str(caught.value) == (
        f"the model does not fit MindSpore Lite (CPU): {names[0]}, {names[1]} and {count - 2} more "
        "(Conv): input of rank 5, where at most 4 is known to run; export with --graph conv2d"
    )


def test_a_batch_and_float_input():
    spec = spec_for(7, input=InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False))
    model = small_network(spec, batch=2)
    assert [check_ops(model, target) for target in WITH_3D] == [[]] * len(WITH_3D)


def test_the_conv2d_form_of_our_export_fits_every_target(exported):
    model = conv2d_from_conv3d(exported)
    for name, target in OPERATOR_LIMITS.items():
        assert reasons(model, name) == [], name
        assert check_ops(exported, name) == [] or target.ranks["Conv"] < 5


def torch_export(module, shape, dynamo):
    import onnx
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), torch.zeros(shape), buffer, dynamo=dynamo, opset_version=18
        )
    return onnx.load_from_string(buffer.getvalue())


@needs("torchvision")
@pytest.mark.parametrize("name", ["r2plus1d_18", "r3d_18", "mc3_18"])
@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_torchvisions_models_by_both_exporters(torchvision, name, dynamo):
    if dynamo:
        require("onnxscript")
    module = getattr(torchvision.models.video, name)(weights=None)
    model = torch_export(module, (1, 3, 4, 32, 32), dynamo)
    assert check_ops(model, "onnx") == []
    assert check_ops(model, "openvino") == []
    assert check_ops(model, "ascend310p") == []
    assert [problem.operator for problem in check_ops(model, "tensorrt")] == ["graph"]
    three_d = [p for p in check_ops(model, "mindspore-lite") if p.operator == "Conv"]
    assert len(three_d) == len(convolutions(model))


@needs("torch")
def test_an_i3d_like_network():
    import torch
    from torch import nn

    class Inception(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv3d(3, 8, 7, 2, 3)
            self.pools = nn.Sequential(nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.ReLU())
            self.a, self.b = nn.Conv3d(8, 4, 1), nn.Conv3d(8, 4, 3, padding=1)
            self.c = nn.MaxPool3d(3, 1, 1)
            self.head = nn.AvgPool3d((2, 4, 4), 1)

        def forward(self, x):
            x = self.pools(self.stem(x))
            x = torch.cat([self.a(x), self.b(x), self.c(x)], 1)
            return self.head(x).mean(4).mean(3).mean(2)

    model = torch_export(Inception(), (1, 3, 8, 32, 32), False)
    for target in ("onnx", "openvino", "ascend310", "ascend310p"):
        assert check_ops(model, target) == []
    windows = [n.name for n in model.graph.node if n.op_type in ("Conv", "MaxPool", "AveragePool")]
    assert len(windows) == 6
    for target in NO_3D:
        found = [p.node for p in check_ops(model, target) if p.operator != "graph"]
        assert found == windows
        converted = check_ops(conv2d_from_conv3d(model), target)
        assert [p for p in converted if p.operator != "graph"] == []
