"""Every limit of every rule: a graph beyond it is reported, one at it is not."""

from __future__ import annotations

import importlib
import io
import re
import warnings

import numpy as np
import pytest
from networks import small_network, spec_for
from requirements import needs, require

from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
from r2p_edge.export.graph.operator_limits import OPERATOR_LIMITS
from r2p_edge.export.graph.operators import check_ops, require_ops
from r2p_edge.spec.model_spec import InputSpec

pytestmark = needs("onnx")

ASCEND = ("ascend310", "ascend310p", "ascend310b")
NO_3D = ("mindspore-lite", "ascend310b", "dla", "xnnpack", "coreml")
TABLES = sorted(OPERATOR_LIMITS.keys() - {"mindspore"})  # whose operators our own export decides
WITH_3D = sorted(OPERATOR_LIMITS.keys() - set(NO_3D))


def model_of(*nodes, shape=(1, 4, 16, 16), constants=(), opset=17, name="x", kind=1, **more):
    """Make a model from `x` to `y` of the nodes (operator, inputs, outputs, attributes)."""
    from onnx import helper

    protos = [
        helper.make_node(operator, inputs.split(), outputs.split(), **attributes)
        for operator, inputs, outputs, attributes in nodes
    ]
    weights = [helper.make_tensor(n, t, s, np.ones(np.prod(s, dtype=int))) for n, t, s in constants]
    graph = helper.make_graph(
        protos,
        "small",
        [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        weights,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more
    )


def conv(weight=(4, 4, 3, 3), shape=(1, 4, 16, 16), kind=1, **attributes):
    node = ("Conv", "x w", "y", {"name": "stem", **attributes})
    return model_of(node, shape=shape, constants=[("w", kind, weight)], kind=kind)


def one(operator, shape=(1, 4, 16, 16), opset=17, **attributes):
    return model_of((operator, "x", "y", {"name": "it", **attributes}), shape=shape, opset=opset)


CONV3D = {"weight": (4, 4, 1, 3, 3), "shape": (1, 4, 2, 16, 16)}


def reasons(model, target, **arguments):
    return [problem.reason for problem in check_ops(model, target, **arguments)]


@pytest.mark.parametrize("target", OPERATOR_LIMITS)
def test_a_plain_2d_network_fits_every_target(target):
    model = model_of(
        ("Conv", "x w", "a", {"pads": [1, 1, 1, 1]}),
        ("Relu", "a", "b", {}),
        ("MaxPool", "b", "c", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("GlobalAveragePool", "c", "d", {}),
        ("Flatten", "d", "e", {}),
        ("Gemm", "e f", "y", {"transB": 1}),
        constants=[("w", 1, (4, 4, 3, 3)), ("f", 1, (2, 4))],
    )
    assert check_ops(model, target) == []
    require_ops(model, target)


@pytest.mark.parametrize("target", TABLES)
@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [1, 2, 2]}),
        ("AveragePool", {"kernel_shape": [1, 2, 2]}),
        ("GlobalMaxPool", {}),
        ("GlobalAveragePool", {}),
    ],
)
def test_3d_pools(target, operator, attributes):
    found = check_ops(one(operator, (1, 4, 2, 16, 16), **attributes), target)
    assert [(p.node, p.operator) for p in found] == ([("it", operator)] if target in NO_3D else [])
    assert check_ops(one(operator, **{k: v[1:] for k, v in attributes.items()}), target) == []


@pytest.mark.parametrize("target", TABLES)
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_3d_convolutions(target, operator):
    model = conv(**CONV3D)
    model.graph.node[0].op_type = operator
    found = check_ops(model, target)
    if target not in NO_3D:
        assert found == []
        return
    (problem,) = found
    assert problem.node == "stem"
    assert problem.operator == operator
    assert problem.reason == "input of rank 5, where at most 4 is known to run"
    assert problem.remedy == "export with --graph conv2d"


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt"])
def test_4d_windows_are_beyond_all(target):
    shape = (1, 4, 2, 4, 4, 4)
    found = reasons(one("MaxPool", shape, kernel_shape=[2, 2, 2, 2]), target)
    assert found == ["input of rank 6, where at most 5 is known to run"]
    # Where ONNX Runtime's general convolution goes on.
    found = reasons(conv((4, 4, 1, 1, 1, 1), shape), target)
    assert len(found) == (target != "onnx")


def test_norms_of_5d_tensors():
    target = "mindspore-lite"
    constants = [(name, 1, (4,)) for name in "sbmv"]
    node = ("BatchNormalization", "x s b m v", "y", {})
    model = model_of(node, shape=(1, 4, 2, 16, 16), constants=constants)
    assert reasons(model, target) == ["input of rank 5, where at most 4 is known to run"]
    assert check_ops(model_of(node, constants=constants), target) == []


