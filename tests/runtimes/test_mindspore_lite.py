"""MindSpore Lite as a runtime, on a stand-in that sets the real library's traps."""

from __future__ import annotations

import platform
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from fake_mindspore_lite import VERSIONS, installed, write_mindir
from models import brightness_model, grey_frames, levels, spec_of_brightness
from onnx import TensorProto, helper, numpy_helper
from requirements import needs
from traps import (
    answers_for_other_memory_layouts,
    answers_outlive_the_next_run,
    answers_several_threads,
    clip,
    refuses_another_shape_of_as_many_bytes,
)

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, SpecError, UsageError
from r2p_edge.runtimes import ascend, mindspore_lite
from r2p_edge.runtimes.base import Options, usable_cores
from r2p_edge.runtimes.mindspore_lite import MindSporeLite

pytestmark = [needs("onnx"), needs("onnxruntime")]


CPU = {"runtime": "mindspore_lite", "device": "cpu"}


NPU = {"runtime": "mindspore_lite", "device": "ascend310p"}


CHIP = "Ascend310P3"


@pytest.fixture(params=VERSIONS)
def version(request):
    with installed(request.param):
        yield request.param


@pytest.fixture
def lite():
    with installed():
        yield


def mindir(folder, optimize="general", chip=None, **options):
    source = brightness_model(folder / "model.onnx", **options)
    return write_mindir(folder / "model.mindir", source, optimize, chip)


# Shows that the stand-in sets each trap at all.
class Naive:
    """Uses the library as its own examples do."""

    def __init__(self, path):
        import mindspore_lite

        self.model = mindspore_lite.Model()
        self.model.build_from_file(str(path), mindspore_lite.ModelType.MINDIR)
        self.tensor = self.model.get_inputs()[0]

    def run(self, batch):
        self.tensor.set_data_from_numpy(batch)
        return self.model.predict([self.tensor])[0].get_data_to_numpy()


TRAPS = [
    answers_for_other_memory_layouts,
    answers_outlive_the_next_run,
    refuses_another_shape_of_as_many_bytes,
    answers_several_threads,
]


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_traps(version, tmp_path, trap):
    path = mindir(tmp_path)
    model = MindSporeLite.open(path, spec_of_brightness(), Options())
    assert trap(model.run)
    assert not trap(Naive(path).run)


def test_versions_differ_in_what_a_careless_call_would_use(version, tmp_path):
    import mindspore_lite as lite

    path = mindir(tmp_path)
    old = version == "2.0.0"
    model, context = lite.Model(), lite.Context()
    arguments = (str(path), lite.ModelType.MINDIR, context, "", None)
    if old:
        with pytest.raises(TypeError):
            model.build_from_file(*arguments)
        model = lite.Model()
        model.build_from_file(*arguments[:3])
    else:
        model.build_from_file(*arguments)
    if old:
        assert not hasattr(model, "get_outputs")
    else:
        assert isinstance(model.get_outputs(), tuple)
    assert hasattr(model, "get_model_info") is not old
    with pytest.raises(RuntimeError, match="build_from_file failed"):
        model.build_from_file(*arguments[:3])
    if version in ("2.0.0", "2.1.0", "2.3.1", "2.4.10"):
        with pytest.raises(TypeError, match="must be Tensor"):
            model.predict([clip(1, 2, 3, 4)])
    assert MindSporeLite.library().__version__ == version


def test_a_model_says_what_it_is(version, tmp_path):
    model = MindSporeLite.open(mindir(tmp_path), spec_of_brightness(), Options())
    assert (model.name, model.device, model.precision) == ("mindspore_lite", "cpu", "fp32")
    assert (model.input_shape, model.input_dtype) == ((1, 4, 8, 8, 3), "uint8")
    assert model.output_shape == (1, 4)


@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_answers_are_those_of_onnxruntime(version, tmp_path, batch):
    path = mindir(tmp_path, batch=batch)
    write_sidecar(path, spec_of_brightness(target=CPU))
    video = grey_frames(range(40, 100, 3))
    with (
        Predictor(tmp_path / "model.onnx") as one,
        Predictor(path, runtime="mindspore_lite") as other,
    ):
        want, have = one.predict(video, clips=3), other.predict(video, clips=3)
        np.testing.assert_allclose(have.scores, want.scores, rtol=1e-5)
        assert (have.runtime, have.device, have.precision) == ("mindspore_lite", "cpu", "fp32")
        assert levels(other.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]


