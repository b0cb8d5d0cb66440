"""Checks of the form of a model without 3-D operators, against ONNX Runtime on the model itself."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d

VIDEO = [1, 3, 4, 4, 4]
property_test = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def session(model):
    """Open an ONNX Runtime session of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data = model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def feeds(model, seed=0):
    """Draw random inputs of a model, by name."""
    rng = np.random.default_rng(seed)
    found = {}
    for value in model.graph.input:
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            found[value.name] = rng.integers(0, 256, shape, np.uint8)
        else:
            found[value.name] = rng.normal(size=shape).astype(np.float32)
    return found


def ranks(model):
    """Return the rank of every tensor but the inputs, and what only casts them, by name."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    entries = {value.name for value in graph.input}
    cast = {n.output[0] for n in graph.node if n.op_type == "Cast" and n.input[0] in entries}
    for value in (*graph.value_info, *graph.output):
        assert value.type.tensor_type.HasField("shape"), value.name
        found[value.name] = len(value.type.tensor_type.shape.dim)
    assert found.keys() >= {name for node in graph.node for name in node.output if name}
    return {name: rank for name, rank in found.items() if name not in cast}


def readers(model, name):
    """Return the nodes that read a tensor."""
    return [node for node in model.graph.node if name in node.input]


def lowered(model):
    """Return the form without 3-D operators, after every check that needs no run of it."""
    before = model.SerializeToString(deterministic=True)
    result = conv2d_from_conv3d(model)
    assert model.SerializeToString(deterministic=True) == before
    assert conv2d_from_conv3d(model).SerializeToString(deterministic=True) == (
        result.SerializeToString(deterministic=True)
    )
    onnx.checker.check_model(result, full_check=True)
    assert max(ranks(result).values()) <= 4
    for field in ("opset_import", "metadata_props", "ir_version", "producer_name"):
        assert getattr(result, field) == getattr(model, field)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    assert list(result.graph.input) == inputs
    assert result.graph.output == model.graph.output
    for value in inputs:
        if len(value.type.tensor_type.shape.dim) > 4:
            (reader,) = readers(result, value.name)
            if reader.op_type == "Cast":
                (reader,) = readers(result, reader.output[0])
            assert reader.op_type == "Reshape"
    for reader in result.graph.node:
        assert reader.name == next(filter(None, reader.output))
        assert reader.op_type != "Pad" or readers(result, reader.input[1]) == [reader]
    return result


def outputs(model):
    """Run a model on random inputs and return its first output."""
    return session(model).run(None, feeds(model))[0]


def check(model):
    """Return the form without 3-D operators, after checking that it answers as the model does."""
    result = lowered(model)
    assert_close(outputs(result), outputs(model))
    return result


def assert_close(have, want, tolerance=1e-5):
    """Compare shape, dtype and values, relative to the largest."""
    assert (have.shape, have.dtype) == (want.shape, want.dtype)
    assert np.abs(have - want).max() <= tolerance * np.abs(want).max()


def graph_of(nodes, shape, weights=(), *, opset=17, kind=TensorProto.FLOAT, rank=2):
    """Make a model with input x and output y, of `rank` axes whose sizes are to be inferred."""
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    axes = [f"axis {i}" for i in range(rank)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, axes)]
    constants = [numpy_helper.from_array(value, name) for name, value in dict(weights).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def node(operator, *names, **attributes):
    """Make a node; the last of the names is its output."""
    *inputs, output = names
    return helper.make_node(operator, inputs, [output], name=f"the {output}", **attributes)


def normal(*shape):
    """Draw a float32 array."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def refusal(model):
    """Return the error that a model gives."""
    with pytest.raises(ModelError) as caught:
        conv2d_from_conv3d(model)
    return str(caught.value)


@st.composite
def windows(draw, most_padding=lambda kernel: kernel - 1):
    """Draw the shape of an input, and attributes of an operator with a window."""
    shape = [draw(st.integers(1, 2)), draw(st.sampled_from([1, 2, 4]))]
    shape += [draw(st.integers(1, 7)) for _ in range(3)]
    kernel = [draw(st.integers(1, 4)) for _ in range(3)]
    strides = [draw(st.integers(1, 3)) for _ in range(3)]
    found = {"kernel_shape": kernel, "strides": strides}
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode.startswith("SAME"):
        # ONNX Runtime takes dilations for none here, and refuses to skip elements.
        found["strides"] = [min(pair) for pair in zip(strides, kernel)]
        return shape, {**found, "auto_pad": mode}
    found["dilations"] = dilations = [draw(st.integers(1, 2)) for _ in range(3)]
    if mode == "VALID":
        found["auto_pad"], pads = mode, [0] * 6
    else:
        found["pads"] = pads = [draw(st.integers(0, most_padding(k))) for k in kernel * 2]
    axes = zip(shape[2:], kernel, strides, dilations, pads, pads[3:])
    for size, k, stride, dilation, before, after in axes:
        places = range(0, size + before + after - dilation * (k - 1), stride)
        reads = {place + tap * dilation - before for place in places for tap in range(k)}
        assume(reads & set(range(size)))
    return shape, found


def compare(node, shape, weights=(), *, opset=17, tolerance=1e-5):
    """Check one node, given without an output, on a random input."""
    node.output.append("z")
    nodes = [node, helper.make_node("Flatten", ["z"], ["y"])]
    result = lowered(graph_of(nodes, shape, weights, opset=opset))
    node.output[0] = "y"
    # The node alone: ONNX Runtime may give another size after a pool than it inferred for it.
    want = outputs(graph_of([node], shape, weights, opset=opset, rank=5))
    assert_close(outputs(result), want.reshape(len(want), -1), tolerance)