@pytest.mark.parametrize("target", OPERATOR_LIMITS)
def test_a_5d_input_that_is_only_reshaped_is_fine(target):
    nodes = [
        ("Transpose", "x", "a", {"perm": [0, 2, 1, 3, 4]}),
        ("Reshape", "a s", "b", {}),
        ("Conv", "b w", "y", {}),
    ]
    model = model_of(*nodes, shape=(1, 4, 2, 16, 16), constants=[("w", 1, (4, 4, 3, 3))])
    import onnx

    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 4, 16, 16]), "s"))
    assert check_ops(model, target) == []


@pytest.mark.parametrize(
    ("target", "attribute", "at", "beyond"),
    [
        *((t, "strides", [63, 63], [1, 64]) for t in ASCEND),
        *((t, "pads", [0, 0, 0, 255], [0, 0, 256, 0]) for t in ASCEND),
        *((t, "dilations", [255, 255], [256, 1]) for t in ASCEND),
        ("dla", "strides", [8, 8], [9, 1]),
        ("dla", "pads", [31, 0, 0, 0], [32, 0, 0, 0]),
        ("dla", "dilations", [32, 1], [1, 33]),
    ],
)
def test_limits_of_a_convolution(target, attribute, at, beyond):
    shape = (1, 4, 600, 600)
    assert check_ops(conv(shape=shape, **{attribute: at}), target) == []
    (problem,) = check_ops(conv(shape=shape, **{attribute: beyond}), target)
    low, high = min(at[0], 1 - (attribute == "pads")), max(at)
    assert problem.reason == f"{attribute} is {beyond}, where {low} to {high} is possible"
    assert problem.remedy == "replace the layer by one within the limits"
    assert check_ops(conv(shape=shape, **{attribute: beyond}), "onnx") == []


@pytest.mark.parametrize(("target", "most"), [("ascend310p", 255), ("dla", 32)])
def test_kernels_are_limited_by_their_weight_too(target, most):
    for size in (most, most + 1):
        for attributes in ({}, {"kernel_shape": [1, size]}):
            found = check_ops(conv((4, 4, 1, size), (1, 4, 300, 300), **attributes), target)
            assert len(found) == (size > most)


def test_time_is_not_held_to_the_limits_of_height_and_width():
    weight, shape = (4, 4, 3, 3, 3), (1, 4, 300, 16, 16)
    assert check_ops(conv(weight, shape, strides=[64, 1, 1]), "ascend310p") == []
    assert len(check_ops(conv(weight, shape, strides=[1, 1, 64]), "ascend310p")) == 1


@pytest.mark.parametrize("target", ["ascend310", "ascend310p"])
def test_groups_and_padding_of_3d_convolutions_on_ascend(target):
    grouped = {"weight": (4, 1, 1, 3, 3), "shape": CONV3D["shape"], "group": 4}
    (problem,) = check_ops(conv(**grouped), target)
    assert problem.reason == "group is 4, where 1 is possible"
    assert problem.remedy == "export with --graph conv2d"
    assert check_ops(conv(**CONV3D, group=1), target) == []
    assert check_ops(conv((4, 1, 3, 3), group=4), target) == []
    (problem,) = check_ops(conv(**CONV3D, auto_pad="SAME_UPPER"), target)
    assert problem.reason == "auto_pad is SAME_UPPER, where NOTSET is possible"
    assert problem.remedy == "export it with explicit pads"
    assert check_ops(conv(**CONV3D, auto_pad="NOTSET"), target) == []


@pytest.mark.parametrize(
    ("target", "operator", "at", "beyond"),
    [
        ("ascend310p", "MaxPool", {"dilations": [1, 1]}, {"dilations": [1, 2]}),
        ("ascend310p", "AveragePool", {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}),
        ("mindspore-lite", "MaxPool", {"dilations": [1, 1]}, {"dilations": [2, 1]}),
        ("mindspore-lite", "AveragePool", {"auto_pad": "VALID"}, {"auto_pad": "SAME_LOWER"}),
        ("dla", "MaxPool", {"kernel_shape": [8, 8]}, {"kernel_shape": [9, 1]}),
    ],
)
def test_limits_of_a_pool(target, operator, at, beyond):
    def pool(attributes):
        return one(operator, **{"kernel_shape": [2, 2], **attributes})

    assert check_ops(pool(at), target) == []
    ((name, value),) = beyond.items()
    (reason,) = reasons(pool(beyond), target)
    assert reason.startswith(f"{name} is {value}, where ")


