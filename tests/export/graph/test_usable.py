"""Checks of ONNX models that need no recipe."""

from __future__ import annotations

import numpy as np
import pytest
from requirements import needs

from r2p_edge.errors import ModelError, SpecError

pytestmark = needs("onnx")


def model(shape, nodes=(), *, kind=1, outputs=("y",), answers=None, weight=1.0):
    """A model whose nodes (operator, inputs, attributes) follow each other; the last makes `y`."""
    from onnx import TensorProto, helper, numpy_helper

    made, name = [], "x"
    for number, (operator, inputs, attributes) in enumerate(nodes or (("Identity", ["_"], {}),)):
        attributes = dict(attributes)
        ends = [name if each == "_" else each for each in inputs]
        results = list(outputs) if number == len(nodes or (0,)) - 1 else [f"t{number}"]
        made.append(helper.make_node(operator, ends, results, **attributes))
        name = results[0]
    values = [helper.make_tensor_value_info(each, TensorProto.FLOAT, answers) for each in outputs]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        values,
        [
            numpy_helper.from_array(np.full((2, 3), weight, np.float32), "w"),
            numpy_helper.from_array(np.array([3]), "k"),
        ],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("corp", 1)]
    return helper.make_model(graph, opset_imports=sets)


CLIP = (1, 3, 8, 56, 56)


@pytest.mark.parametrize(
    ("shape", "kind", "text"),
    [
        ((1, 128), 7, r"x is int64 \(1, 128\): text or numbers of words, .* cannot be used here"),
        (("N",), 8, r"x is string \(\?\): text"),
        ((1, 1, 16000), 1, r"x is float32 \(1, 1, 16000\): sound or another row of numbers"),
        ((1, 1, 64, 400), 1, "sound or other maps, and not clips of RGB video"),
        ((1, 3, 64, 17, 2), 1, "too small for pictures, such as skeletons"),
        ((1, 3, 224, 224), 1, "one image, and not a clip .* give a network of clips"),
        ((8, 3, 224, 224), 1, r"8 images in one call.* frames of one clip.* \(1, 3, 8, H, W\)"),
        (("N", 3, 224, 224), 1, r"images, and not a clip; .* \(1, 3, T, H, W\)"),
        ((1, 48, 112, 112), 1, r"48 channels; if these .* 16 frames.* \(1, 3, 16, H, W\)"),
        ((1, 2, 16, 112, 112), 1, "no axis has the 3 colours .* trained on RGB"),
    ],
)
def test_inputs_that_are_no_clips(shape, kind, text):
    from r2p_edge.export.graph.usable import require_usable

    with pytest.raises(SpecError, match=text):
        require_usable(model(shape, kind=kind))


@pytest.mark.parametrize(
    "shape",
    [CLIP, (1, 8, 56, 56, 3), (1, 8, 3, 56, 56), (1, 1, 3, 8, 56, 56), ("N", *[None] * 4), None],
)
def test_clips(shape):
    from r2p_edge.export.graph.usable import require_usable

    require_usable(model(shape))


@pytest.mark.parametrize(
    ("nodes", "outputs", "answers", "text"),
    [
        ([("ArgMax", ["_"], {"axis": 1})], ("y",), None, "ends in ArgMax .y., .* without its A"),
        (
            [
                ("TopK", ["_", "k"], {}),
            ],
            ("y", "ids"),
            None,
            "ends in TopK .y, ids., which gives the best",
        ),
        ((), ("y",), (1, 5, 8, 56, 56), "y is .* a map of each picture as of a segmentation"),
        ((), ("y",), (1, 5, 28, 28), None),
        ((), ("y",), (1, 5, 4, 7, 7), None),
    ],
    ids=["argmax", "topk", "segmentation", "two axes", "feature map"],
)
def test_outputs_that_are_no_scores(nodes, outputs, answers, text):
    from r2p_edge.export.graph.usable import require_usable

    theirs = model(CLIP, nodes, outputs=outputs, answers=answers)
    if text is None:
        require_usable(theirs)
        return
    with pytest.raises(SpecError, match=text):
        require_usable(theirs)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"nodes": [("RandomNormalLike", ["_"], {})]},
            r"draws random numbers .*RandomNormalLike: y",
        ),
        ({"weight": np.nan}, "weight w has 6 numbers that are NaN, .* an earlier checkpoint"),
        ({"nodes": [("Sharp", ["_"], {"domain": "corp"})]}, r"not ONNX's own \(corp\.Sharp"),
    ],
    ids=["noise", "nan", "operator"],
)
def test_models_that_cannot_be_run_as_trained(changes, text):
    from r2p_edge.export.graph.usable import require_usable

    with pytest.raises(ModelError, match=text):
        require_usable(model(CLIP, **changes))


@pytest.mark.parametrize(("part", "text"), [("opset", "opset 99"), ("ir", "IR version 99")])
def test_models_of_a_newer_onnx(part, text):
    from r2p_edge.export.graph.usable import require_usable

    theirs = model(CLIP)
    if part == "opset":
        theirs.opset_import[0].version = 99
    else:
        theirs.ir_version = 99
    with pytest.raises(ModelError, match=f"is of {text}, and onnx .* upgrade onnx and onnxruntime"):
        require_usable(theirs)
