"""ONNX to MindIR: the same answers as ONNX Runtime, operators without a form named, whole files."""

import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import pytest
from models import brightness_model, spec_of_brightness
from networks import SMALL, random_parameters, spec_for
from onnx import TensorProto, helper, numpy_helper
from requirements import needs, require

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.errors import ModelError, OutputError, ParityError, UsageError
from r2p_edge.export.graph.operators import check_ops
from r2p_edge.export.targets.mindspore import export as mindspore_export
from r2p_edge.export.targets.mindspore.export import mindspore_from_onnx
from r2p_edge.export.verify import parity
from r2p_edge.export.verify.ort_session import open_session, run_runtime
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.mindspore import MindSpore
from r2p_edge.spec import InputSpec

pytestmark = [needs("mindspore"), needs("onnx"), needs("onnxruntime")]

IMAGE, CLIP, MATRIX = (2, 6, 11, 13), (1, 4, 5, 9, 8), (3, 10)


@pytest.fixture
def source(tmp_path):
    return brightness_model(tmp_path / "model.onnx")


def chain(nodes, shape, weights=(), opset=17, kind=TensorProto.FLOAT):
    """A model of nodes that each read what the one before gives, and the weights that follow it.

    A node is (operator, attributes, number of weights that it reads).
    """
    names = [f"weight {number}" for number in range(len(weights))]
    rest, made, last = iter(names), [], "x"
    for number, (operator, attributes, count) in enumerate(nodes):
        inputs = [last, *(next(rest) for _ in range(count))]
        last = f"{operator} {number}"
        made.append(helper.make_node(operator, inputs, [last], **attributes))
    graph = helper.make_graph(
        made,
        "chain",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(w), name) for w, name in zip(weights, names)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def answers(model, folder, x=None):
    """What MindSpore gives for the model, and what ONNX Runtime does."""
    given = model.graph.input[0].type.tensor_type
    shape = [axis.dim_value for axis in given.shape.dim]
    if x is None:
        x = np.random.default_rng(1).normal(0, 2, shape).astype(np.float32)
    (want,) = open_session(model.SerializeToString()).run(None, {model.graph.input[0].name: x})
    draft = mindspore_export._export(MindSpore.library(), model, x.dtype, folder)
    runtime = MindSpore.open(draft, spec_of_brightness(), Options())
    return runtime.run(x), want


