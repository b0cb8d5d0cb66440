"""Whole ONNX graphs as MindSpore cells."""

import numpy as np
import pytest
from mindspore_cells import IMAGE, MATRIX, answers, chain, floats, longs, same
from onnx import TensorProto, helper, numpy_helper
from requirements import needs, require

from r2p_edge.agreement import agreement
from r2p_edge.errors import ModelError
from r2p_edge.export.targets.mindspore import export as mindspore_export
from r2p_edge.runtimes.mindspore import MindSpore

pytestmark = [needs("mindspore"), needs("onnx"), needs("onnxruntime")]


def test_local_functions_and_weights_among_the_inputs(tmp_path):
    model = chain([("Add", {}, 1)], IMAGE, [floats(1)])
    model.graph.input.append(helper.make_tensor_value_info("weight 0", TensorProto.FLOAT, [1]))
    model.graph.input.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, [1]))
    model.graph.initializer.append(numpy_helper.from_array(floats(1), "unused"))
    own = [helper.make_opsetid("", 17)]
    twice = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], twice, own))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Twice", ["Add 0"], ["y"], domain="own"))
    model.graph.output[0].name = "y"
    same(model, tmp_path)


def test_pixels_and_normalisation(tmp_path):
    nodes = [("Cast", {"to": 1}, 0), ("Mul", {}, 1), ("Add", {}, 1)]
    nodes.append(("Transpose", {"perm": [0, 4, 1, 2, 3]}, 0))
    shape = (2, 4, 6, 5, 3)
    model = chain(nodes, shape, [floats(3), floats(3)], kind=TensorProto.UINT8)
    same(model, tmp_path, np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def test_what_has_no_form_is_named(tmp_path):
    def refusal(nodes, shape=IMAGE, weights=()):
        model = chain(nodes, shape, weights)
        with pytest.raises(ModelError) as caught:
            mindspore_export._export(MindSpore.library(), model, np.float32, tmp_path)
        assert not (tmp_path / "model.mindir").exists()
        return str(caught.value)

    found = refusal([("Sin", {}, 0), ("Relu", {}, 0), ("Det", {}, 0)], (2, 3, 3))
    assert "Sin 0 (Sin: an unknown operator), Det 2 (Det: an unknown" in found
    assert "choose another target" in found
    found = refusal([("Pad", {"mode": "reflect"}, 1)], IMAGE, [longs(0, 0, 1, 1, 0, 0, 1, 1)])
    assert "Pad 0 (Pad: it does more than to add a constant)" in found
    weight = [floats(8, 6, 3)]
    assert "(Conv: it slides over 1 axes)" in refusal([("Conv", {}, 1)], (2, 6, 9), weight)
    assert "(MatMul: its inputs broadcast)" in refusal(
        [("MatMul", {}, 1)], IMAGE, [floats(6, 13, 4)]
    )
    pool = {"kernel_shape": [2, 2], "dilations": [2, 2]}
    assert "(MaxPool: it has dilations)" in refusal([("MaxPool", pool, 0)])


def test_what_mindspore_cannot_compile_is_told(tmp_path, monkeypatch):
    # Its compiler leaves a report in the working directory.
    monkeypatch.chdir(tmp_path)
    mindspore = MindSpore.library()
    before = mindspore.get_context("jit_syntax_level")
    model = chain([("Cast", {"to": TensorProto.STRING}, 0), ("Cast", {"to": 1}, 0)], MATRIX)
    with pytest.raises(ModelError, match=r"mindspore \d.* cannot compile the model \(.*rewrite"):
        mindspore_export._export(mindspore, model, np.float32, tmp_path)
    assert mindspore.get_context("jit_syntax_level") == before


@needs("torch")
@needs("torchvision")
@pytest.mark.parametrize("graph", ["conv3d", pytest.param("conv2d", marks=pytest.mark.long)])
def test_torchvision_networks(tmp_path, torchvision, graph):
    import torch
    from conv3d_networks import exported, random_statistics
    from torchvision.models import video

    from r2p_edge.export import conv2d_from_conv3d

    for name in ("r2plus1d_18", "r3d_18", "mc3_18"):
        network = random_statistics(getattr(video, name)(weights=None, num_classes=7))
        clip = torch.randn(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
        model = exported(network, clip, dynamo=False, opset=17)
        model = conv2d_from_conv3d(model) if graph == "conv2d" else model
        have, want = answers(model, tmp_path, clip.numpy())
        with torch.no_grad():
            assert agreement(network(clip).numpy(), have).max_rel < 1e-5
        assert agreement(want, have).max_rel < 1e-5


@needs("torch")
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 13), (True, 18)])
def test_an_inflated_inception(tmp_path, dynamo, opset):
    import torch
    from conv3d_networks import InflatedInception, exported, random_statistics

    from r2p_edge.export import conv2d_from_conv3d

    if dynamo:
        require("onnxscript")
    clip = torch.randn(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    model = exported(random_statistics(InflatedInception()), clip, dynamo=dynamo, opset=opset)
    for form in (model, conv2d_from_conv3d(model)):
        have, want = answers(form, tmp_path, clip.numpy())
        assert agreement(want, have).max_rel < 1e-5
        (tmp_path / "model.mindir").unlink()
