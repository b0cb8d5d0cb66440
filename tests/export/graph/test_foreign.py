from __future__ import annotations

import numpy as np
import pytest
from networks import spec_for
from requirements import needs

from r2p_edge.errors import ModelError, SpecError
from r2p_edge.spec import OutputSpec

pytestmark = needs("onnx")


def graph(*nodes, opset=17, constants=None, functions=()):
    """A model from nodes given as (operator, inputs, outputs, attributes); y is its output."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    made = [helper.make_node(*ends, **attributes) for *ends, attributes in nodes]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    tensors = [numpy_helper.from_array(v, name) for name, v in (constants or {}).items()]
    inner = helper.make_graph(made, "g", values[:1], values[1:], tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return onnx.helper.make_model(inner, opset_imports=opsets, functions=functions)


NORM = ["x", "scale", "bias", "mean", "var"]


@pytest.mark.parametrize(
    ("node", "opset", "trains"),
    [
        (("BatchNormalization", NORM, ["y"], {}), 17, False),
        (("BatchNormalization", NORM, ["y", "m", "v"], {"training_mode": 1}), 17, True),
        (("BatchNormalization", NORM, ["y", "m", "v", "a", "b"], {}), 11, True),
        (("BatchNormalization", NORM, ["y"], {}), 11, False),
        (("Dropout", ["x", "half", "yes"], ["y"], {}), 13, True),
        (("Dropout", ["x", "half", "switch"], ["y"], {}), 13, True),
        (("Dropout", ["x", "half", "no"], ["y"], {}), 13, False),
        (("Dropout", ["x", "nothing", "yes"], ["y"], {}), 13, False),
        (("Dropout", ["x", "", "yes"], ["y"], {}), 13, True),
        (("Dropout", ["x"], ["y"], {}), 13, False),
        (("Dropout", ["x"], ["y"], {}), 11, False),
    ],
)
def test_training_mode(node, opset, trains):
    from r2p_edge.export.graph.foreign import require_evaluation_mode

    constants = {
        "half": np.float32(0.5),
        "nothing": np.float32(0),
        "yes": np.array(True),
        "no": np.array(False),
    }
    model = graph(node, opset=opset, constants=constants)
    if not trains:
        require_evaluation_mode(model)
        return
    with pytest.raises(ModelError, match=r"training mode: it has 1 .* first is y.* model\.eval"):
        require_evaluation_mode(model)


@pytest.mark.parametrize(
    ("operators", "kind"),
    [
        (["Softmax"], "probabilities"),
        (["Softmax", "Flatten", "Identity"], "probabilities"),
        (["Sigmoid"], "sigmoid"),
        (["HardSigmoid", "Cast"], "sigmoid"),
        (["Softmax", "Relu"], None),
        (["Sigmoid", "Mul"], None),
        (["LogSoftmax"], None),
        (["Relu"], None),
    ],
)
def test_the_kind_is_that_of_the_last_nodes(operators, kind):
    from r2p_edge.export.graph.foreign import found_kind

    names = ["x", *(f"t{number}" for number in range(len(operators) - 1)), "y"]
    nodes = [
        (
            each,
            [names[i]] + (["c"] if each == "Mul" else []),
            [names[i + 1]],
            {"to": 1} if each == "Cast" else {},
        )
        for i, each in enumerate(operators)
    ]
    assert found_kind(graph(*nodes), "y") == kind


def test_the_kind_of_a_function():
    from onnx import helper

    from r2p_edge.export.graph.foreign import found_kind

    node = helper.make_node("Softmax", ["a"], ["b"])
    inner = helper.make_function("own", "Soft", ["a"], ["b"], [node], [helper.make_opsetid("", 17)])
    node = helper.make_node("Soft", ["x"], ["y"], domain="own")
    model = graph(functions=[inner])
    model.graph.node.append(node)
    assert found_kind(model, "y") == "probabilities"


@pytest.mark.parametrize(
    ("operator", "precision"),
    [
        ("QuantizeLinear", "int8"),
        ("DynamicQuantizeLinear", "int8"),
        ("ConvInteger", "int8"),
        ("QLinearConv", "int8"),
        ("QLinearAdd", "int8"),
        ("Conv", "fp32"),
    ],
)
def test_the_precision_is_that_of_the_operators(operator, precision):
    from r2p_edge.export.graph.foreign import source_precision

    model = graph((operator, ["x", "w"], ["y"], {}), constants={"w": np.ones(1, np.float32)})
    assert source_precision(model) == precision


def test_the_precision_is_that_of_the_weights():
    from r2p_edge.export.graph.foreign import source_precision

    half = {"w": np.ones(1, np.float16)}
    assert source_precision(graph(("Gemm", ["x", "w"], ["y"], {}), constants=half)) == "fp16"
    # A half constant beside float32 arithmetic changes nothing.
    assert source_precision(graph(("Cast", ["w"], ["y"], {"to": 1}), constants=half)) == "fp32"


@pytest.mark.parametrize(
    ("found", "said", "classes", "message"),
    [
        ("sigmoid", "logits", 3, r"ends in a sigmoid, .* says logits; set output\.kind to sigmoid"),
        ("probabilities", "logits", 3, "ends in a softmax"),
        ("probabilities", "sigmoid", 3, "ends in a softmax"),
        (None, "logits", 1, r"one output .* 100%; set output\.kind to values"),
        (None, "sigmoid", 1, None),
        ("sigmoid", "values", 1, None),
        (None, "probabilities", 3, None),
    ],
)
def test_a_spec_may_not_contradict_the_model(found, said, classes, message):
    from r2p_edge.export.graph.foreign import check_kind

    spec = spec_for(classes, output=OutputSpec(kind=said))
    if message is None:
        check_kind(spec, found)
        return
    with pytest.raises(SpecError, match=message):
        check_kind(spec, found)


@pytest.mark.parametrize(
    ("kind", "scores", "right"),
    [
        ("logits", [[0.25, 0.75]], False),
        ("logits", [[0.25, 0.5]], True),
        ("probabilities", [[0.25, 0.75]], True),
        ("probabilities", [[0.25, 0.5]], False),
        ("sigmoid", [[0.9, 0.8]], True),
        ("sigmoid", [[0.9, 1.8]], False),
        ("sigmoid", [[-0.9, 0.8]], False),
        ("values", [[-7.0, 55.0]], True),
    ],
)
def test_scores_are_of_their_kind(kind, scores, right):
    from r2p_edge.export.graph.foreign import check_scores

    spec = spec_for(2, output=OutputSpec(kind=kind))
    if right:
        check_scores(spec, np.array(scores))
        return
    with pytest.raises(SpecError, match="--output-kind"):
        check_scores(spec, np.array(scores))
