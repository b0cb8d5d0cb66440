"""Nodes and constants of a model under construction, each made only once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


class NodeStore:
    """Nodes and constants with unique names; equal ones are shared.

    Attributes:
        nodes: in execution order.
        initializers: the constants by name.
        place: prefix of new names: the original tensor that is being computed.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        """Start without nodes; `taken` are names that must not be given again."""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.place = ""
        self._names = set(taken)
        self._made: dict[object, str] = {}

    def emit(
        self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any
    ) -> str:
        """Add a node and return the name of its output.

        Args:
            output: the original tensor that it computes. Without one, the output gets a new name,
                and an equal node that is there already is used instead.
        """
        key = (operator, tuple(inputs), repr(sorted(attributes.items())))
        if not output and key in self._made:
            return self._made[key]
        name = output or self.fresh(f"{self.place}.{operator.lower()}")
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return self._made.setdefault(key, name)

    def constant(self, value: np.ndarray, like: str) -> str:
        """Add a constant, named like `like`, and return its name; equal ones are stored once."""
        value = np.ascontiguousarray(value).reshape(np.shape(value))
        key = (value.dtype, value.shape, hashlib.sha256(value.tobytes()).digest())
        if key not in self._made:
            name = self._made[key] = self.fresh(like)
            self.initializers[name] = numpy_helper.from_array(value, name)
        return self._made[key]

    def ints(self, *numbers: int) -> str:
        """Add a constant int64 vector and return its name."""
        return self.constant(np.array(numbers, np.int64), f"int64.{'x'.join(map(str, numbers))}")

    def unshare(self, operator: str, index: int) -> None:
        """Give each node of an operator a constant of its own as the input of that index."""
        readers = Counter(name for node in self.nodes for name in node.input)
        for node in self.nodes:
            if node.op_type != operator or len(node.input) <= index:
                continue
            name = node.input[index]
            if name in self.initializers and readers[name] > 1:
                readers[name] -= 1
                own = onnx.TensorProto()
                own.CopyFrom(self.initializers[name])
                own.name = node.input[index] = self.fresh(name)
                self.initializers[own.name] = own

    def fresh(self, like: str) -> str:
        """Return a name that no tensor has, made from `like`."""
        name, count = like, 0
        while name in self._names:
            count += 1
            name = f"{like}.{count}"
        self._names.add(name)
        return name
