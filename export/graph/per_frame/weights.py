"""Constants of a convolution, in float or quantised, and others in their place."""

from __future__ import annotations

import numpy as np
import onnx

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph

_QUANTISED = "_quantized"  # what ONNX Runtime's quantizer adds to the name of an integer constant
_LIMITS = (64, 127)  # of weights in 7 bits, and in 8


class ConvConstants:
    """The weight and the bias of a convolution.

    Args:
        graph: the clip's graph.
        node: a Conv.

    Attributes:
        root: name of the constant that the weight is made of.
        weight_name, bias_name: names of the two in the float model; no bias has "".

    Raises:
        ModelError: the weight depends on the input.
    """

    def __init__(self, graph: ClipGraph, node: onnx.NodeProto) -> None:
        self._graph, self._node = graph, node
        if not graph.is_constant(node.input[1]):
            raise ModelError(f"{node.name} has a weight that depends on the input; stay with clips")
        self._scales: list[str] = []
        self.root = node.input[1]
        while (maker := graph.maker(self.root)) is not None:
            self._scales.append(maker.input[1])
            self.root = maker.input[0]
        self._integers = graph.array(self.root).dtype == np.int8
        self.weight_name = self.root.removesuffix(_QUANTISED)
        self.bias_name = node.input[2] if len(node.input) > 2 else ""

    def weight(self) -> np.ndarray:
        """Return the weight, (O, C, kt, kh, kw), in float."""
        value = self._graph.array(self.root)
        if self._integers:
            scale = self._graph.array(self._scales[0])
            value = value.astype(scale.dtype) * _by_output(scale, value.ndim)
        return value

    def bias(self) -> np.ndarray | None:
        """Return the bias, (O,), in float; None without one."""
        if not self.bias_name:
            return None
        maker = self._graph.maker(self.bias_name)
        if maker is None:
            return self._graph.array(self.bias_name)
        value, scale = (self._graph.array(name) for name in maker.input[:2])
        return np.asarray(value * scale)

    def replaced(self, weight: np.ndarray | None, bias: np.ndarray | None) -> dict[str, np.ndarray]:
        """Return the constants for another weight or bias, by name, quantised as the old ones are.

        Args:
            weight: (O, C, kt, kh, kw); None for the old one.
            bias: (O,); None for the old one.

        Raises:
            ModelError: one has another shape.
        """
        old_weight, old_bias = self.weight(), self.bias()
        weight = old_weight if weight is None else fitting(self.weight_name, old_weight, weight)
        if bias is not None and old_bias is not None:
            old_bias = fitting(self.bias_name, old_bias, bias)
        found = {self.root: weight.astype(self._graph.array(self.root).dtype)}
        if self._scales:
            scale = self._new_scale(weight)
            found[self._scales[0]] = scale
            if self._integers:
                steps = weight / _by_output(scale, weight.ndim)
                found[self.root] = np.rint(steps).astype(np.int8)
        return {**found, **self._with_bias(old_bias, found)}

    def _new_scale(self, weight: np.ndarray) -> np.ndarray:
        """Return the scales with which a weight uses the range that the old one does."""
        old = self._graph.array(self._scales[0])
        largest = np.abs(weight).reshape(len(weight), -1).max(axis=1).astype(np.float64)
        if old.size == 1:
            largest = largest.max(keepdims=True)
        limit = _LIMITS[1]
        if self._integers and np.abs(self._graph.array(self.root)).max() <= _LIMITS[0]:
            limit = _LIMITS[0]
        # The bias has this scale too, so that one of no weights is not to be coarse.
        scale = np.where(largest > 0, largest / limit, old.ravel())
        return np.asarray(scale.reshape(old.shape).astype(old.dtype))

    def _with_bias(
        self, bias: np.ndarray | None, found: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        if bias is None:
            return {}
        maker = self._graph.maker(self.bias_name)
        if maker is None:
            return {self.bias_name: bias.astype(self._graph.array(self.bias_name).dtype)}
        # A bias is added to sums of products, and has their scale.
        data = self._graph.maker(self._node.input[0])
        assert data is not None
        scale = self._graph.array(data.input[1]) * found[self._scales[0]]
        old_scale = self._graph.array(maker.input[1])
        whole = np.rint(bias.astype(np.float64) / scale.astype(np.float64).ravel())
        return {
            maker.input[0]: np.clip(whole, -(2**31), 2**31 - 1).astype(np.int32),
            maker.input[1]: scale.reshape(old_scale.shape).astype(old_scale.dtype),
        }


def causal_weight(name: str, weight: np.ndarray) -> np.ndarray:
    """Return a weight of the ticks t - 2d, t - d and t for one of t - d, t and t + d.

    It begins with nothing of the oldest, and with what the old one sees in and after its centre at
    the newest.

    Args:
        name: of the convolution, for errors.
        weight: (O, C, 3, kh, kw).

    Raises:
        ModelError: it does not see 3 positions.
    """
    if weight.shape[2] != 3:
        raise ModelError(
            f"{name} sees {weight.shape[2]} positions in time; a semi-causal form knows "
            "convolutions of 3"
        )
    before, centre, after = np.moveaxis(weight, 2, 0)
    return np.stack([np.zeros_like(before), before, centre + after], axis=2)


def _by_output(scale: np.ndarray, rank: int) -> np.ndarray:
    return scale.reshape(-1, *[1] * (rank - 1))


def fitting(name: str, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return a value for a constant, in the old one's type if that is a float.

    Raises:
        ModelError: it has another shape.
    """
    if old.shape != new.shape:
        raise ModelError(
            f"the weights of {name} have shape {new.shape} and the graph's {old.shape}; give those "
            "of the model that it was made from"
        )
    return new.astype(old.dtype)
