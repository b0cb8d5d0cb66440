"""Operators in the form without tensors of rank > 4, alone and in random chains."""

from __future__ import annotations

import numpy as np
import pytest
from requirements import needs

pytest.importorskip("onnx")
from conv2d_checks import (
    VIDEO,
    assert_close,
    check,
    graph_of,
    lowered,
    node,
    normal,
    outputs,
    refusal,
)
from onnx import TensorProto, helper

pytestmark = needs("onnxruntime")


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
        """Reshape to four or more axes, of which some are split and others merged."""
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
        """Multiply with a reduction of the same tensor."""
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


@pytest.mark.parametrize("channels", [False, True])
def test_quantised_networks(channels):
    rng = np.random.default_rng(0)
    count = 4 if channels else 1
    scales = rng.uniform(0.01, 0.02, (count,)).astype(np.float32)
    weights = {
        # Of 7 bits: a CPU without VNNI adds the products of 8 in 16 bits, which may be too few.
        "w": rng.integers(-63, 64, (4, 3, 3, 3, 3), np.int8),
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


def cut(start, end, axis, output):
    """Make a Slice of x along an axis."""
    return node("Slice", "x", f"n{start}", f"n{end}", f"n{axis}", output)


@pytest.mark.parametrize(
    "nodes",
    [
        # torch.roll by nothing, by the size, and by one.
        [cut(0, 9, 2, "a"), cut(0, 0, 2, "b"), node("Concat", "a", "b", "z", axis=2)],
        [cut(4, 9, 2, "a"), cut(0, 4, 2, "b"), node("Concat", "a", "b", "z", axis=2)],
        [cut(3, 9, 2, "a"), cut(0, 3, 2, "b"), node("Concat", "a", "b", "z", axis=2)],
        [cut(3, 3, 4, "a"), node("Relu", "a", "b"), node("Concat", "b", "x", "x", "z", axis=4)],
        [cut(0, 0, 1, "a"), node("Concat", "a", "x", "a", "z", axis=-4)],
        [cut(0, 0, 2, "a"), node("Pad", "a", "pads", "b"), node("Add", "x", "b", "z")],
        [cut(0, 0, 2, "a"), node("ReduceSum", "a", "n2", "b"), node("Add", "x", "b", "z")],
        [node("Pad", "x", "cropped", "z")],
        [node("Gather", "x", "matrix", "z", axis=2)],
    ],
    ids=str,
)
def test_parts_without_elements_and_other_oddities(nodes):
    weights = {f"n{n}": np.array([n]) for n in (0, 1, 2, 3, 4, 9)}
    weights["pads"] = np.array([0, 0, 2, 0, 0, 0, 0, 2, 0, 0])
    weights["cropped"] = np.array([0, 0, -1, 1, 0, 0, 0, -2, -1, 0])
    weights["matrix"] = np.array([[3, 0], [1, -2]])
    check(graph_of([*nodes, node("Flatten", "z", "y")], VIDEO, weights))


@pytest.mark.parametrize("sizes", [[1, 0, 3], [0, 4, 0], [0, 0, 4]])
def test_a_split_into_parts_of_which_some_have_no_elements(sizes):
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b", "c"], name="it", axis=2),
        node("ReduceSum", "b", "two", "s"),
        node("Concat", "c", "b", "a", "s", "z", axis=2),
        node("Flatten", "z", "y"),
    ]
    weights = {"sizes": np.array(sizes), "two": np.array([2])}
    result = check(graph_of(nodes, VIDEO, weights))
    assert not any(0 in tensor.dims for tensor in result.graph.initializer)


@pytest.mark.parametrize("split", [["three"], ["parts"], [], None])
def test_a_sequence_that_is_indexed_is_a_split(split):
    """As torch's `chunk` and `tensor_split` are, where their parts are taken by index."""
    inputs = ["x", *(split or [])]
    keepdims = {"keepdims": 0} if split is None else {}
    nodes = [
        helper.make_node("SplitToSequence", inputs, ["s"], name="it", axis=-3, **keepdims),
        node("SequenceAt", "s", "zero", "a"),
        node("SequenceAt", "s", "last", "b"),
        node("Concat", "b", "a", "z", axis=2),
        node("Flatten", "z", "y"),
    ]
    weights = {"zero": np.array(0), "last": np.array(-1), "three": np.array(3)}
    check(graph_of(nodes, VIDEO, weights | {"parts": np.array([1, 1, 2])}))


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
        (
            [node("ArgMax", "x", "i", axis=1, keepdims=0), node("Gather", "x", "i", "z")],
            VIDEO,
            "the z (Gather: its indices are not constant)",
        ),
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
        "bytes": np.ones((3, 3, 3, 1, 1), np.int8),
    }
    text = refusal(graph_of([*nodes, node("Flatten", "z", "y")], shape, weights))
    assert reason in text
    assert text.endswith("replace these in its source and export it again")
