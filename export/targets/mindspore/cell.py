"""An ONNX graph as a MindSpore cell: one expression per node.

MindSpore compiles the Python source of `construct`, which is written here. It would unroll a loop
over a list of layers by recursion, which ends at a depth of 1000.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import onnx
from mindspore import ops  # noqa: F401  for the source that is written
from onnx import inliner, numpy_helper

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.model import network_input, opset
from r2p_edge.export.graph.static import StaticGraph, static_graph
from r2p_edge.export.targets.mindspore.node import Node, UnsupportedError
from r2p_edge.export.targets.mindspore.operators import OPERATORS


def cell_from_onnx(model: onnx.ModelProto, folder: Path) -> mindspore.nn.Cell:
    """Return a cell that computes the same as the model.

    Args:
        model: a model with one input and one output of static shapes; the call may change it.
        folder: folder for the source of the cell, which MindSpore reads when it compiles it.

    Raises:
        ModelError: nodes have no form in MindSpore; all are named.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    given = network_input(model).name
    body = _Body(static_graph(model), opset(model))
    body.values[given] = "x"
    problems = []
    for node in body.source.nodes:
        try:
            body.add(node)
        except UnsupportedError as reason:
            problems.append(f"{node.name or node.output[0]} ({node.op_type}: {reason})")
            # Nodes after it may have problems of their own.
            body.values |= dict.fromkeys(node.output, "x")
    if problems:
        raise ModelError(
            f"MindSpore has no form for {', '.join(problems)}; rewrite these nodes with plainer "
            "operators, or choose another target"
        )
    return body.cell(model.graph.output[0].name, folder)


class _Body:
    """The body of `construct` as it grows.

    Attributes:
        source: the ONNX graph.
        values: the Python expression of each ONNX tensor that is computed so far.
    """

    def __init__(self, source: StaticGraph, version: int) -> None:
        self._version = version
        self._lines: list[str] = []
        self._weights: list[mindspore.Parameter] = []
        self.source = source
        self.values: dict[str, str] = {}

    def add(self, node: onnx.NodeProto) -> None:
        """Append the lines that compute a node.

        Raises:
            UnsupportedError: the node has no form in MindSpore.
        """
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise UnsupportedError("an unknown operator")
        open_ones = [n for n in (*node.input, *node.output) if n and n not in self.source.shapes]
        if open_ones:
            raise UnsupportedError(f"the shape of {', '.join(open_ones)} is not fixed")
        found = OPERATORS[node.op_type](Node(self, node, self._version))
        results = [found] if isinstance(found, str) else found
        if any(node.output[len(results) :]):
            raise UnsupportedError("it has a second output")
        self.values |= {name: self.let(each) for name, each in zip(node.output, results)}

    def let(self, expression: str) -> str:
        """Add a variable with the value of the expression; return its name."""
        self._lines.append(f"y{len(self._lines)} = {expression}")
        return f"y{len(self._lines) - 1}"

    def value(self, name: str) -> str:
        """Return the expression of an ONNX tensor."""
        if name not in self.values:
            self.values[name] = self.weight(numpy_helper.to_array(self.source.constants[name]))
        return self.values[name]

    def weight(self, array: np.ndarray) -> str:
        """Return the expression of a constant."""
        name = f"weight{len(self._weights)}"
        tensor = mindspore.Tensor(np.ascontiguousarray(array).reshape(array.shape))
        self._weights.append(mindspore.Parameter(tensor, name=name, requires_grad=False))
        return f"self.{name}"

    def cell(self, result: str, folder: Path) -> mindspore.nn.Cell:
        """Return the cell that computes the ONNX tensor `result`."""
        source = folder / "network.py"
        lines = ["def construct(self, x):", *self._lines, f"return {self.value(result)}\n"]
        source.write_text("\n    ".join(lines), encoding="utf-8")
        # MindSpore looks names up in the module that the function names as its own.
        scope: dict[str, Any] = {"__name__": __name__}
        exec(compile("\n    ".join(lines), source, "exec"), scope)
        cell = type("Network", (mindspore.nn.Cell,), {"construct": scope["construct"]})()
        for weight in self._weights:
            setattr(cell, weight.name, weight)
        cell.set_train(False)
        return cell
