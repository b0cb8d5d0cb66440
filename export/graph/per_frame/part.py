"""A part of a per-frame form under construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from r2p_edge.export.graph.adapt import rename
from r2p_edge.export.graph.builder import IR_VERSION
from r2p_edge.export.graph.model import opset
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph
from r2p_edge.export.graph.static import drop_unused


class PartGraph:
    """An ONNX graph that takes nodes over from a clip's graph.

    Args:
        source: the clip's graph.

    Attributes:
        source: the clip's graph.
    """

    def __init__(self, source: ClipGraph) -> None:
        self.source = source
        self._nodes: list[onnx.NodeProto] = []
        self._own: dict[str, onnx.TensorProto] = {}
        self._made: set[str] = set()
        self._inputs: dict[str, onnx.ValueInfoProto] = {}

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """Add an input of a TensorProto.DataType, unless it is there; return its name."""
        if name not in self._inputs:
            self._inputs[name] = helper.make_tensor_value_info(name, kind, shape)
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant in place of one of that name in the source; return its name."""
        array = np.asarray(value, order="C")  # 0 axes stay 0
        self._own[name] = numpy_helper.from_array(array, name)
        return name

    def whole(self, name: str, *values: int) -> str:
        """Add a constant of whole numbers, unless it is there; return its name."""
        return self.constant(name, np.array(values, np.int64))

    def scalar(self, name: str, value: int) -> str:
        """Add a constant whole number without axes, unless it is there; return its name."""
        return self.constant(name, np.array(value, np.int64))

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node, unless its output is there; return the output."""
        self.take(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def take(
        self, node: onnx.NodeProto, inputs: Sequence[str] | None = None, **attributes: Any
    ) -> onnx.NodeProto:
        """Add a copy of a node, unless its output is there.

        Args:
            node: the node; the constant ones before it come with it.
            inputs: in place of its own.
            attributes: in place of its own.
        """
        made = onnx.NodeProto()
        made.CopyFrom(node)
        if inputs is not None:
            del made.input[:]
            made.input.extend(inputs)
        for name, value in attributes.items():
            kept = [each for each in made.attribute if each.name != name]
            del made.attribute[:]
            made.attribute.extend(kept)
            if value is not None:
                made.attribute.append(helper.make_attribute(name, value))
        for name in made.input:
            before = self.source.maker(name)
            if before is not None and self.source.is_constant(name):
                self.take(before)
        if made.output[0] not in self._made:
            self._made.update(made.output)
            self._nodes.append(made)
        return made

    def model(
        self,
        name: str,
        outputs: Mapping[str, tuple[int, Sequence[int | str]]],
        names: Mapping[str, str],
    ) -> onnx.ModelProto:
        """Return the finished model.

        Args:
            name: of the graph.
            outputs: type and shape of each, by its name.
            names: new names of tensors, of outputs too.
        """
        constants = {**self.source.constants, **self._own}
        used = {each for node in self._nodes for each in node.input}
        graph = helper.make_graph(
            self._nodes,
            name,
            list(self._inputs.values()),
            [helper.make_tensor_value_info(key, *value) for key, value in outputs.items()],
            initializer=[tensor for key, tensor in constants.items() if key in used],
        )
        drop_unused(graph)
        rename(graph, dict(names))
        source = self.source.model
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset(source))],
            ir_version=max(source.ir_version, IR_VERSION),
            producer_name=source.producer_name,
            producer_version=source.producer_version,
        )
