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
        numpy_helper.from_array(np.asarray(value, TYPES.get(name, np.float32)), name)
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
FLIP = ("Gather", ["_", "bgr"], {"axis": 1})
PAD = ("Pad", ["_", "edges"], {})
PLACES = {
    "bgr": [2, 1, 0],
    "edges": [0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
    "one": [1],
    "last": [-1],
    "h": [3],
}
HALF = {"half": [1, 1, 1, 0.5, 0.5]}
TYPES = dict.fromkeys(PLACES, np.int64)


@pytest.mark.parametrize(
    ("nodes", "constants", "factor", "offset"),
    [
        (SUB_DIV, CONSTANTS, 1 / STD, -MEAN / STD),
        (
            (
                ("Mul", ["a", "_"], {}),
                ("Transpose", ["_"], {"perm": [0, 2, 1, 3, 4]}),
                ("Add", ["_", "b"], {}),
                ("Transpose", ["_"], {"perm": [0, 2, 1, 3, 4]}),
            ),
            {"a": channels(1 / STD), "b": np.reshape(-MEAN / STD, (3, 1, 1))},
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
        # Numbers that only move are no normalisation, whatever their order is then.
        ((FLIP,), PLACES, None, None),
        ((PAD, ("Slice", ["_", "one", "last", "h"], {})), PLACES, None, None),
        # They do not hide one.
        ((FLIP, *SUB_DIV), {**CONSTANTS, **PLACES}, 1 / STD[::-1], -(MEAN / STD)[::-1]),
        ((PAD, *SUB_DIV), {**CONSTANTS, **PLACES}, 1 / STD, -MEAN / STD),
        (
            (("Resize", ["_", "", "half"], {}), *SUB_DIV),
            {**CONSTANTS, **PLACES},
            1 / STD,
            -MEAN / STD,
        ),
        (
            (("Conv", ["_", "each", "b"], {"group": 3}),),
            {"each": np.reshape(1 / STD, (3, 1, 1, 1, 1)), "b": -MEAN / STD},
            1 / STD,
            -MEAN / STD,
        ),
    ],
)
def test_what_a_model_begins_with(nodes, constants, factor, offset):
    from r2p_edge.export.graph.front import found_front

    front = found_front(model(*nodes, **constants), spec_for(3))
    if factor is None:
        assert front is None
        return
    np.testing.assert_allclose(front.factor, np.broadcast_to(factor, 3), rtol=1e-5)
    np.testing.assert_allclose(front.offset, np.broadcast_to(offset, 3), rtol=1e-5, atol=1e-7)


def test_what_is_settled_and_what_is_asked():
    from r2p_edge.export.graph.front import found_front
    from r2p_edge.export.graph.settled import require_pixels, settled_pixels
    from r2p_edge.export.pixels import pixels_taken

    spec = spec_for(3)  # ImageNet's numbers
    front = found_front(model(*SUB_DIV, **CONSTANTS), spec)
    assert settled_pixels(front, spec) == "unit"
    raw = found_front(model(("Div", ["_", "c"], {}), *SUB_DIV, **CONSTANTS, c=255.0), spec)
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


@pytest.mark.parametrize(
    ("nodes", "constants", "operators"),
    [
        ((("Relu", ["_"], {}), *SUB_DIV), CONSTANTS, ("Relu", "Sub", "Div")),
        ((("Mul", ["_", "x"], {}),), {}, ("Mul",)),
        # A number for each frame, or for each pixel, is none for each colour.
        ((("Sub", ["_", "a"], {}),), {"a": np.ones((4, 1, 1))}, ("Sub",)),
        ((("Sub", ["_", "a"], {}),), {"a": np.ones((3, 4, 32, 32))}, ("Sub",)),
        ((("Cast", ["_"], {"to": 2}), ("Cast", ["_"], {"to": 1})), {}, ("Cast",)),
        ((("MatMul", ["_", "a"], {}),), {"a": np.ones((32, 32))}, None),
        ((("ReduceMean", ["_"], {"axes": [2]}),), {}, None),
        ((("ReduceMean", ["_"], {"axes": [1]}),), {}, ("ReduceMean",)),
    ],
    ids=["relu", "product", "frames", "mean image", "ints", "a layer", "mean of frames", "grey"],
)
def test_arithmetic_that_is_no_normalisation_is_told(nodes, constants, operators):
    from r2p_edge.export.graph.front import found_front
    from r2p_edge.export.graph.settled import require_pixels, settled_pixels

    front = found_front(model(*nodes, **constants), spec_for(3))
    if operators is None:
        assert front is None
        return
    assert front.unknown == operators
    assert settled_pixels(front, spec_for(3)) is None
    with pytest.raises(UsageError, match=rf"theirs computes something .*{operators[0]}.*--pixels"):
        require_pixels(front, spec_for(3), "theirs")


def test_numbers_of_each_colour_in_branches():
    from onnx import helper

    from r2p_edge.export.graph.front import found_front

    theirs = model(("Concat", ["r", "g", "b"], {"axis": 1}), m=MEAN[0], s=STD[0])
    split = helper.make_node("Split", ["x"], ["r0", "g", "b0"], axis=1)
    parts = [
        helper.make_node("Sub", ["r0", "m"], ["r"]),
        helper.make_node("Div", ["b0", "s"], ["b"]),
    ]
    nodes = [split, *parts, *theirs.graph.node]
    del theirs.graph.node[:]
    theirs.graph.node.extend(nodes)
    front = found_front(theirs, spec_for(3))
    np.testing.assert_allclose(front.factor, [1, 1, 1 / STD[0]], rtol=1e-5)
    np.testing.assert_allclose(front.offset, [-MEAN[0], 0, 0], rtol=1e-5)


def test_clipped_pixels_are_asked_for():
    from r2p_edge.export.graph.front import found_front
    from r2p_edge.export.graph.settled import require_pixels, settled_pixels

    clip = ("Clip", ["_", "low", "high"], {})
    front = found_front(model(clip, low=0.0, high=1.0), spec_for(3))
    assert front.clipped
    assert settled_pixels(front, spec_for(3)) is None
    with pytest.raises(UsageError, match="and clips numbers"):
        require_pixels(front, spec_for(3), "theirs")
    whole = found_front(model(clip, *SUB_DIV, **CONSTANTS, low=0.0, high=1.0), spec_for(3))
    assert settled_pixels(whole, spec_for(3)) == "unit"


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        ("unit", None),
        ("raw", r"begins with the spec's own normalisation .* give --pixels unit"),
        ("normalized", r"begins with the spec's own normalisation .* give --pixels unit"),
    ],
)
def test_a_word_about_the_pixels_that_the_graph_contradicts(pixels, text):
    import re

    from r2p_edge.export.graph.front import found_front
    from r2p_edge.export.graph.settled import pixels_doubt

    spec = spec_for(3)
    front = found_front(model(*SUB_DIV, **CONSTANTS), spec)
    doubt = pixels_doubt(front, spec, pixels)
    assert doubt is None if text is None else re.search(text, doubt)
    # With other numbers than the spec's, the span of what comes out is looked at.
    half = found_front(model(("Sub", ["_", "a"], {}), ("Div", ["_", "a"], {}), a=0.5), spec)
    assert pixels_doubt(half, spec, "unit") is None
    assert "makes numbers from -1 to 509" in pixels_doubt(half, spec, "raw")
