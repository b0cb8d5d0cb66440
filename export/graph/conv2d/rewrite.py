"""The rewriting of a video network without 3-D operators, for runtimes that have none.

Each frame becomes an image in the batch. An operator over H and W is then a 2-D operator on the
images, and an operator over T is arithmetic on slices of the batch. The network computes the same
numbers; only the order of its sums differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError

if TYPE_CHECKING:
    import onnx

_OLDEST_OPSET = 13  # of the operators that are written here


def conv2d_from_conv3d(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite a model so that no tensor but its input has more than four axes.

    Only a Reshape to four axes reads the input, or a Cast that has such a Reshape behind it. Every
    Pad has a constant of its own, and a node has the name of its output. Inputs, outputs,
    metadata, opset and IR version are the model's own; a tensor has the name of the one that it
    represents.

    Args:
        model: of opset 13 or later, with static shapes and its weights in it; it is left
            unchanged.

    Returns:
        A new model; a copy if the model has no tensor of more than four axes.

    Raises:
        ModelError: an input's shape is open, or nodes have no such form; the message names all.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing("onnx") from error
    from onnx import inliner

    from r2p_edge.export.graph.conv2d.layout import MAX_RANK
    from r2p_edge.export.graph.conv2d.lowerings import lowered
    from r2p_edge.export.graph.model import model_inputs, opset
    from r2p_edge.export.graph.static import highest_rank, static_graph

    result = onnx.ModelProto()
    result.CopyFrom(inliner.inline_local_functions(model) if model.functions else model)
    del result.graph.value_info[:]  # the shapes of tensors that go
    if highest_rank(result) <= MAX_RANK:
        result.CopyFrom(model)
        return result
    version = opset(result)
    if version < _OLDEST_OPSET:
        raise ModelError(
            f"the model is of opset {version} and must be of {_OLDEST_OPSET} or later; export it "
            "again, or convert it with onnx.version_converter"
        )
    inputs = model_inputs(result.graph)
    _check_static(inputs)
    names = [[value.name for value in ends] for ends in (inputs, result.graph.output)]
    graph = lowered(static_graph(result), version, *names)
    del result.graph.node[:], result.graph.initializer[:], result.graph.input[:]
    result.graph.input.extend(inputs)
    result.graph.node.extend(graph.nodes)
    result.graph.initializer.extend(graph.initializers.values())
    return result


def _check_static(inputs: Iterable[onnx.ValueInfoProto]) -> None:
    for value in inputs:
        tensor = value.type.tensor_type
        axes = [
            f"{i} ({axis.dim_param})" if axis.dim_param else str(i)
            for i, axis in enumerate(tensor.shape.dim)
            if not axis.HasField("dim_value")
        ]
        if axes or not tensor.HasField("shape"):
            raise ModelError(
                f"the input {value.name} has open axes: {', '.join(axes) or 'all'}; export the "
                "model with static shapes, or fix them with "
                "onnx.tools.update_model_dims.update_inputs_outputs_dims"
            )
