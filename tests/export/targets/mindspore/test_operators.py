"""The form of every ONNX operator in MindSpore."""

import numpy as np
import pytest
from mindspore_cells import CLIP, IMAGE, MATRIX, chain, floats, longs, same
from onnx import TensorProto, helper, numpy_helper
from requirements import needs

from r2p_edge.export.graph.operators import check_ops

pytestmark = [needs("mindspore"), needs("onnx"), needs("onnxruntime")]


UNARY = "Abs Erf Exp HardSwish Identity Neg Relu Sigmoid Softplus Tanh"


SHIFTED = "Log Sqrt"


BINARY = "Add Div Max Min Mul Pow Sub Sum"


NODES = {
    **{name: ([(name, {}, 0)], IMAGE) for name in UNARY.split()},
    **{
        f"{name} of positive": ([("Abs", {}, 0), ("Add", {}, 1), (name, {}, 0)], IMAGE, [floats(1)])
        for name in SHIFTED.split()
    },
    **{
        f"{name} with a column": (
            [("Abs", {}, 0), (name, {}, 1)],
            IMAGE,
            [floats(6, 1, 1, low=0.5)],
        )
        for name in BINARY.split()
    },
    "Add on five axes": ([("Add", {}, 1)], CLIP, [floats(4, 1, 1, 1)]),
    "Mul of the last axis": ([("Mul", {}, 1)], (1, 2, 4, 4, 3), [floats(3)]),
    "Max of three": ([("Max", {}, 2)], IMAGE, [floats(1), floats(6, 1, 1)]),
    "LeakyRelu": ([("LeakyRelu", {"alpha": 0.1}, 0)], IMAGE),
    "LeakyRelu, alpha above 1": ([("LeakyRelu", {"alpha": 1.5}, 0)], IMAGE),
    "PRelu": ([("PRelu", {}, 1)], IMAGE, [floats(6, 1, 1)]),
    "HardSigmoid": ([("HardSigmoid", {}, 0)], IMAGE),
    "HardSigmoid, alpha and beta": ([("HardSigmoid", {"alpha": 0.3, "beta": -0.1}, 0)], IMAGE),
    "Clip": ([("Clip", {}, 2)], IMAGE, [np.float32(-1), np.float32(np.inf)]),
    "Clip from below": ([("Clip", {}, 1)], IMAGE, [np.float32(0.5)]),
    "Softmax": ([("Softmax", {}, 0)], MATRIX),
    "Softmax over channels": ([("Softmax", {"axis": 1}, 0)], IMAGE),
    "Dropout": ([("Dropout", {}, 0)], IMAGE),
    "Cast": ([("Cast", {"to": TensorProto.DOUBLE}, 0), ("Cast", {"to": 1}, 0)], IMAGE),
    "Reshape": ([("Reshape", {}, 1)], IMAGE, [longs(0, -1, 13)]),
    "Flatten": ([("Flatten", {}, 0)], IMAGE),
    "Flatten all but two": ([("Flatten", {"axis": 2}, 0)], IMAGE),
    "Squeeze": ([("Squeeze", {}, 1)], (3, 1, 4, 1), [longs(-1, 1)]),
    "Unsqueeze": ([("Unsqueeze", {}, 1)], MATRIX, [longs(0, 3)]),
    "Transpose": ([("Transpose", {"perm": [0, 4, 1, 2, 3]}, 0)], CLIP),
    "Transpose, all turned": ([("Transpose", {}, 0)], IMAGE),
    "Concat": ([("Concat", {"axis": -3}, 1)], IMAGE, [floats(2, 3, 11, 13)]),
    "Gather": ([("Gather", {"axis": 1}, 1)], IMAGE, [longs(4, 0, -1)]),
    "Gather one": ([("Gather", {"axis": 2}, 1)], IMAGE, [np.array(-2, np.int64)]),
    "Slice": ([("Slice", {}, 2)], IMAGE, [longs(0, 1), longs(1, -1)]),
    "Slice with steps": (
        [("Slice", {}, 4)], IMAGE, [longs(1, -20), longs(99, 9), longs(3, -2), longs(3, 2)]
    ),
    "Slice backwards": ([("Slice", {}, 4)], IMAGE, [longs(-1), longs(-99), longs(1), longs(-2)]),
    "Pad": ([("Pad", {}, 1)], IMAGE, [longs(0, 0, 1, 2, 0, 0, 3, 0)]),
    "Pad of frames": ([("Pad", {}, 1)], IMAGE, [longs(1, 0, 0, 0, 2, 0, 0, 0)]),
    "Pad with a number": (
        [("Pad", {}, 2)], CLIP, [longs(0, 0, 1, 2, 0, 0, 0, 3, 0, 1), np.float32(-7)]
    ),
    "Gemm": ([("Gemm", {}, 2)], MATRIX, [floats(10, 4), floats(4)]),
    "Gemm, transposed and scaled": (
        [("Gemm", {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, 2)],
        (10, 3),
        [floats(4, 10), floats(3, 1)],
    ),
    "Gemm without bias": ([("Gemm", {"transB": 1}, 1)], MATRIX, [floats(4, 10)]),
    "MatMul": ([("MatMul", {}, 1)], MATRIX, [floats(10, 4)]),
    "MatMul of many": ([("MatMul", {}, 1)], IMAGE, [floats(13, 4)]),
    "MatMul of each": ([("MatMul", {}, 1)], IMAGE, [floats(2, 6, 13, 4)]),
    "BatchNormalization": (
        [("BatchNormalization", {"epsilon": 1e-3}, 4)],
        IMAGE,
        [floats(6), floats(6), floats(6), floats(6, low=0.1)],
    ),
    "BatchNormalization of clips": (
        [("BatchNormalization", {}, 4)],
        CLIP,
        [floats(4), floats(4), floats(4), floats(4, low=0.1)],
    ),
    "InstanceNormalization": ([("InstanceNormalization", {}, 2)], CLIP, [floats(4), floats(4)]),
    "GlobalAveragePool": ([("GlobalAveragePool", {}, 0)], IMAGE),
    "GlobalAveragePool of clips": ([("GlobalAveragePool", {}, 0)], CLIP),
    "ReduceSum": ([("ReduceSum", {}, 1)], IMAGE, [longs(-1, 1)]),
    "ReduceSum of nothing": ([("ReduceSum", {"noop_with_empty_axes": 1}, 0)], IMAGE),
    **{
        f"{name} over axes": ([(name, {"axes": [1, -1], "keepdims": 0}, 0)], IMAGE)
        for name in ("ReduceMax", "ReduceMean", "ReduceMin")
    },
    "ReduceMean of all": ([("ReduceMean", {}, 0)], CLIP),
}  # fmt: skip


def windows(rank):
    """A Conv and pools that slide over as many axes, with all that they can have."""
    size = (2, 6, *(7, 12, 11)[-rank:])
    odd = [1, 0, 2][:rank] + [1, 2, 1][:rank]  # other pads before than after

    def conv(groups=1, **attributes):
        weight = floats(8, 6 // groups, *(3, 2, 3)[-rank:])
        return [("Conv", {"group": groups, **attributes}, 2)], size, [weight, floats(8)]

    def pool(operator, **attributes):
        return [(operator, {"kernel_shape": (2, 3, 3)[:rank], **attributes}, 0)], size

    steps = {"strides": (1, 2, 3)[:rank], "pads": odd}
    found = {
        "Conv": conv(),
        "Conv without bias": ([("Conv", {}, 1)], size, [floats(8, 6, *(3, 2, 3)[-rank:])]),
        "Conv, pads and strides": conv(**steps),
        "Conv, dilations": conv(dilations=(1, 2, 2)[:rank], pads=[2] * 2 * rank),
        "Conv, groups": conv(2, pads=odd),
        "Conv, depthwise": ([("Conv", {"group": 6}, 1)], size, [floats(6, 1, *[3] * rank)]),
        "AveragePool, pads counted": pool("AveragePool", count_include_pad=1, **steps),
    }
    for operator in ("MaxPool", "AveragePool"):
        found[operator] = pool(operator)
        found[f"{operator}, pads and strides"] = pool(operator, **steps)
        found[f"{operator}, ceil_mode"] = pool(
            operator, ceil_mode=1, strides=(2, 2, 2)[:rank], pads=odd
        )
    for padding in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        found[f"Conv, {padding}"] = conv(auto_pad=padding, strides=(2, 2, 1)[:rank])
        found[f"MaxPool, {padding}"] = pool("MaxPool", auto_pad=padding, strides=(2, 1, 2)[:rank])
        found[f"AveragePool, {padding}"] = pool("AveragePool", auto_pad=padding)
    return {f"{name}, {rank}-D": case for name, case in found.items()}


NODES |= windows(2) | windows(3)


def first_forms():
    """Return the cases that are the first of an operator; `.ci/full` runs all others."""
    seen, found = set(), set()
    for case, (nodes, *_) in NODES.items():
        operators = {name for name, *_ in nodes}
        if not operators <= seen:
            found.add(case)
        seen |= operators
    return found


FIRST = first_forms()


@pytest.mark.parametrize(
    "case",
    [case if case in FIRST else pytest.param(case, marks=pytest.mark.long) for case in NODES],
)
def test_every_operator_answers_as_in_onnxruntime(tmp_path, case):
    same(chain(*NODES[case]), tmp_path)


def test_no_operator_is_left_out():
    from r2p_edge.export.targets.mindspore.operators import OPERATORS

    # Split, of several outputs, has a test of its own.
    tested = {name for nodes, *_ in NODES.values() for name, *_ in nodes} | {"Split"}
    assert tested == set(OPERATORS)


@pytest.mark.parametrize("opset", [13, 18, 20])
def test_the_forms_of_other_opsets(tmp_path, opset):
    newer = opset >= 18
    axes = [] if newer else [2, 3]
    mean = ("ReduceMean", {"keepdims": 0, **({} if newer else {"axes": axes})}, int(newer))
    nodes = [("Pad", {}, 2 + newer), ("Relu", {}, 0), mean]
    pads = longs(1, 2) if newer else longs(0, 0, 1, 0, 0, 0, 2, 0)
    weights = [pads, np.float32(2), *([longs(2), longs(2, 3)] if newer else [])]
    same(chain(nodes, IMAGE, weights, opset=opset), tmp_path)


@pytest.mark.parametrize("sizes", [(1, 5), None])
def test_split(tmp_path, sizes):
    model = chain([("Relu", {}, 0)], IMAGE)
    graph = model.graph
    names = ["Relu 0", "sizes"] if sizes else ["Relu 0"]
    graph.node.append(helper.make_node("Split", names, ["a", "b"], axis=1))
    graph.node.append(helper.make_node("Concat", ["b", "a", "b"], ["y"], axis=1))
    if sizes:
        graph.initializer.append(numpy_helper.from_array(longs(*sizes), "sizes"))
    graph.output[0].name = "y"
    same(model, tmp_path)


def test_what_is_checked_before_is_what_can_be_written(tmp_path):
    for nodes, *rest in NODES.values():
        assert not check_ops(chain(nodes, *rest), "mindspore"), nodes
