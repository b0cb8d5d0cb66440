"""Numbers that an ONNX model of someone else makes of its pixels before its first layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.export.graph.axes import REGROUPING, SAMPLING, WEIGHTED, Axes, Follower, results
from r2p_edge.export.graph.layout import input_layout, input_sizes
from r2p_edge.export.graph.model import attributes, malformed_is_error
from r2p_edge.spec import ModelSpec

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

_ARITHMETIC = ("Add", "Div", "Mul", "Sub")
_PICKING = ("Gather", "Slice", "Split")
_POOLING = ("AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean")
_ASKING = ("Shape", "Size")  # they look at no number of the tensor
_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
)


class Front(NamedTuple):
    """Function of each colour before a model's first layer: `x * factor + offset`.

    Attributes:
        factor, offset: float64 (C,), in the order of the input's channels.
        clipped: whether numbers are clipped too.
        unknown: operators that are no such function; the numbers are then none of it either.
    """

    factor: np.ndarray
    offset: np.ndarray
    clipped: bool = False
    unknown: tuple[str, ...] = ()


class _Tensor(NamedTuple):
    """A tensor before the first layer.

    Attributes:
        axes: marks of its axes, by those of the input.
        channels: the input's channels that its own are made of.
        factor, offset: float64 (channels,).
    """

    axes: Axes
    channels: tuple[int, ...]
    factor: np.ndarray
    offset: np.ndarray

    def scaled(self, factor: object, offset: object) -> _Tensor:
        """Return the tensor times `factor` plus `offset`."""
        return self._replace(
            factor=self.factor * np.asarray(factor, float),
            offset=self.offset * np.asarray(factor, float) + np.asarray(offset, float),
        )

    def picked(self, places: Sequence[int]) -> _Tensor:
        """Return the tensor with some of its channels."""
        return self._replace(
            channels=tuple(self.channels[place] for place in places),
            factor=self.factor[list(places)],
            offset=self.offset[list(places)],
        )


class _UnknownError(Exception):
    """A node computes something else."""


@malformed_is_error()
def found_front(model: onnx.ModelProto, spec: ModelSpec, layout: str | None = None) -> Front | None:
    """Return what a float model makes of its pixels before its first layer; None for nothing.

    Moving numbers is nothing: other orders of the axes, frames that are left out, edges, another
    size of the picture, and colours in another order.

    Args:
        model: an ONNX model.
        spec: the contract, for the axes of the input.
        layout: these axes; by default those of `input_layout`.

    Raises:
        SpecError: no clip of the spec fits the input.
    """
    layout = layout or input_layout(model, spec)
    follower = Follower(model, input_sizes(layout, spec))
    return _Walk(follower, layout.index("C"), len(layout), spec.channels).front()


class _Walk:
    """The way from a model's input to its first layers."""

    def __init__(self, follower: Follower, colours: int, rank: int, channels: int) -> None:
        self._follower, self._mark, self._channels = follower, frozenset({colours}), channels
        axes = tuple(frozenset({axis}) for axis in range(rank))
        start = _Tensor(axes, tuple(range(channels)), np.ones(channels), np.zeros(channels))
        self._tensors = {follower.input: start}
        self._ends: list[_Tensor] = []
        self._lost: set[str] = set()  # no function of one colour any more, and before a layer
        self._unknown: dict[str, None] = {}
        self._clipped = False

    def front(self) -> Front | None:
        """Return the function of all ways to a layer; None if it does nothing."""
        behind: set[str] = set()
        for node in self._follower.nodes:
            names = set(node.input)
            here = [name for name in node.input if name in self._tensors]
            if node.op_type in _ASKING or not (here or names & self._lost):
                continue
            if names & behind or (node.op_type in WEIGHTED and not self._scales_colours(node)):
                # What is added to the result of a layer is not before the first one.
                self._ends += [self._tensors[name] for name in here]
                behind.update(node.output)
                continue
            self._step(node, bool(names & self._lost))
        if not self._ends and not self._unknown:
            return None
        factor, offset = np.full(self._channels, np.nan), np.full(self._channels, np.nan)
        for end in self._ends:
            for channel, step, shift in zip(end.channels, end.factor, end.offset, strict=True):
                if not np.isnan(factor[channel]) and not np.allclose(
                    (factor[channel], offset[channel]), (step, shift)
                ):
                    self._unknown["branches with other numbers"] = None
                factor[channel], offset[channel] = step, shift
        unused = np.isnan(factor)
        factor[unused], offset[unused] = 1, 0
        nothing = np.allclose(factor, 1, atol=1e-6) and np.allclose(offset, 0, atol=1e-6)
        if nothing and not (self._clipped or self._unknown):
            return None
        return Front(factor, offset, self._clipped, tuple(self._unknown))

    def _step(self, node: onnx.NodeProto, lost: bool) -> None:
        try:
            if lost:
                raise _UnknownError
            for name, tensor in zip(results(node), self._results(node), strict=False):
                self._tensors[name] = tensor
        except _UnknownError:
            if not lost or node.op_type in _ARITHMETIC:
                self._unknown[node.op_type] = None
            self._lost.update(node.output)

    def _results(self, node: onnx.NodeProto) -> list[_Tensor]:
        kind, follower = node.op_type, self._follower
        name = next(each for each in node.input if each in self._tensors)
        x = self._tensors[name]
        if kind == "Concat":
            return [self._joined(node)]
        if sum(each in self._tensors for each in node.input) > 1:
            raise _UnknownError
        if kind in _ARITHMETIC:
            return [self._computed(node, name, x)]
        if kind == "BatchNormalization" or kind in WEIGHTED:
            return [self._normalised(node, x)]
        if kind == "Clip":
            self._clipped = True
        elif kind == "Cast":
            if attributes(node).get("to") not in _FLOATS:
                raise _UnknownError
        elif kind in _POOLING:
            self._require_colours_apart(node, x)
        elif kind not in (*_PICKING, *SAMPLING, "Transpose", *REGROUPING):
            raise _UnknownError
        axes = follower.after(node, name, x.axes)
        if axes is None or name != node.input[0]:
            raise _UnknownError
        found = self._picked(node, x) if kind in _PICKING else [x] * len(node.output)
        return [each._replace(axes=axes) for each in found]

    def _require_colours_apart(self, node: onnx.NodeProto, x: _Tensor) -> None:
        """Check that a mean is not taken over colours."""
        gone: list[int] | range | None = range(2, len(x.axes))
        if node.op_type == "ReduceMean":
            gone = self._follower.numbers(node, "axes", 1)
        place = self._place(x)
        if gone is None or place in {axis % len(x.axes) for axis in gone}:
            raise _UnknownError

    def _place(self, x: _Tensor) -> int | None:
        """Return the axis of a tensor's colours; None where it has none."""
        places = [axis for axis, marks in enumerate(x.axes) if marks == self._mark]
        if len(places) == 1:
            return places[0]
        if len(x.channels) > 1:
            raise _UnknownError
        return None

    def _constant(self, name: str, x: _Tensor) -> np.ndarray:
        """Return a constant's number, or its number for each channel of a tensor."""
        value = self._follower.constant(name)
        if value is None or value.size not in (1, len(x.channels)):
            raise _UnknownError
        if value.size > 1:
            place = self._place(x)
            axis = value.shape.index(value.size) + len(x.axes) - value.ndim
            if place is None or axis != place:
                raise _UnknownError
        return value.ravel().astype(float)

    def _computed(self, node: onnx.NodeProto, name: str, x: _Tensor) -> _Tensor:
        first = node.input[0] == name
        value = self._constant(node.input[1 if first else 0], x)
        if node.op_type == "Mul":
            return x.scaled(value, 0)
        if node.op_type == "Div":
            if not first or not value.all():
                raise _UnknownError
            return x.scaled(1 / value, 0)
        if node.op_type == "Add":
            return x.scaled(1, value)
        return x.scaled(1, -value) if first else x.scaled(-1, value)

    def _normalised(self, node: onnx.NodeProto, x: _Tensor) -> _Tensor:
        """Return the result of a batch norm, or of a convolution that scales each colour."""
        values = [self._follower.constant(each) for each in node.input[1:5]]
        if self._place(x) != 1 or any(v is None or v.size != len(x.channels) for v in values):
            raise _UnknownError
        numbers = [np.asarray(value, float).ravel() for value in values]
        if node.op_type in WEIGHTED:
            factor, offset = numbers if len(numbers) == 2 else (numbers[0], np.zeros(1))
            return x.scaled(factor, offset)
        scale, bias, mean, variance = numbers
        step = scale / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        return x.scaled(step, bias - mean * step)

    def _scales_colours(self, node: onnx.NodeProto) -> bool:
        """Return whether a convolution is one number for each colour."""
        group = attributes(node).get("group", 1)
        weight = self._follower.shapes.get(node.input[1]) if len(node.input) > 1 else None
        count = self._channels
        one = weight is not None and weight[0] == count == np.prod(weight)
        return node.op_type == "Conv" and group == count and bool(one)

    def _picked(self, node: onnx.NodeProto, x: _Tensor) -> list[_Tensor]:
        """Return the results of a node that picks places of an axis."""
        follower, axes = self._follower, x.axes
        if node.op_type == "Slice":
            starts, ends = follower.numbers(node, "starts", 1), follower.numbers(node, "ends", 2)
            which, steps = follower.numbers(node, "axes", 3), follower.numbers(node, "steps", 4)
            if starts is None or ends is None or (which is None and len(node.input) > 3):
                raise _UnknownError
            which = which or list(range(len(starts)))
            for axis, start, end, step in zip(
                which, starts, ends, steps or [1] * len(starts), strict=True
            ):
                if axes[axis % len(axes)] == self._mark:
                    x = x.picked(range(len(x.channels))[start:end:step])
            return [x]
        axis = int(attributes(node).get("axis", 0)) % len(axes)
        if axes[axis] != self._mark:
            return [x] * len(node.output)
        if node.op_type == "Gather":
            places = follower.constant(node.input[1])
            return [x.picked(np.atleast_1d(places).tolist())] if places is not None else []
        shares = follower.numbers(node, "split", 1) or [len(x.channels) // len(node.output)] * len(
            node.output
        )
        stops = np.cumsum(shares)
        return [
            x.picked(range(stop - share, stop)) for stop, share in zip(stops, shares, strict=True)
        ]

    def _joined(self, node: onnx.NodeProto) -> _Tensor:
        """Return tensors that a Concat joins."""
        parts = [self._tensors.get(name) for name in node.input]
        first = parts[0]
        if first is None or any(
            part is None or len(part.axes) != len(first.axes) for part in parts
        ):
            raise _UnknownError
        known = [part for part in parts if part is not None]
        axis = int(attributes(node).get("axis", 0)) % len(first.axes)
        if first.axes[axis] == self._mark or (self._place(first) is None and not first.axes[axis]):
            axes = list(first.axes)
            axes[axis] = self._mark
            return _Tensor(
                tuple(axes),
                tuple(channel for part in known for channel in part.channels),
                np.concatenate([part.factor for part in known]),
                np.concatenate([part.offset for part in known]),
            )
        for part in known:
            if part.channels != first.channels or not (
                np.allclose(part.factor, first.factor) and np.allclose(part.offset, first.offset)
            ):
                raise _UnknownError
        return first