def same(model, folder, x=None):
    have, want = answers(model, folder, x)
    assert (have.shape, have.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def floats(*shape, low=-1.0):
    return np.random.default_rng(len(shape)).uniform(low, 1, shape).astype(np.float32)


def longs(*numbers):
    return np.array(numbers, np.int64)


UNARY = "Abs Erf Exp HardSwish Identity Neg Relu Sigmoid Softplus Tanh"
SHIFTED = "Log Sqrt"
BINARY = "Add Div Max Min Mul Pow Sub Sum"

NODES = {
    **{name: ([(name, {}, 0)], IMAGE) for name in UNARY.split()},
    **{
        f"{name} of positive": ([("Abs", {}, 0), ("Add", {}, 1), (name, {}, 0)], IMAGE, [floats(1)])
        for name in SHIFTED.split()
    },
    **{
        f"{name} with a column": (
            [("Abs", {}, 0), (name, {}, 1)],
            IMAGE,
            [floats(6, 1, 1, low=0.5)],
        )
        for name in BINARY.split()
    },
    "Add on five axes": ([("Add", {}, 1)], CLIP, [floats(4, 1, 1, 1)]),
    "Mul of the last axis": ([("Mul", {}, 1)], (1, 2, 4, 4, 3), [floats(3)]),
    "Max of three": ([("Max", {}, 2)], IMAGE, [floats(1), floats(6, 1, 1)]),
    "LeakyRelu": ([("LeakyRelu", {"alpha": 0.1}, 0)], IMAGE),
    "LeakyRelu, alpha above 1": ([("LeakyRelu", {"alpha": 1.5}, 0)], IMAGE),
    "PRelu": ([("PRelu", {}, 1)], IMAGE, [floats(6, 1, 1)]),
    "HardSigmoid": ([("HardSigmoid", {}, 0)], IMAGE),
    "HardSigmoid, alpha and beta": ([("HardSigmoid", {"alpha": 0.3, "beta": -0.1}, 0)], IMAGE),
    "Clip": ([("Clip", {}, 2)], IMAGE, [np.float32(-1), np.float32(np.inf)]),
    "Clip from below": ([("Clip", {}, 1)], IMAGE, [np.float32(0.5)]),
    "Softmax": ([("Softmax", {}, 0)], MATRIX),
    "Softmax over channels": ([("Softmax", {"axis": 1}, 0)], IMAGE),
    "Dropout": ([("Dropout", {}, 0)], IMAGE),
    "Cast": ([("Cast", {"to": TensorProto.DOUBLE}, 0), ("Cast", {"to": 1}, 0)], IMAGE),
    "Reshape": ([("Reshape", {}, 1)], IMAGE, [longs(0, -1, 13)]),
    "Flatten": ([("Flatten", {}, 0)], IMAGE),
    "Flatten all but two": ([("Flatten", {"axis": 2}, 0)], IMAGE),
    "Squeeze": ([("Squeeze", {}, 1)], (3, 1, 4, 1), [longs(-1, 1)]),
    "Unsqueeze": ([("Unsqueeze", {}, 1)], MATRIX, [longs(0, 3)]),
    "Transpose": ([("Transpose", {"perm": [0, 4, 1, 2, 3]}, 0)], CLIP),
    "Transpose, all turned": ([("Transpose", {}, 0)], IMAGE),
    "Concat": ([("Concat", {"axis": -3}, 1)], IMAGE, [floats(2, 3, 11, 13)]),
    "Gather": ([("Gather", {"axis": 1}, 1)], IMAGE, [longs(4, 0, -1)]),
    "Gather one": ([("Gather", {"axis": 2}, 1)], IMAGE, [np.array(-2, np.int64)]),
    "Slice": ([("Slice", {}, 2)], IMAGE, [longs(0, 1), longs(1, -1)]),
    "Slice with steps": (
        [("Slice", {}, 4)], IMAGE, [longs(1, -20), longs(99, 9), longs(3, -2), longs(3, 2)]
    ),
    "Slice backwards": ([("Slice", {}, 4)], IMAGE, [longs(-1), longs(-99), longs(1), longs(-2)]),
    "Pad": ([("Pad", {}, 1)], IMAGE, [longs(0, 0, 1, 2, 0, 0, 3, 0)]),
    "Pad of frames": ([("Pad", {}, 1)], IMAGE, [longs(1, 0, 0, 0, 2, 0, 0, 0)]),
    "Pad with a number": (
        [("Pad", {}, 2)], CLIP, [longs(0, 0, 1, 2, 0, 0, 0, 3, 0, 1), np.float32(-7)]
    ),
    "Gemm": ([("Gemm", {}, 2)], MATRIX, [floats(10, 4), floats(4)]),
    "Gemm, transposed and scaled": (
        [("Gemm", {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, 2)],
        (10, 3),
        [floats(4, 10), floats(3, 1)],
    ),
    "Gemm without bias": ([("Gemm", {"transB": 1}, 1)], MATRIX, [floats(4, 10)]),
    "MatMul": ([("MatMul", {}, 1)], MATRIX, [floats(10, 4)]),
    "MatMul of many": ([("MatMul", {}, 1)], IMAGE, [floats(13, 4)]),
    "MatMul of each": ([("MatMul", {}, 1)], IMAGE, [floats(2, 6, 13, 4)]),
    "BatchNormalization": (
        [("BatchNormalization", {"epsilon": 1e-3}, 4)],
        IMAGE,
        [floats(6), floats(6), floats(6), floats(6, low=0.1)],
    ),
    "BatchNormalization of clips": (
        [("BatchNormalization", {}, 4)],
        CLIP,
        [floats(4), floats(4), floats(4), floats(4, low=0.1)],
    ),
    "InstanceNormalization": ([("InstanceNormalization", {}, 2)], CLIP, [floats(4), floats(4)]),
    "GlobalAveragePool": ([("GlobalAveragePool", {}, 0)], IMAGE),
    "GlobalAveragePool of clips": ([("GlobalAveragePool", {}, 0)], CLIP),
    "ReduceSum": ([("ReduceSum", {}, 1)], IMAGE, [longs(-1, 1)]),
    "ReduceSum of nothing": ([("ReduceSum", {"noop_with_empty_axes": 1}, 0)], IMAGE),
    **{
        f"{name} over axes": ([(name, {"axes": [1, -1], "keepdims": 0}, 0)], IMAGE)
        for name in ("ReduceMax", "ReduceMean", "ReduceMin")
    },
    "ReduceMean of all": ([("ReduceMean", {}, 0)], CLIP),
}  # fmt: skip


def windows(rank):
    """A Conv and pools that slide over as many axes, with all that they can have."""
    size = (2, 6, *(7, 12, 11)[-rank:])
    odd = [1, 0, 2][:rank] + [1, 2, 1][:rank]  # other pads before than after

    def conv(groups=1, **attributes):
        weight = floats(8, 6 // groups, *(3, 2, 3)[-rank:])
        return [("Conv", {"group": groups, **attributes}, 2)], size, [weight, floats(8)]

    def pool(operator, **attributes):
        return [(operator, {"kernel_shape": (2, 3, 3)[:rank], **attributes}, 0)], size

    steps = {"strides": (1, 2, 3)[:rank], "pads": odd}
    found = {
        "Conv": conv(),
        "Conv without bias": ([("Conv", {}, 1)], size, [floats(8, 6, *(3, 2, 3)[-rank:])]),
        "Conv, pads and strides": conv(**steps),
        "Conv, dilations": conv(dilations=(1, 2, 2)[:rank], pads=[2] * 2 * rank),
        "Conv, groups": conv(2, pads=odd),
        "Conv, depthwise": ([("Conv", {"group": 6}, 1)], size, [floats(6, 1, *[3] * rank)]),
        "AveragePool, pads counted": pool("AveragePool", count_include_pad=1, **steps),
    }
    for operator in ("MaxPool", "AveragePool"):
        found[operator] = pool(operator)
        found[f"{operator}, pads and strides"] = pool(operator, **steps)
        found[f"{operator}, ceil_mode"] = pool(
            operator, ceil_mode=1, strides=(2, 2, 2)[:rank], pads=odd
        )
    for padding in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        found[f"Conv, {padding}"] = conv(auto_pad=padding, strides=(2, 2, 1)[:rank])
        found[f"MaxPool, {padding}"] = pool("MaxPool", auto_pad=padding, strides=(2, 1, 2)[:rank])
        found[f"AveragePool, {padding}"] = pool("AveragePool", auto_pad=padding)
    return {f"{name}, {rank}-D": case for name, case in found.items()}


NODES |= windows(2) | windows(3)


@pytest.mark.parametrize("case", NODES)
def test_every_operator_answers_as_in_onnxruntime(tmp_path, case):
    same(chain(*NODES[case]), tmp_path)


def test_no_operator_is_left_out():
    from r2p_edge.export.targets.mindspore.cell import OPERATORS

    # Split, of several outputs, has a test of its own.
    tested = {name for nodes, *_ in NODES.values() for name, *_ in nodes} | {"Split"}
    assert tested == set(OPERATORS)


@pytest.mark.parametrize("opset", [13, 18, 20])
def test_the_forms_of_other_opsets(tmp_path, opset):
    newer = opset >= 18
    axes = [] if newer else [2, 3]
    mean = ("ReduceMean", {"keepdims": 0, **({} if newer else {"axes": axes})}, int(newer))
    nodes = [("Pad", {}, 2 + newer), ("Relu", {}, 0), mean]
    pads = longs(1, 2) if newer else longs(0, 0, 1, 0, 0, 0, 2, 0)
    weights = [pads, np.float32(2), *([longs(2), longs(2, 3)] if newer else [])]
    same(chain(nodes, IMAGE, weights, opset=opset), tmp_path)


@pytest.mark.parametrize("sizes", [(1, 5), None])
def test_split(tmp_path, sizes):
    model = chain([("Relu", {}, 0)], IMAGE)
    graph = model.graph
    names = ["Relu 0", "sizes"] if sizes else ["Relu 0"]
    graph.node.append(helper.make_node("Split", names, ["a", "b"], axis=1))
    graph.node.append(helper.make_node("Concat", ["b", "a", "b"], ["y"], axis=1))
    if sizes:
        graph.initializer.append(numpy_helper.from_array(longs(*sizes), "sizes"))
    graph.output[0].name = "y"
    same(model, tmp_path)


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
    assert "Sin 0 (Sin: an operator that is not known here), Det 2 (Det: an operator" in found
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


def network_model(folder, graph, **changes):
    """A small R(2+1)D as an ONNX artifact."""
    from safetensors.numpy import save_file

    from r2p_edge.export import onnx_from_checkpoint

    path = folder / "network.onnx"
    save_file(random_parameters(**SMALL), folder / "network.safetensors")
    spec = spec_for(SMALL["classes"], **changes)
    onnx_from_checkpoint(folder / "network.safetensors", spec, path, graph=graph)
    return path


@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
def test_r2plus1d_answers_as_its_source(tmp_path, graph):
    source, path = network_model(tmp_path, graph), tmp_path / "network.mindir"
    spec = mindspore_from_onnx(source, path)
    assert (spec.graph, spec.precision) == (graph, "fp32")
    assert spec.parity["max_rel"] < 1e-5
    write_sidecar(path, spec)
    clip = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    with Predictor(source) as one, Predictor(path, runtime="mindspore") as other:
        want, have = one.outputs(clip), other.outputs(clip)
    assert agreement(want, have).max_rel < 1e-5


def test_a_model_of_normalised_float32(tmp_path):
    taken = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)
    source = network_model(tmp_path, "conv2d", input=taken)
    assert mindspore_from_onnx(source, tmp_path / "n.mindir").parity["max_rel"] < 1e-5


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch(tmp_path, batch):
    source = brightness_model(tmp_path / "model.onnx", batch=batch)
    path = tmp_path / "model.mindir"
    mindspore_from_onnx(source, path)
    clips = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    with Predictor(path, runtime="mindspore") as predictor, Predictor(source) as reference:
        assert predictor._runtime.input_shape == (batch, 4, 8, 8, 3)
        one, other = predictor.predict(clips, clips=3), reference.predict(clips, clips=3)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)


def test_an_open_batch_is_refused(tmp_path):
    source = brightness_model(tmp_path / "open.onnx", batch="n")
    with pytest.raises(ModelError, match="open axes 0, where sizes must be fixed"):
        mindspore_from_onnx(source, tmp_path / "open.mindir")


@needs("torch")
@needs("torchvision")
@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
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


def test_the_record_of_parity(source, tmp_path):
    spec = mindspore_from_onnx(source, tmp_path / "model.mindir")
    record = spec.to_dict()["parity"]
    assert record["reference"] == "onnx"
    assert record["max_rel"] <= 1e-6
    assert record["tolerance"] == {"max_rel": 1e-4}
    assert record["runtime"].startswith("mindspore ")
    assert record["runtime"].endswith(" on cpu")
    assert (record["computed_in"], record["onnx"]) == ("fp32", None)
    assert spec.target == {"runtime": "mindspore", "device": "cpu"}
    assert set(spec.built_with) == {"r2p_edge", "mindspore"}
    assert spec.contract_digest() == open_artifact(source).spec.contract_digest()


def test_a_parity_that_is_missed_writes_nothing(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(parity, "run_runtime", lambda *a: run_runtime(*a) * (1 + 2e-4))
    with pytest.raises(ParityError, match="the MindIR model does not answer as its source"):
        mindspore_from_onnx(source, out / "model.mindir")
    assert not list(out.iterdir())


def test_an_operator_that_mindspore_lacks(source, tmp_path):
    model = onnx.load(source)
    model.graph.node[1].op_type = "ReduceLogSumExp"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match=r"ReduceLogSumExp"):
        mindspore_from_onnx(tmp_path / "odd.onnx", tmp_path / "model.mindir")
    assert not (tmp_path / "model.mindir").exists()


def test_what_is_checked_before_is_what_can_be_written(tmp_path):
    for nodes, *rest in NODES.values():
        assert not check_ops(chain(nodes, *rest), "mindspore"), nodes


def test_any_path_and_a_file_that_others_may_read(source, tmp_path):
    folder = tmp_path / "a folder (1) [é] 日本"
    folder.mkdir()
    path = folder / "naïve + model.mindir"
    mindspore_from_onnx(source, path)
    assert sorted(file.name for file in folder.iterdir()) == [path.name, sidecar_path(path).name]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    with Predictor(path, runtime="mindspore") as predictor:
        assert predictor.runtime == "mindspore"


def test_a_folder_for_temporary_files_that_mindspore_refuses(source, tmp_path, monkeypatch):
    odd = tmp_path / "temp orary"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with pytest.raises(OutputError, match=r"temporary files is .*temp orary, .*; set TMPDIR"):
        mindspore_from_onnx(source, tmp_path / "model.mindir")
    assert not list(odd.iterdir())
    assert not (tmp_path / "model.mindir").exists()


def test_an_older_file_stays_whole_when_a_write_fails(source, tmp_path, monkeypatch):
    path = tmp_path / "model.mindir"
    mindspore_from_onnx(source, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        mindspore_from_onnx(source, path)
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert open_artifact(path).verified


def test_a_new_file_has_a_new_sidecar(source, tmp_path):
    path = tmp_path / "model.mindir"
    mindspore_from_onnx(source, path)
    brightness_model(source, factor=2.0)
    mindspore_from_onnx(source, path)
    assert open_artifact(path).verified


def test_refusals(source, tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.mindir"):
        mindspore_from_onnx(source, tmp_path / "model.ms")
    with pytest.raises(OutputError, match="there is no folder"):
        mindspore_from_onnx(source, tmp_path / "absent" / "model.mindir")
    half = brightness_model(tmp_path / "half.onnx", spec_of_brightness(precision="fp16"))
    with pytest.raises(UsageError, match="is fp16, and a MindIR file is made from fp32"):
        mindspore_from_onnx(half, tmp_path / "model.mindir")


def test_importing_the_module_does_not_import_mindspore():
    code = "import sys, r2p_edge.export.to_mindspore; sys.exit('mindspore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