def test_float32_pixels(lite, tmp_path):
    spec = spec_of_brightness()
    spec = spec.replace(
        input=spec.input.__class__(dtype="float32", layout="NCTHW", normalized_in_graph=False)
    )
    model = MindSporeLite.open(mindir(tmp_path, spec=spec), spec, Options())
    assert (model.input_dtype, model.input_shape) == ("float32", (1, 3, 4, 8, 8))
    batch = clip(1, 2, 3, 4).transpose(0, 4, 1, 2, 3)
    with pytest.raises(BackendError, match=r"takes float32 .* was given uint8"):
        model.run(batch)
    assert model.run(batch.astype(np.float32)).tolist() == [[1, 2, 3, 4]]


def test_open_axes_that_cannot_be_as_the_spec_says(lite, tmp_path):
    path = mindir(tmp_path, batch="n")
    narrow = spec_of_brightness()
    narrow = narrow.replace(
        input=narrow.input.__class__(dtype="float32", layout="NCTHW", normalized_in_graph=False)
    )
    # Only the open axis becomes the spec's; Predictor compares the others.
    assert MindSporeLite.open(path, narrow, Options()).input_shape == (1, 4, 8, 8, 3)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "flat", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "odd.onnx")
    path = write_mindir(tmp_path / "odd.mindir", tmp_path / "odd.onnx")
    with pytest.raises(SpecError, match=r"odd\.mindir has open axes and cannot take"):
        MindSporeLite.open(path, narrow, Options())


@pytest.mark.parametrize(
    ("target", "device", "message"),
    [
        (NPU, "cpu", r"model\.mindir was made for ascend310p and cannot run on cpu; open it on a"),
        (CPU, "ascend", r"was made for cpu and cannot run on ascend; .* export it again for asc"),
        (CPU, "ascend:1", r"was made for cpu and cannot run on ascend:1"),
        ({"runtime": "mindspore", "device": "cpu"}, "ascend", r"was made for cpu and cannot run"),
    ],
)
def test_a_file_for_another_device_is_refused_before_the_library_is_asked(
    tmp_path, monkeypatch, target, device, message
):
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    spec = spec_of_brightness(target=target)
    with pytest.raises(ModelError, match=message):
        MindSporeLite.open(tmp_path / "model.mindir", spec, Options(device=device))


def test_a_file_that_mindspore_exported_runs_on_the_cpu(lite, tmp_path):
    spec = spec_of_brightness(target={"runtime": "mindspore", "device": "cpu"})
    path = mindir(tmp_path, optimize="none")
    model = MindSporeLite.open(path, spec, Options(device="CPU"))
    assert model.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]


def test_what_the_library_refuses_without_a_reason(npu, tmp_path):
    path = mindir(tmp_path, "ascend_oriented", CHIP)
    why = (
        r"mindspore_lite 2\.7\.0 cannot load .*model\.mindir on cpu \(build_from_file failed! "
        r"Error is Common error code\.\); check that the file is whole and was converted for cpu"
        r" without 3-D convolutions, and with GLOG_v=1 in the environment"
    )
    with pytest.raises(ModelError, match=why):
        MindSporeLite.open(path, spec_of_brightness(), Options())
    path.write_bytes(path.read_bytes()[:5])
    with pytest.raises(ModelError, match=r"whole and was converted for cpu, and with GLOG_v"):
        MindSporeLite.open(path, spec_of_brightness(graph="conv2d"), Options())
    path = mindir(tmp_path, "ascend_oriented", "Ascend310B1")
    half = spec_of_brightness(target=NPU, precision="fp16")
    with pytest.raises(ModelError, match=r"on ascend .*whole and was converted for ascend, and"):
        MindSporeLite.open(path, half, Options())


def convolution(path):
    weight = np.ones((2, 3, 1, 1, 1), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weight"], ["maps"]),
            helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["logits"]),
        ],
        "convolution",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 4, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weight, "weight")],
    )
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def test_a_3d_convolution_runs_on_ascend_and_not_on_the_cpu(npu, tmp_path):
    source = convolution(tmp_path / "model.onnx")
    path = write_mindir(tmp_path / "model.mindir", source)
    spec = spec_of_brightness(graph="conv3d")
    with pytest.raises(ModelError, match=r"no 3-D convolutions on the CPU, so export with --graph"):
        MindSporeLite.open(path, spec, Options())
    write_mindir(path, source, "ascend_oriented", CHIP)
    model = MindSporeLite.open(path, spec, Options(device="ascend", precision="fp16"))
    assert model.run(np.ones((1, 3, 4, 8, 8), np.float32)).tolist() == [[3, 3]]


