"""Operators on the real MindSpore Lite 2.0: what the table of limits says of it, and no more."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from conv2d_checks import session
from onnx import helper, numpy_helper
from operator_models import reasons
from real_mindspore_lite import needs_real_lite, real_lite
from requirements import needs

from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d

pytestmark = [needs("onnxruntime"), needs_real_lite(), pytest.mark.slow, pytest.mark.long]

IMAGES = [4, 6, 12, 12]
PLANE = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}


def ints(*numbers):
    return np.array(numbers, np.int64)


def network(nodes, constants, *, shape=(1, 3, 4, 12, 12), opset=17):
    """Make a network whose images reach the nodes as `a` and leave them as `b`.

    Its input has five axes, so that it has another form without 3-D operators; that of
    `conv2d_from_conv3d` would be made of the nodes too.
    """
    rng = np.random.default_rng(1)
    arrays = {
        "as images": ints(4, 3, 12, 12),
        "w": rng.normal(size=(6, 3, 3, 3)).astype(np.float32),
        "flat": ints(1, -1),
        **{
            name: rng.normal(size=value).astype(np.float32) if isinstance(value, tuple) else value
            for name, value in constants.items()
        },
    }
    made = [
        helper.make_node("Reshape", ["frames", "as images"], ["images"]),
        helper.make_node("Conv", ["images", "w"], ["a"], **PLANE),
        *(
            helper.make_node(operator, inputs.split(), outputs.split(), **attributes)
            for operator, inputs, outputs, attributes in nodes
        ),
        helper.make_node("Reshape", ["b", "flat"], ["logits"]),
    ]
    for node in made:
        node.name = node.output[0]
    graph = helper.make_graph(
        made,
        "operators",
        [helper.make_tensor_value_info("frames", 1, shape)],
        [helper.make_tensor_value_info("logits", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run_lite(model, folder, batch):
    """Convert and run a model; return its answer."""
    import mindspore_lite as lite

    onnx.save(model, folder / "net.onnx")
    converter = lite.Converter()
    converter.save_type, converter.optimize = lite.ModelType.MINDIR, "general"
    converter.convert(lite.FmkType.ONNX, str(folder / "net.onnx"), str(folder / "net"), "", "")
    loaded, context = lite.Model(), lite.Context()
    context.target = ["cpu"]
    loaded.build_from_file(str(folder / "net.mindir"), lite.ModelType.MINDIR, context)
    tensor = loaded.get_inputs()[0]
    tensor.set_data_from_numpy(batch)
    return loaded.predict([tensor])[0].get_data_to_numpy()


def is_right(model, folder):
    """Return whether Lite answers as ONNX Runtime does; False where it refuses the model."""
    batch = np.random.default_rng(0).normal(size=(1, 3, 4, 12, 12)).astype(np.float32)
    (want,) = session(model).run(None, {"frames": batch})
    with real_lite():
        try:
            have = run_lite(model, folder, batch)
        except RuntimeError:
            return False
    return have.shape == want.shape and np.abs(have - want).max() <= 1e-4 * np.abs(want).max()


def of(*nodes, **constants):
    return nodes, constants


REFUSED = {
    "HardSwish": of(("HardSwish", "a", "b", {})),
    "Max of 3": of(("Neg", "a", "c", {}), ("Relu", "a", "d", {}), ("Max", "a c d", "b", {})),
    "Sum of 3": of(("Neg", "a", "c", {}), ("Relu", "a", "d", {}), ("Sum", "a c d", "b", {})),
    "Min of 1": of(("Min", "a", "b", {})),
    "Conv without strides": of(("Conv", "a k", "b", {"kernel_shape": [3, 3]}), k=(6, 6, 3, 3)),
    "ConvTranspose": of(("ConvTranspose", "a k", "b", {"strides": [2, 2]}), k=(6, 6, 2, 2)),
    "Elu without alpha": of(("Elu", "a", "b", {})),
    "norm of three axes": of(
        ("Reshape", "a three", "c", {}),
        ("InstanceNormalization", "c s s", "d", {}),
        ("Reshape", "d four", "b", {}),
        three=ints(4, 3, 288),
        four=ints(*IMAGES),
        s=(3,),
    ),
    "counted padding": of(("AveragePool", "a", "b", {**PLANE, "count_include_pad": 1})),
    "a shared constant of Pads": of(
        ("Pad", "a p", "c", {}),
        ("Pad", "c p", "b", {}),
        p=ints(1, 0, 0, 0, 1, 0, 0, 0),
    ),
    "ReduceMax over images": of(("ReduceMax", "a", "b", {"axes": [0]})),
    "ReduceMax over channels": of(("ReduceMax", "a", "b", {"axes": [1]})),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_table_refuses_is_wrong_and_its_form_without_3d_operators_is_right(case, tmp_path):
    nodes, constants = REFUSED[case]
    model = network(nodes, constants)
    assert reasons(model, "mindspore-lite")
    assert not is_right(model, tmp_path)
    form = conv2d_from_conv3d(model)
    assert reasons(form, "mindspore-lite") == []
    assert is_right(form, tmp_path)


def of_pixels(*operators):
    """Make a network of uint8 whose input goes through these operators to the images."""
    model = network([("Relu", "a", "b", {})], {})
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    reshape = model.graph.node[0]
    cast = helper.make_node("Cast", [], [], to=1)
    nodes = [{"Cast": cast, "Reshape": reshape}[name] for name in operators]
    del model.graph.node[0]
    for node, source, output in zip(nodes, ("frames", "between"), ("between", "images")):
        del node.input[:1], node.output[:]
        node.input.insert(0, source)
        node.output.append(output)
        node.name = output
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return model


def test_pixels_are_cast_before_they_are_reshaped(tmp_path):
    batch = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 12, 12), np.uint8)
    late, early = of_pixels("Reshape", "Cast"), of_pixels("Cast", "Reshape")
    (want,) = session(early).run(None, {"frames": batch})
    assert reasons(late, "mindspore-lite") == ["of a uint8 tensor, which can only be cast there"]
    assert reasons(conv2d_from_conv3d(early), "mindspore-lite") == []
    with real_lite():
        with pytest.raises(RuntimeError, match="build_from_file failed"):
            run_lite(late, tmp_path, batch)
        have = run_lite(conv2d_from_conv3d(early), tmp_path, batch)
    np.testing.assert_allclose(have, want, atol=1e-4 * np.abs(want).max())


TAKEN = {
    "Conv": of(("Conv", "a k", "b", PLANE), k=(6, 6, 3, 3)),
    "Conv in groups": of(("Conv", "a k", "b", {**PLANE, "group": 6}), k=(6, 1, 3, 3)),
    "MaxPool": of(("MaxPool", "a", "b", {"kernel_shape": [3, 3]})),
    "AveragePool": of(("AveragePool", "a", "b", PLANE)),
    "no padding": of(("AveragePool", "a", "b", {"kernel_shape": [3, 3], "count_include_pad": 1})),
    "Elu": of(("Elu", "a", "b", {"alpha": 1.0})),
    "Max of 2": of(("Neg", "a", "c", {}), ("Max", "a c", "b", {})),
    "ReduceMax over planes": of(("ReduceMax", "a", "b", {"axes": [2, 3]})),
    "ReduceMean": of(("ReduceMean", "a", "b", {"axes": [0]})),
    "Pad": of(("Pad", "a p", "b", {}), p=ints(1, 0, 0, 0, 1, 0, 0, 0)),
    "Tile": of(("Tile", "a p", "b", {}), p=ints(2, 1, 1, 1)),
    "Softmax": of(("Softmax", "a", "b", {"axis": 1})),
    "Sigmoid": of(("Sigmoid", "a", "c", {}), ("Mul", "a c", "b", {})),
    "PRelu": of(("PRelu", "a s", "b", {}), s=(6, 1, 1)),
    "norm": of(("InstanceNormalization", "a s s", "b", {}), s=(6,)),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_the_table_takes_is_right(case, tmp_path):
    nodes, constants = TAKEN[case]
    model = network(nodes, constants)
    assert reasons(model, "mindspore-lite") == []
    assert is_right(model, tmp_path)
