from __future__ import annotations

import numpy as np
import pytest
from networks import spec_for
from requirements import needs

from r2p_edge.errors import UsageError

pytestmark = needs("onnx")

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def model(*nodes, **constants):
    """A model whose nodes (operator, inputs, attributes) follow each other, then a convolution."""
    from onnx import TensorProto, helper, numpy_helper

    made, name = [], "x"
    for number, (operator, inputs, attributes) in enumerate(nodes):
        ends = [name if each == "_" else each for each in inputs]
        made.append(helper.make_node(operator, ends, [name := f"t{number}"], **attributes))
    made.append(helper.make_node("Conv", [name, "w"], ["y"]))
    constants["w"] = np.ones((2, 3, 1, 1, 1), np.float32)
    tensors = [
        numpy_helper.from_array(np.asarray(value, np.float32), name)
        for name, value in constants.items()
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 32, 32]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(made, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def channels(values):
    return np.reshape(values, (1, 3, 1, 1, 1))


SUB_DIV = (("Sub", ["_", "mean"], {}), ("Div", ["_", "std"], {}))
CONSTANTS = {"mean": channels(MEAN), "std": channels(STD)}


@pytest.mark.parametrize(
    ("nodes", "constants", "factor", "offset"),
    [
        (SUB_DIV, CONSTANTS, 1 / STD, -MEAN / STD),
        (
            (
                ("Mul", ["a", "_"], {}),
                ("Transpose", ["_"], {"perm": [0, 2, 1, 3, 4]}),
                ("Add", ["_", "b"], {}),
            ),
            {"a": 1 / STD, "b": -MEAN / STD},
            1 / STD,
            -MEAN / STD,
        ),
        (
            (("Div", ["_", "c"], {}), *SUB_DIV),
            {**CONSTANTS, "c": 255.0},
            1 / 255 / STD,
            -MEAN / STD,
        ),
        ((("Mul", ["_", "a"], {}), ("Add", ["_", "b"], {})), {"a": 2, "b": -1}, 2, -1),
        ((("Sub", ["a", "_"], {}),), {"a": 1}, -1, 1),
        (
            (("BatchNormalization", ["_", "s", "b", "m", "v"], {"epsilon": 0.0}),),
            {"s": [1, 2, 3], "b": [0, 1, 2], "m": [1, 1, 1], "v": [4, 4, 4]},
            np.array([0.5, 1, 1.5]),
            np.array([-0.5, 0, 0.5]),
        ),
        ((), {}, None, None),
        ((("Mul", ["_", "a"], {}),), {"a": 1}, None, None),
        # What follows another layer, and what is no constant, is not normalisation.
        ((("Relu", ["_"], {}), *SUB_DIV), CONSTANTS, None, None),
        ((("Mul", ["_", "x"], {}),), {}, None, None),
    ],
)
def test_what_a_model_begins_with(nodes, constants, factor, offset):
    from r2p_edge.export.graph.front import found_front

    front = found_front(model(*nodes, **constants))
    if factor is None:
        assert front is None
        return
    np.testing.assert_allclose(front.factor, np.broadcast_to(factor, 3), rtol=1e-5)
    np.testing.assert_allclose(front.offset, np.broadcast_to(offset, 3), rtol=1e-5, atol=1e-7)


def test_what_is_settled_and_what_is_asked():
    from r2p_edge.export.graph.front import found_front, require_pixels, settled_pixels
    from r2p_edge.export.pixels import pixels_taken

    spec = spec_for(3)  # ImageNet's numbers
    front = found_front(model(*SUB_DIV, **CONSTANTS))
    assert settled_pixels(front, spec) == "unit"
    raw = found_front(model(("Div", ["_", "c"], {}), *SUB_DIV, **CONSTANTS, c=255.0))
    assert settled_pixels(raw, spec) == "raw"
    assert settled_pixels(None, spec) == "normalized"
    other = spec.replace(mean=(0.5, 0.5, 0.5))
    assert settled_pixels(front, other) is None
    text = r"theirs begins with \(x - \(0\.485, 0\.456, 0\.406\)\) / \(0\.229.* --pixels unit"
    with pytest.raises(UsageError, match=text):
        require_pixels(front, other, "theirs")
    # A contract that gives the network plain pixels asks nothing.
    for pixels, scale in (("unit", 1 / 255), ("raw", 1.0)):
        plain = pixels_taken(other, pixels)
        assert (plain.scale, plain.mean, plain.std) == (scale, (0.0,) * 3, (1.0,) * 3)
        require_pixels(front, plain, "theirs")
    assert pixels_taken(other, "normalized") == other