def test_devices(npu, monkeypatch):
    assert MindSporeLite.devices() == ["cpu", "ascend", "ascend:1"]
    (npu / "davinci0").unlink()
    assert MindSporeLite.devices() == ["cpu", "ascend"]  # numbered anew, as in a container
    (npu / "davinci1").unlink()
    assert MindSporeLite.devices() == ["cpu"]
    monkeypatch.setattr(ascend, "_DEVICE_FILES", npu / "absent")
    assert MindSporeLite.devices() == ["cpu"]


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "ascend:x", "ascend310p", "auto", " "])
def test_a_device_that_there_is_not(lite, tmp_path, device):
    with pytest.raises(BackendError, match=r"mindspore_lite has no device .*; it has cpu"):
        MindSporeLite.open(tmp_path / "model.mindir", spec_of_brightness(), Options(device=device))


def test_ascend(npu, tmp_path, monkeypatch):
    import mindspore_lite as library

    seen = []
    build = library.Model.build_from_file
    monkeypatch.setattr(
        library.Model,
        "build_from_file",
        lambda model, *arguments: [seen.append(arguments[2]), build(model, *arguments)][-1],
    )
    path = mindir(tmp_path, "ascend_oriented", CHIP)
    spec = spec_of_brightness(target=NPU, precision="fp16")
    model = MindSporeLite.open(path, spec, Options())  # on what it was made for
    assert (model.device, model.precision) == ("ascend", "fp16")
    assert (seen[0].target, seen[0].ascend.precision_mode) == (["ascend"], "enforce_fp16")
    assert model.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
    assert MindSporeLite.open(path, spec, Options(device="ascend:0")).device == "ascend"
    assert MindSporeLite.open(path, spec, Options(device="Ascend:1")).device == "ascend:1"
    assert [each.ascend.device_id for each in seen] == [0, 0, 1]
    with pytest.raises(BackendError, match=r"no device 'ascend:2' here; it has cpu, ascend, asc"):
        MindSporeLite.open(path, spec, Options(device="ascend:2"))
    with pytest.raises(UsageError, match="has no threads to set on ascend; leave them out"):
        MindSporeLite.open(path, spec, Options(threads=4))


def test_ascend_computes_in_fp16_only_where_someone_agreed(npu, tmp_path):
    path = mindir(tmp_path, "ascend_oriented", CHIP)
    full, half, int8 = (
        spec_of_brightness(target=NPU, precision=each) for each in ("fp32", "fp16", "int8")
    )
    with pytest.raises(
        BackendError, match=r"Ascend computes in fp16 and .* was to run in fp32; ch"
    ):
        MindSporeLite.open(path, full, Options())
    for precision in ("fp32", "bf16"):
        with pytest.raises(BackendError, match=f"was to run in {precision}"):
            MindSporeLite.open(path, half, Options(precision=precision))
    assert MindSporeLite.open(path, full, Options(precision="fp16")).precision == "fp16"
    assert MindSporeLite.open(path, int8, Options()).precision == "int8"
    assert MindSporeLite.open(path, int8, Options(precision="fp16")).precision == "int8"


def test_ascend_is_not_here(lite, tmp_path):
    path = mindir(tmp_path, "ascend_oriented", CHIP)
    spec = spec_of_brightness(target=NPU, precision="fp16")
    with pytest.raises(BackendError, match=r"mindspore_lite has no device 'ascend' here; it has"):
        MindSporeLite.open(path, spec, Options())


@pytest.fixture
def arm(monkeypatch, tmp_path):
    """Make the machine an ARM with these features."""

    def arm(features):
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
        info = tmp_path / "cpuinfo"
        info.write_text(f"CPU implementer\t: 0x41\nFeatures\t: {features}\n")
        monkeypatch.setattr(mindspore_lite, "_CPU_INFO", info)

    return arm


