from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import FLOAT, SMALL, random_parameters, spec_for, torch_network, torchvision_network
from parity_checks import answers, torch_answers
from requirements import needs

from r2p_edge.agreement import agreement
from r2p_edge.artifact.atomic import atomic_write
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.errors import (
    CheckpointError,
    ModelError,
    ModelNotFoundError,
    OutputError,
    ParityError,
    SpecError,
    UsageError,
)
from r2p_edge.export.targets.onnx import write_with_spec
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips
from r2p_edge.spec import InputSpec

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


@pytest.fixture(scope="module")
def parameters():
    return random_parameters(**SMALL)


@pytest.fixture
def checkpoint(parameters, tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "weights.safetensors"
    save_file(parameters, path)
    return path


@needs("torch")
@pytest.mark.parametrize("input", [InputSpec(), FLOAT])
def test_a_checkpoint_becomes_a_proven_artifact(checkpoint, parameters, out, input):
    import onnx

    from r2p_edge.export import onnx_from_checkpoint

    path = out / "model.onnx"
    spec = onnx_from_checkpoint(checkpoint, spec_for(7, input=input), path)
    assert set(out.iterdir()) == {path, sidecar_path(path)}
    assert open_artifact(path).verified
    assert path.stat().st_mode & 0o044 == 0o044 & ~_umask()
    assert open_artifact(path).spec == spec
    assert (spec.arch, spec.graph) == ("r2plus1d_1-1-1-1", "conv3d")
    assert spec.source == {
        "file": "weights.safetensors",
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "dialect": "gluoncv",
    }
    assert spec.built_with["onnx"] == onnx.__version__
    assert spec.parity["reference"] == "numpy"
    assert spec.parity["max_rel"] < 5e-6
    onnx.checker.check_model(onnx.load(path), full_check=True)

    clips = verification_clips(spec, 2, seed=9)
    expected = torch_answers(torch_network(parameters, SMALL["counts"]), spec, clips)
    assert agreement(expected, answers(path, spec, clips)).max_rel < 1e-5


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@needs("torch")
@pytest.mark.parametrize("per_conv", [False, True])
def test_a_34_layer_network(tmp_path, per_conv):
    from safetensors.numpy import save_file

    from r2p_edge.export import onnx_from_checkpoint

    counts = (3, 4, 6, 3)
    parameters = random_parameters(counts, (16, 24, 32, 40), 11, per_conv=per_conv)
    save_file(parameters, tmp_path / "weights.safetensors")
    path = tmp_path / "model.onnx"
    spec = onnx_from_checkpoint(
        tmp_path / "weights.safetensors", spec_for(11, frames=9, size=48), path, batch=2
    )
    assert spec.arch == "r2plus1d_34"
    clips = verification_clips(spec, 3, seed=1)
    expected = torch_answers(torch_network(parameters, counts), spec, clips)
    assert agreement(expected, answers(path, spec, clips)).max_rel < 1e-5


@pytest.mark.long
@needs("torchvision")
@pytest.mark.slow
def test_torchvision_at_full_size(tmp_path):
    import torch

    from r2p_edge.export import onnx_from_checkpoint

    network, _ = torchvision_network(num_classes=101)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    path = tmp_path / "model.onnx"
    spec = onnx_from_checkpoint(tmp_path / "weights.pth", spec_for(101, frames=16, size=112), path)
    assert (spec.arch, spec.source["dialect"]) == ("r2plus1d_18", "torchvision")
    clips = verification_clips(spec, 1, seed=2)
    found = agreement(torch_answers(network, spec, clips), answers(path, spec, clips))
    assert found.max_rel < 1e-5
    assert found.top1 == 1


@pytest.mark.long
@needs("torch")
@pytest.mark.slow
def test_gluoncvs_names_at_full_size(tmp_path):
    from safetensors.numpy import save_file

    from r2p_edge.export import onnx_from_checkpoint

    counts = (2, 2, 2, 2)
    parameters = random_parameters(counts)
    save_file(parameters, tmp_path / "weights.safetensors")
    path = tmp_path / "model.onnx"
    spec = spec_for(101, frames=16, size=112)
    spec = onnx_from_checkpoint(tmp_path / "weights.safetensors", spec, path)
    assert (spec.arch, spec.source["dialect"]) == ("r2plus1d_18", "gluoncv")
    clips = verification_clips(spec, 1, seed=2)
    network = torch_network(parameters, counts)
    found = agreement(torch_answers(network, spec, clips), answers(path, spec, clips))
    assert found.max_rel < 1e-5
    assert found.top1 == 1


@pytest.mark.slow
def test_neither_torch_nor_mindspore_is_imported(checkpoint, out):
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import r2p_edge.export as export\n"
        "heavy = ('onnx', 'onnxruntime', 'torch', 'mindspore', 'safetensors')\n"
        "print(sorted(set(heavy) & set(sys.modules)))\n"
        "from networks import spec_for\n"
        f"export.onnx_from_checkpoint({str(checkpoint)!r}, spec_for(7), {str(out / 'm.onnx')!r})\n"
        "print(sorted({'torch', 'mindspore'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split("\n")[:2] == ["[]", "[]"], result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "torch"])
def test_a_missing_package_is_an_error_that_says_how_to_install_it(checkpoint, out, package):
    call = (
        "export.onnx_from_torch(None, spec_for(7), 'm.onnx')"
        if package == "torch"
        else f"export.onnx_from_checkpoint({str(checkpoint)!r}, spec_for(7), {str(out / 'm')!r})"
    )
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; sys.modules[{package!r}] = None\n"
        "import r2p_edge.export as export\n"
        "from r2p_edge.errors import MissingDependencyError\n"
        "from networks import spec_for\n"
        f"try: {call}\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.search(rf"{package}.* is not installed", result.stdout), result.stderr
    assert f"pip install {package}\n" in result.stdout
    assert list(out.iterdir()) == []


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import r2p_edge.export

    with pytest.raises(AttributeError, match="onnx_from_nothing"):
        _ = r2p_edge.export.onnx_from_nothing


def test_exporting_twice_gives_the_same_bytes(checkpoint, out):
    from r2p_edge.export import onnx_from_checkpoint

    for name in ("a.onnx", "b.onnx"):
        onnx_from_checkpoint(checkpoint, spec_for(7), out / name)
    assert (out / "a.onnx").read_bytes() == (out / "b.onnx").read_bytes()


def test_past_tolerance_nothing_is_written_and_the_old_file_stays(checkpoint, out, monkeypatch):
    from r2p_edge.export import onnx_from_checkpoint
    from r2p_edge.export.graph import r2plus1d

    folded = r2plus1d._norm

    def forgetful(parameters, step):
        norm = folded(parameters, step)
        return norm._replace(bias=0 * norm.bias) if step.name == "layer3.0.bn1" else norm

    monkeypatch.setattr(r2plus1d, "_norm", forgetful)
    (out / "old.onnx").write_bytes(b"before")
    for name in ("new.onnx", "old.onnx"):
        with pytest.raises(ParityError, match=r"first tensor that differs is layer3\.0\.bn1\.relu"):
            onnx_from_checkpoint(checkpoint, spec_for(7), out / name)
    assert [file.name for file in out.iterdir()] == ["old.onnx"]
    assert (out / "old.onnx").read_bytes() == b"before"


def test_a_spec_or_checkpoint_that_does_not_fit_leaves_nothing(checkpoint, out, parameters):
    from safetensors.numpy import save_file

    from r2p_edge.export import onnx_from_checkpoint

    with pytest.raises(SpecError, match="7 classes but the spec has 101 labels"):
        onnx_from_checkpoint(checkpoint, spec_for(101), out / "m.onnx")
    missing = {name: v for name, v in parameters.items() if name != "layer2.0.bn2.bias"}
    save_file(missing, checkpoint)
    with pytest.raises(CheckpointError, match=r"lacks 1 of its 105 tensors: layer2\.0\.bn2\.bias"):
        onnx_from_checkpoint(checkpoint, spec_for(7), out / "m.onnx")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("step", ["write", "sync", "name"])
def test_a_full_disk_leaves_the_old_file(out, monkeypatch, step):
    path = out / "m.onnx"
    path.write_bytes(b"before")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "write":
        monkeypatch.setattr("os.fdopen", full)
    elif step == "sync":
        monkeypatch.setattr("os.fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        atomic_write(path, b"after")
    monkeypatch.undo()
    assert [file.name for file in out.iterdir()] == ["m.onnx"]
    assert path.read_bytes() == b"before"


def test_a_folder_that_cannot_be_synced_does_not_undo_the_write(out, monkeypatch):
    sync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", refuse_folders)
    atomic_write(out / "m.onnx", b"data")
    assert (out / "m.onnx").read_bytes() == b"data"


def test_a_name_that_is_too_long_is_an_output_error(out):
    for name in ("n" * 300, "n" * 300 + "/m.onnx"):
        with pytest.raises(OutputError, match=r"cannot be written: (File name too long|there is)"):
            atomic_write(out / name, b"data")
    assert list(out.iterdir()) == []


def test_an_interrupt_leaves_no_temporary_file(out, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(out / "m.onnx", b"data")
    assert list(out.iterdir()) == []


def test_where_nothing_can_be_written_the_export_does_not_start(out):
    from r2p_edge.export import onnx_from_checkpoint

    (out / "file").write_bytes(b"")
    for path, message in [
        (out / "none" / "m.onnx", "there is no folder"),
        (out / "file" / "m.onnx", "there is no folder"),
        (out, "it is a folder"),
    ]:
        # The checkpoint does not exist either, but is not looked for.
        with pytest.raises(OutputError, match=message):
            onnx_from_checkpoint(out / "absent.ckpt", spec_for(7), path)


def test_the_sidecar_of_an_overwritten_artifact_is_not_left_behind(checkpoint, out):
    from r2p_edge.export import onnx_from_checkpoint

    path = out / "m.onnx"
    path.write_bytes(b"other")
    sidecar = write_sidecar(path, spec_for(3))
    assert sidecar == out / "m.onnx.json"
    onnx_from_checkpoint(checkpoint, spec_for(7), path)
    assert open_artifact(path).spec.labels == spec_for(7).labels


def test_a_sidecar_is_read_back_and_checked(out):
    path = out / "m.engine"
    path.write_bytes(b"plan" * 1000)
    write_sidecar(path, spec_for(3))
    found = open_artifact(path)
    assert (found.spec, found.size, found.verified) == (spec_for(3), 4000, True)
    path.write_bytes(b"plam" * 1000)
    with pytest.raises(ModelError, match="sha256"):
        open_artifact(path)
    with pytest.raises(OutputError, match="write the artifact first"):
        write_sidecar(out / "absent.engine", spec_for(3))


def foreign(
    path,
    *,
    shape=("N", 3, 4, 32, 32),
    classes=7,
    names=("x", "y"),
    kind="FLOAT",
    outputs=1,
    branch=False,
):
    """A small network of someone else: a strided convolution, mean and classifier."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    x, y = names
    weights = {
        "w": rng.normal(size=(4, 3, 2, 8, 8)) / 30,
        "fc": rng.normal(size=(4, classes)),
    }
    nodes = [
        helper.make_node("Conv", [x, "w"], ["normalized"], strides=[2, 8, 8]),
        helper.make_node("Relu", ["normalized"], ["frames"]),
    ]
    if branch:
        # Control flow whose inner graph uses tensors of the outer one.
        inner = [helper.make_node("Relu", ["normalized"], ["inner"])]
        result = [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
        graph = helper.make_graph(inner, "inner", [], result)
        weights["yes"] = np.array(True)
        nodes[1] = helper.make_node("If", ["yes"], ["frames"], then_branch=graph, else_branch=graph)
    nodes += [
        helper.make_node("ReduceMean", ["frames"], ["logits"], axes=[2, 3, 4], keepdims=0),
        helper.make_node("MatMul", ["logits", "fc"], [y]),
    ]
    kinds = [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["N", classes])]
    kinds += [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4])][: outputs - 1]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(x, getattr(TensorProto, kind), shape)],
        kinds,
        [
            numpy_helper.from_array(v if v.dtype == bool else v.astype(np.float32), name)
            for name, v in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    helper.set_model_props(model, {"author": "someone"})
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


@pytest.mark.parametrize("input", [InputSpec(), FLOAT, InputSpec(name="x"), InputSpec(name="fc")])
@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("batch", ["N", 1, 2])
def test_a_foreign_onnx_gets_the_specs_ends(tmp_path, out, input, branch, batch):
    import onnx

    from r2p_edge.export import onnx_from_onnx

    source = foreign(tmp_path / "theirs.onnx", branch=branch, shape=(batch, 3, 4, 32, 32))
    path = out / "m.onnx"
    spec = onnx_from_onnx(source, spec_for(7, input=input), path)
    assert open_artifact(path).spec == spec
    assert spec.parity["reference"] == "onnx"
    assert spec.source["file"] == "theirs.onnx"
    assert spec.source["dialect"] == "onnx"
    assert spec.graph == "conv3d"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key for entry in model.metadata_props} == {"author", "r2p_edge.spec"}
    assert not model.graph.value_info  # inferred for an open batch
    session = open_session(path)
    assert session.get_inputs()[0].name == input.name
    size = 1 if batch == "N" else batch
    assert session.get_inputs()[0].shape == [size, *spec.input_shape[1:]]
    clips = verification_clips(spec, 3, seed=8)
    expected = run_session(open_session(source), normalized(clips, spec))
    assert agreement(expected, answers(path, spec, clips)).max_rel < 1e-6


def test_an_artifact_can_be_exported_again_with_other_labels(checkpoint, out):
    from r2p_edge.export import onnx_from_checkpoint, onnx_from_onnx

    first = onnx_from_checkpoint(checkpoint, spec_for(7), out / "first.onnx")
    labels = tuple("ABCDEFG")
    second = onnx_from_onnx(out / "first.onnx", first.replace(labels=labels), out / "second.onnx")
    assert second.labels == labels
    assert second.arch == first.arch
    clips = verification_clips(first, 2, seed=3)
    one, two = (answers(out / name, first, clips) for name in ("first.onnx", "second.onnx"))
    assert np.array_equal(one, two)
    with pytest.raises(SpecError, match="takes uint8"):
        onnx_from_onnx(out / "first.onnx", first.replace(input=FLOAT), out / "third.onnx")


def test_an_artifact_keeps_its_normalisation_and_its_source(checkpoint, out):
    from r2p_edge.export import onnx_from_checkpoint, onnx_from_onnx

    first = onnx_from_checkpoint(checkpoint, spec_for(7), out / "first.onnx")
    for changes, named in (
        ({"mean": (0.1, 0.2, 0.3)}, "mean of the spec"),
        ({"scale": 1.0, "std": (0.5, 0.5, 0.5)}, "scale, std of the spec"),
        ({"input": dataclasses.replace(first.input, color="BGR")}, "input.color of the spec"),
    ):
        with pytest.raises(SpecError, match=f"{named} differ from those of the artifact"):
            onnx_from_onnx(out / "first.onnx", first.replace(**changes), out / "second.onnx")
    # What the caller says of the training decides; where the weights come from is known.
    second = onnx_from_onnx(out / "first.onnx", spec_for(7, source=None), out / "second.onnx")
    assert second.source == first.source
    assert second.contract_digest() == first.contract_digest()


def test_an_artifact_of_normalised_float32_can_get_its_normalisation(checkpoint, out):
    from r2p_edge.export import onnx_from_checkpoint, onnx_from_onnx

    bare = onnx_from_checkpoint(checkpoint, spec_for(7, input=FLOAT), out / "bare.onnx")
    spec = bare.replace(input=InputSpec(), mean=(0.1, 0.2, 0.3))
    spec = onnx_from_onnx(out / "bare.onnx", spec, out / "pixels.onnx")
    assert spec.mean == (0.1, 0.2, 0.3)
    clips = verification_clips(spec, 1, seed=3)
    expected = run_session(open_session(out / "bare.onnx"), normalized(clips, spec))
    assert agreement(expected, answers(out / "pixels.onnx", spec, clips)).max_rel < 1e-5


def test_an_artifact_that_normalises_float32_is_not_normalised_twice(checkpoint, out):
    from r2p_edge.export import onnx_from_checkpoint, onnx_from_onnx

    input = InputSpec(dtype="float32", layout="NCTHW")
    first = onnx_from_checkpoint(checkpoint, spec_for(7, input=input), out / "first.onnx")
    with pytest.raises(SpecError, match="float32 pixels that its graph normalises"):
        onnx_from_onnx(out / "first.onnx", first, out / "second.onnx")


@pytest.mark.parametrize("graph", [None, "conv2d"])
def test_records_of_another_file_do_not_survive(checkpoint, out, graph):
    """Records about the weights stay with them, whatever recipe is given for the rest."""
    from r2p_edge.export import onnx_from_checkpoint, onnx_from_onnx

    source = out / "source.onnx"
    spec = onnx_from_checkpoint(checkpoint, spec_for(7), source)
    of_weights = {"method": "minmax", "profile": "cpu"}
    spec = spec.replace(
        precision="int8",
        calibration=of_weights,
        accuracy={"top1": 0.5},
        target={"runtime": "tensorrt", "device": "cuda"},
    )
    write_with_spec(source, spec, source)
    for given in (spec, spec_for(7)):
        again = onnx_from_onnx(source, given, out / "again.onnx", graph=graph)
        assert open_artifact(out / "again.onnx").spec == again
        assert (again.precision, again.calibration) == ("int8", of_weights)
        assert (again.accuracy, again.target, again.source) == (None, None, spec.source)


def test_the_batch_of_a_foreign_onnx(tmp_path, out):
    from r2p_edge.export import onnx_from_onnx

    source = foreign(tmp_path / "open.onnx")
    spec = onnx_from_onnx(source, spec_for(7), out / "m.onnx", batch=3)
    session = open_session(out / "m.onnx")
    assert session.get_inputs()[0].shape == [3, *spec.input_shape[1:]]
    assert session.get_outputs()[0].shape == [3, 7]
    source = foreign(tmp_path / "fixed.onnx", shape=(2, 3, 4, 32, 32))
    onnx_from_onnx(source, spec_for(7), out / "fixed.onnx", batch=2)
    with pytest.raises(UsageError, match="batch is 3 but the model's x has a batch axis of 2"):
        onnx_from_onnx(source, spec_for(7), out / "none.onnx", batch=3)
    with pytest.raises(UsageError, match="batch is 0"):
        onnx_from_onnx(source, spec_for(7), out / "none.onnx", batch=0)
    assert not (out / "none.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": ("N", 3, 16, 112, 112)}, r"x is \(\?, 3, 16, 112, 112\) .* \(N, 3, 4, 32, 32\)"),
        ({"shape": ("N", 3, 32, 32)}, r"x is \(\?, 3, 32, 32\)"),
        ({"classes": 6}, r"y is \(\?, 6\) but the recipe .* has 7 labels"),
        ({"outputs": 2}, r"has 2 outputs \(y \(\?, 7\), logits \(\?, 4\)\).* --output NAME"),
        ({"kind": "INT64"}, "is INT64"),
    ],
)
def test_foreign_models_that_do_not_fit_are_refused(tmp_path, out, arguments, message):
    from r2p_edge.export import onnx_from_onnx

    source = foreign(tmp_path / "theirs.onnx", **arguments)
    with pytest.raises(SpecError, match=message):
        onnx_from_onnx(source, spec_for(7), out / "m.onnx")
    assert list(out.iterdir()) == []


def test_files_that_are_no_onnx_models_are_refused(tmp_path, out):
    from r2p_edge.export import onnx_from_onnx

    source = tmp_path / "theirs.onnx"
    with pytest.raises(ModelNotFoundError):
        onnx_from_onnx(source, spec_for(7), out / "m.onnx")
    foreign(source)
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a whole ONNX file"):
        onnx_from_onnx(source, spec_for(7), out / "m.onnx")
    source.write_bytes(b"")
    with pytest.raises(ModelError):
        onnx_from_onnx(source, spec_for(7), out / "m.onnx")


@needs("torch")
def test_what_is_no_module_or_no_spec(tmp_path):
    import torch

    from r2p_edge.export import onnx_from_torch

    module, path = torch.nn.Linear(1, 1), tmp_path / "model.onnx"
    with pytest.raises(SpecError, match="the spec is a dict; give a ModelSpec"):
        onnx_from_torch(module, {"labels": []}, path)
    with pytest.raises(ModelError, match=r"is a OrderedDict; expected a torch\.nn\.Module"):
        onnx_from_torch(module.state_dict(), spec_for(7), path)


@needs("torch")
def test_probabilities_that_are_called_logits(tmp_path):
    import torch

    from r2p_edge.export import onnx_from_torch
    from r2p_edge.spec import OutputSpec

    class Softened(torch.nn.Module):
        def forward(self, x):
            return x.mean((3, 4)).flatten(1)[:, :7].softmax(1)

    spec, path = spec_for(7), tmp_path / "model.onnx"
    # Without a layer, what it computes of its pixels could be a normalisation.
    with pytest.raises(UsageError, match=r"computes something of its pixels .*\(Softmax\)"):
        onnx_from_torch(Softened(), spec, path)
    with pytest.raises(SpecError, match=r"set output\.kind to probabilities"):
        onnx_from_torch(Softened(), spec, path, pixels="normalized")
    assert list(tmp_path.iterdir()) == []
    spec = spec.replace(output=OutputSpec(kind="probabilities"))
    made = onnx_from_torch(Softened(), spec, path, pixels="normalized")
    assert made.parity["top1"] == 1
