"""Every limit of every rule: a node beyond it is reported, one at it is not."""

from __future__ import annotations

import numpy as np
import pytest
from operator_models import ASCEND, CONV3D, NO_3D, conv, model_of, one, reasons
from requirements import needs

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.operator_limits import OPERATOR_LIMITS
from r2p_edge.export.graph.operators import check_ops, require_ops

pytestmark = needs("onnx")

TABLES = sorted(OPERATOR_LIMITS.keys() - {"mindspore"})  # whose operators our own export decides


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
        ("Conv", "b w", "y", {"strides": [1, 1]}),
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


def test_time_is_free_of_the_limits_of_height_and_width():
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