def test_fp16_on_a_cpu_that_has_it(lite, tmp_path, arm):
    path = mindir(tmp_path)
    arm("fp asimd fphp asimdhp crc32")
    half = MindSporeLite.open(path, spec_of_brightness(), Options(precision="fp16"))
    assert half.precision == "fp16"
    level = 100 + 1 / 192  # of one brighter pixel: fp16 is too coarse for it
    batch = clip(100, 0, 0, 0)
    batch[0, 0, 0, 0, 0] = 101
    assert half.run(batch)[0, 0] == 100
    full = MindSporeLite.open(path, spec_of_brightness(), Options())
    assert full.precision == "fp32"
    np.testing.assert_allclose(full.run(batch)[0, 0], level, rtol=1e-6)
    artifact = spec_of_brightness(precision="fp16")
    assert MindSporeLite.open(path, artifact, Options()).precision == "fp16"
    assert MindSporeLite.open(path, artifact, Options(precision="fp32")).precision == "fp32"


def test_fp16_on_a_cpu_without(lite, tmp_path, arm, monkeypatch):
    path = mindir(tmp_path)
    arm("fp asimd crc32")  # a Raspberry Pi 4
    with pytest.raises(BackendError, match=r"computes in fp32 on this CPU and not in fp16"):
        MindSporeLite.open(path, spec_of_brightness(), Options(precision="fp16"))
    artifact = spec_of_brightness(precision="fp16")
    assert MindSporeLite.open(path, artifact, Options()).precision == "fp32"
    arm("asimdhp")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for precision in ("fp16", "bf16"):
        with pytest.raises(BackendError, match=f"on this CPU and not in {precision}; choose"):
            MindSporeLite.open(path, spec_of_brightness(), Options(precision=precision))
    int8 = spec_of_brightness(precision="int8")
    assert MindSporeLite.open(path, int8, Options()).precision == "int8"


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_threads_reach_the_library(lite, tmp_path, threads):
    model = MindSporeLite.open(mindir(tmp_path), spec_of_brightness(), Options(threads=threads))
    options = model._model._session.get_session_options()
    assert options.intra_op_num_threads == (threads or usable_cores())


def test_there_is_no_cache(lite, tmp_path):
    with pytest.raises(UsageError, match="keeps no compiled models; leave cache out"):
        MindSporeLite.open(mindir(tmp_path), spec_of_brightness(), Options(cache=tmp_path))


def test_a_run_that_fails_and_a_closed_model(lite, tmp_path, monkeypatch):
    model = MindSporeLite.open(mindir(tmp_path), spec_of_brightness(), Options())
    with monkeypatch.context() as patch:
        patch.setattr(model._model, "_session", SimpleNamespace(get_outputs=list))
        with pytest.raises(BackendError, match=r"failed on cpu \(predict failed!\); with GLOG_v=1"):
            model.run(clip(1, 2, 3, 4))
    empty = SimpleNamespace(get_data_to_numpy=lambda: np.empty(0, np.float32))
    with monkeypatch.context() as patch:
        patch.setattr(model._model, "predict", lambda inputs: [empty])
        with pytest.raises(BackendError, match=r"gave no output on cpu; with GLOG_v=1"):
            model.run(clip(1, 2, 3, 4))
    assert model.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
    model.close()
    model.close()
    with pytest.raises(BackendError, match="this model is closed; open it again"):
        model.run(clip(1, 2, 3, 4))


def test_a_model_of_two_inputs(lite, tmp_path):
    model = onnx.load(brightness_model(tmp_path / "two.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(model, tmp_path / "two.onnx")
    path = write_mindir(tmp_path / "two.mindir", tmp_path / "two.onnx")
    with pytest.raises(ModelError, match="has 2 inputs; expected one clip"):
        MindSporeLite.open(path, spec_of_brightness(), Options())


def test_a_library_that_is_missing_or_broken(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    with pytest.raises(
        MissingDependencyError, match=r"not on PyPI for this Python, so download the cloud-side whe"
    ):
        MindSporeLite.open(tmp_path / "model.mindir", spec_of_brightness(), Options())
    with pytest.raises(MissingDependencyError):
        MindSporeLite.devices()
    monkeypatch.delitem(sys.modules, "mindspore_lite")
    broken = tmp_path / "site" / "mindspore_lite"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libmindspore-lite.so: no such file')")
    monkeypatch.syspath_prepend(broken.parent)
    with pytest.raises(BackendError, match=r"cannot be imported \(libmindspore-lite\.so: no such"):
        MindSporeLite.open(tmp_path / "model.mindir", spec_of_brightness(), Options())


def test_a_file_for_the_device_side_library(tmp_path):
    path = tmp_path / "model.ms"
    path.write_bytes(b"MSL2")
    with pytest.raises(ModelError, match=r"model\.ms is for .*device-side.* convert the model to"):
        open_artifact(path)
