"""The rings of a per-frame form: which tensors a host keeps, and at which ages they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import onnx

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph
from r2p_edge.export.graph.per_frame.part import PartGraph
from r2p_edge.export.graph.per_frame.timing import TIME, Moment
from r2p_edge.spec import RingSpec

_DTYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT8: "int8",
}


class Rings:
    """The tensors that a host keeps, as the parts ask for them.

    Args:
        graph: the clip's graph.
        moments: place in time of its tensors.

    Attributes:
        moments: the argument.
        names: name of each ring by the tensor that it keeps.
    """

    def __init__(self, graph: ClipGraph, moments: Mapping[str, Moment]) -> None:
        self._graph, self.moments = graph, moments
        self.names: dict[str, str] = {}
        self._delays: dict[str, dict[str, list[int]]] = {}

    def slot(self, part: PartGraph, reader: str, tensor: str, age: int) -> str:
        """Add the slice of an age as an input of a part; return the input's name.

        Args:
            part: the graph that reads it.
            reader: its name among the parts.
            tensor: the tensor that is kept.
            age: ticks from its newest slice.
        """
        name = self.read(reader, tensor, age)
        return part.input(f"{name}.ago{age}", self._graph.type(tensor), self.slice_shape(tensor))

    def read(self, reader: str, tensor: str, *ages: int) -> str:
        """Note that a part reads slices of some ages of a tensor; return the ring's name."""
        if tensor not in self.names:
            maker = self._graph.maker(tensor)
            quantised = maker is not None and maker.op_type == "QuantizeLinear"
            # A float one of the same tensor may be kept too.
            name = maker.input[0] if maker is not None and quantised else tensor
            self.names[tensor] = f"{name}.quantized" if name in self.names.values() else name
            self._delays[tensor] = {}
        delays = self._delays[tensor].setdefault(reader, [])
        delays += [age for age in ages if age not in delays]
        return self.names[tensor]

    def slice_shape(self, tensor: str) -> list[int]:
        """Return the shape of a slice: (1, C, H, W)."""
        batch, channels, _, height, width = self._graph.shape(tensor)
        return [batch, channels, height, width]

    def renamed(self) -> dict[str, str]:
        """Return new names of tensors, so that each tensor that is kept has its ring's."""
        floats = {name: f"{name}.float" for name in self.names.values() if name not in self.names}
        return {**floats, **self.names}

    def table(self, feature: str | None) -> tuple[RingSpec, ...]:
        """Return the rings, each with what a host has to know.

        Args:
            feature: the tensor whose ages for `tail` stay in the order of the positions.

        Raises:
            ModelError: a tensor has a type or a form of quantisation that none can keep.
        """
        return tuple(self._ring(tensor, feature) for tensor in self.names)

    def _ring(self, tensor: str, feature: str | None) -> RingSpec:
        moment, kind = self.moments[tensor], self._graph.type(tensor)
        if moment.axis != TIME or kind not in _DTYPES:
            raise ModelError(
                f"{tensor} is {onnx.TensorProto.DataType.Name(kind)}, of which a host cannot keep "
                "slices; export the model from its checkpoint"
            )
        zero, scale = 0, None
        maker = self._graph.maker(tensor)
        if maker is not None and maker.op_type == "QuantizeLinear":
            scales, zeros = (self._graph.array(name) for name in maker.input[1:3])
            if scales.size != 1:
                raise ModelError(
                    f"{tensor} has a scale for each channel; calibrate the model with r2p-edge"
                )
            zero, scale = int(zeros.ravel()[0]), float(scales.ravel()[0])
        _, channels, height, width = self.slice_shape(tensor)
        return RingSpec(
            self.names[tensor],
            (channels, height, width),
            cast(Literal["float32", "float16", "uint8", "int8"], _DTYPES[kind]),
            zero,
            scale,
            moment.delay,
            {
                part: tuple(ages if tensor == feature and part == "tail" else sorted(ages))
                for part, ages in self._delays[tensor].items()
            },
        )


def unsqueezed(part: PartGraph, slices: Sequence[str]) -> list[str]:
    """Return slices with an axis of time of 1."""
    axes = part.whole("time", TIME)
    return [part.node("Unsqueeze", [name, axes], f"{name}.clip") for name in slices]
