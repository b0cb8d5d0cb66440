"""The graph of a clip, read for the surgery: who makes and reads each tensor, and its shape."""

from __future__ import annotations

import re

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.model import axis_sizes, model_inputs, without_weights

STAGES = 4
"""Stages of a network after its stem."""


class ClipGraph:
    """The nodes of an artifact's graph that its answer depends on.

    Args:
        model: an artifact of this package with 3-D convolutions, for one clip per call.
        output: name of its answer.

    Attributes:
        model, output: the arguments.
        nodes: in execution order.
        constants: weights and other constants by name.
        input: name of the input.

    Raises:
        ModelError: it takes several clips, or its tensors are not named as this package does.
    """

    def __init__(self, model: onnx.ModelProto, output: str) -> None:
        self.model, self.output = model, output
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        needed = self._needed(output)
        self.nodes = [node for node in model.graph.node if node.output[0] in needed]
        (value,) = model_inputs(model.graph)
        self.input = value.name
        self._changing = {self.input}
        for node in self.nodes:
            if not self._changing.isdisjoint(node.input):
                self._changing.update(node.output)
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        if axis_sizes(value)[0] != 1:
            raise ModelError(
                "the model takes several clips per call, or any number; a per-frame form needs "
                "one, so export it with --batch 1"
            )
        inferred = shape_inference.infer_shapes(without_weights(model)).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        self._types = {each.name: each.type.tensor_type.elem_type for each in values}
        self._shapes = {each.name: axis_sizes(each) for each in values}
        self._stages = {
            stage: block for stage in range(1, STAGES + 1) if (block := self._last_block(stage))
        }
        if not (self._stages and all(stage in self._stages for stage in range(1, STAGES + 1))):
            raise ModelError(
                f"the graph has no blocks named layer1.0 to layer{STAGES}.0, as r2p_edge names "
                "them; export the per-frame form from the checkpoint, or from an ONNX file that "
                "r2p_edge has made of one"
            )

    def maker(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor; None for inputs and constants."""
        return self._makers.get(name)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor."""
        return self._readers.get(name, [])

    def is_constant(self, name: str) -> bool:
        """Return whether a tensor does not depend on the input."""
        return name not in self._changing

    def array(self, name: str) -> np.ndarray:
        """Return the value of a constant."""
        return np.asarray(numpy_helper.to_array(self.constants[name]))

    def shape(self, name: str) -> list[int]:
        """Return the shape of a tensor.

        Raises:
            ModelError: it is not known before the model runs.
        """
        sizes = self._shapes.get(name)
        if sizes is None or any(size is None for size in sizes):
            raise ModelError(
                f"the shape of {name} is not known before the model runs; export the model from "
                "its checkpoint"
            )
        return [size for size in sizes if size is not None]

    def type(self, name: str) -> int:
        """Return a tensor's TensorProto.DataType."""
        return int(self._types[name])

    def stored(self, name: str) -> tuple[str, onnx.NodeProto | None]:
        """Return the tensor that a host keeps of `name`, and the node that dequantises it."""
        node = self._makers.get(name)
        if node is not None and node.op_type == "DequantizeLinear":
            return node.input[0], node
        return name, None

    def feature(self, stage: int) -> str:
        """Return the tensor with which a stage ends; 0 is the stem.

        It is the quantised one if nothing else is read of it.
        """
        if stage == 0:
            convs = (node for node in self.nodes if node.op_type == "Conv")
            first = next(node for node in convs if node.name.startswith("layer1.0."))
            name, _ = self.stored(first.input[0])
            node = self._makers.get(name)
            if node is not None and _quantises(node):
                name = node.input[0]
        else:
            name = self._stages[stage]
        readers = self.readers(name)
        if len(readers) == 1 and _quantises(readers[0]):
            name = readers[0].output[0]
        return name

    def region(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that a tensor depends on and that depend on the input, in order."""
        needed = self._needed(name)
        return [
            node
            for node in self.nodes
            if node.output[0] in needed and not self.is_constant(node.output[0])
        ]

    def _needed(self, name: str) -> set[str]:
        found: set[str] = set()
        stack = [name]
        while stack:
            each = stack.pop()
            if each not in found:
                found.add(each)
                node = self._makers.get(each)
                stack += [] if node is None else [one for one in node.input if one]
        return found

    def _last_block(self, stage: int) -> str | None:
        pattern = re.compile(rf"layer{stage}\.(\d+)")
        matches = filter(None, map(pattern.fullmatch, self._makers))
        numbers = [int(found[1]) for found in matches]
        return f"layer{stage}.{max(numbers)}" if numbers else None


def stage_of(node: onnx.NodeProto) -> int:
    """Return the stage of a convolution by its name; 0 for the stem."""
    found = re.match(r"layer(\d+)\.", node.name)
    return int(found[1]) if found else 0


def _quantises(node: onnx.NodeProto) -> bool:
    return node.op_type == "QuantizeLinear"