@pytest.mark.parametrize("target", ASCEND)
def test_width(target):
    for operator in ("MaxPool", "AveragePool"):
        wide = {"kernel_shape": [1, 1]}
        assert check_ops(one(operator, (1, 4, 1, 4096), **wide), target) == []
        assert len(check_ops(one(operator, (1, 4, 1, 4097), **wide), target)) == 1
    assert check_ops(conv((4, 4, 3, 1), (1, 4, 16, 4096)), target) == []
    (problem,) = check_ops(conv((4, 4, 3, 1), (1, 4, 16, 112 * 112)), target)
    assert problem.reason == "input 12544 wide, where at most 4096 is possible"
    # Height is free, and so is the width of what is no window.
    assert check_ops(conv((4, 4, 1, 3), (1, 4, 112 * 112, 16)), target) == []
    assert check_ops(one("Relu", (1, 4, 1, 9000)), target) == []


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
    ("target", "kinds"),
    [
        ("onnx", ["FLOAT", "FLOAT16"]),
        ("openvino", ["FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"]),
        ("mindspore-lite", ["FLOAT", "FLOAT16"]),
        ("ascend310p", ["FLOAT", "FLOAT16"]),
        ("tensorrt", ["FLOAT", "FLOAT16", "DOUBLE"]),
        ("tensorrt11", ["FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"]),
        ("xnnpack", ["FLOAT"]),
    ],
)
def test_element_types_of_a_convolution(target, kinds):
    import onnx

    for name in ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"):
        found = check_ops(conv(kind=onnx.TensorProto.DataType.Value(name)), target)
        assert [p.reason.split(",")[0] for p in found] == ([] if name in kinds else [f"in {name}"])


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "DOUBLE"])
@needs("onnxruntime")
def test_onnx_runtime_agrees_about_element_types(kind):
    import onnx
    import onnxruntime

    model = conv(kind=onnx.TensorProto.DataType.Value(kind))
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:
        assert check_ops(model, "onnx")
    else:
        assert check_ops(model, "onnx") == []


@needs("openvino")
def test_openvino_agrees_about_operators():
    import openvino

    for operator in ("Det", "HardSwish", "Mish", "Relu"):
        model = one(operator, (4, 4), opset=18)
        try:
            openvino.Core().read_model(model.SerializeToString())
        except RuntimeError:
            assert check_ops(model, "openvino")
        else:
            assert check_ops(model, "openvino") == []


@pytest.mark.parametrize("target", ["ascend310", "ascend310p"])
def test_3d_precision_on_ascend(target):
    model = conv(**CONV3D)
    assert reasons(model, target, precision="fp16") == []
    assert reasons(model, target, precision="int8") == []
    (problem,) = check_ops(model, target, precision="fp32")
    assert problem.reason == "3-D in fp32, where fp16 or int8 is possible"
    assert problem.remedy == "export with --precision fp16, or export with --graph conv2d"
    assert check_ops(conv(), target, precision="fp32") == []


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


@pytest.mark.parametrize("target", ["tensorrt", "mindspore-lite"])
def test_rank_of_any_tensor(target):
    assert check_ops(one("Relu", (1,) * 8), target) == []
    assert reasons(one("Relu", (1,) * 9), target) == [
        "output of rank 9, where at most 8 is possible"
    ]


@pytest.mark.parametrize("target", OPERATOR_LIMITS)
def test_unknown_operators_and_domains(target):
    (problem,) = check_ops(one("Nonsense"), target)
    assert (problem.node, problem.reason) == ("it", "not known to run there")
    custom = model_of(("Relu", "x", "y", {"domain": "my.ops", "name": "mine"}))
    custom.opset_import.add(domain="my.ops", version=1)
    (problem,) = check_ops(custom, target)
    assert (problem.node, problem.operator) == ("mine", "my.ops.Relu")
    assert problem.remedy == "replace it by operators of the ONNX standard"


@pytest.mark.parametrize("target", OPERATOR_LIMITS)
def test_quantised_graphs(target):
    model = model_of(
        ("QuantizeLinear", "x s z", "a", {"name": "q"}),
        ("DequantizeLinear", "a s z", "y", {}),
        constants=[("s", 1, ()), ("z", 3, ())],
    )
    found = [problem.node for problem in check_ops(model, target)]
    refused = target.startswith(("mindspore", "ascend"))
    assert found == (["q", "DequantizeLinear of y"] if refused else [])
    if refused:
        with pytest.raises(ModelError, match="export the float model"):
            require_ops(model, target)


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
        # The Reshape in front of it is of pixels.
        pixels = ["of a uint8 tensor, which can only be cast there"]
        assert reasons(model, name) == (pixels if target.only_casts_uint8 else []), name
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
@pytest.mark.parametrize("dynamo", [False, True])
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
