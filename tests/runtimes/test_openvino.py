"""OpenVINO as a runtime: the answers of ONNX Runtime, and no device or precision but the asked."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from models import brightness_model, grey_frames, levels, spec_of_brightness
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, SpecError, UsageError
from r2p_edge.export.targets.openvino import openvino_from_onnx
from r2p_edge.runtimes.openvino import OpenVino

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("openvino")]


@pytest.fixture
def ir(tmp_path):
    path = tmp_path / "model.xml"
    openvino_from_onnx(brightness_model(tmp_path / "model.onnx"), path)
    return path


@pytest.fixture
def capable(monkeypatch):
    """Return a function that makes OpenVINO claim other abilities."""
    openvino = OpenVino.library()
    real = openvino.Core.get_property

    def claim(*capabilities):
        def get_property(self, device, name):
            if name == "OPTIMIZATION_CAPABILITIES":
                return list(capabilities)
            return real(self, device, name)

        monkeypatch.setattr(openvino.Core, "get_property", get_property)

    return claim


@pytest.mark.parametrize("name", ["model.xml", "model.onnx"])
def test_answers_are_those_of_onnxruntime(ir, name):
    video = grey_frames(range(40, 100, 3))
    with (
        Predictor(ir.with_suffix(".onnx")) as one,
        Predictor(ir.with_name(name), runtime="openvino") as other,
    ):
        assert (one.runtime, other.runtime) == ("onnxruntime", "openvino")
        want, have = one.predict(video, clips=3), other.predict(video, clips=3)
        np.testing.assert_allclose(have.scores, want.scores, rtol=1e-5)
        assert (have.device, have.precision, have.runtime) == ("cpu", "fp32", "openvino")
        assert have.to_dict()["precision"] == "fp32"


def test_the_default_runtime_of_each_file(ir):
    with Predictor(ir) as predictor:
        assert predictor.runtime == "openvino"
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
    with pytest.raises(ModelError, match=r"onnxruntime: onnxruntime runs \.onnx"):
        Predictor(ir, runtime="onnxruntime")


def test_a_batch_axis_that_is_open_becomes_one(tmp_path):
    path = brightness_model(tmp_path / "open.onnx", batch="n")
    with Predictor(path, runtime="openvino") as predictor:
        assert predictor._runtime.input_shape == (1, 4, 8, 8, 3)
        answer = predictor.predict(grey_frames(range(30)), clips=3)
    with Predictor(path) as reference:
        expected = reference.predict(grey_frames(range(30)), clips=3)
    np.testing.assert_allclose(answer.scores, expected.scores, rtol=1e-5)


def test_open_axes_that_contradict_the_spec(tmp_path):
    spec = spec_of_brightness()
    path = brightness_model(tmp_path / "open.onnx", spec, batch="n", embed=False)
    wider = spec.replace(crop=spec.crop.__class__(height=6, width=6))
    with pytest.raises(SpecError, match=r"takes uint8 \(1, 4, 8, 8, 3\) but its spec says"):
        Predictor(path, runtime="openvino", spec=wider)


def test_a_fixed_batch(tmp_path):
    spec = spec_of_brightness()
    path = brightness_model(tmp_path / "two.onnx", spec, batch=2)
    openvino_from_onnx(path, tmp_path / "two.xml")
    with Predictor(tmp_path / "two.xml") as predictor, Predictor(path) as reference:
        one = predictor.predict(grey_frames(range(60)), clips=3)
        other = reference.predict(grey_frames(range(60)), clips=3)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)


def test_an_answer_is_not_overwritten_by_the_next(ir):
    with Predictor(ir) as predictor:
        first = predictor._runtime.run(np.full((1, 4, 8, 8, 3), 10, np.uint8))
        kept = first.copy()
        predictor._runtime.run(np.full((1, 4, 8, 8, 3), 200, np.uint8))
        np.testing.assert_array_equal(first, kept)


def test_threads_share_a_predictor(ir):
    wrong = []
    with Predictor(ir) as predictor:

        def ask(level):
            frames = np.full((4, 8, 8, 3), level, np.uint8)
            frames[1] = 0
            for _ in range(50):
                if levels(predictor.predict(frames)) != [level, 0, level, level]:
                    wrong.append(level)

        threads = [threading.Thread(target=ask, args=(level,)) for level in (5, 50, 90)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_threads_reach_the_library(ir):
    with Predictor(ir, threads=1) as predictor:
        compiled = predictor._runtime._request.get_compiled_model()
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_the_cache_is_filled_and_used(ir, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(UsageError, match=r"the cache folder .*cache does not exist"):
        Predictor(ir, cache=cache)
    with pytest.raises(UsageError, match=r"the cache folder"):
        Predictor(ir, cache="n" * 300)
    # Not /proc itself, in which folders appear as processes start.
    with pytest.raises(UsageError, match=r"openvino keeps nothing in /proc/bus"):
        Predictor(ir, cache="/proc/bus")
    cache.mkdir()
    with Predictor(ir, cache=cache) as predictor:
        want = predictor.predict(grey_frames(range(9))).scores
    assert list(cache.glob("*.blob"))
    with Predictor(ir, cache=str(cache)) as predictor:
        compiled = predictor._runtime._request.get_compiled_model()
        assert compiled.get_property("LOADED_FROM_CACHE")
        np.testing.assert_array_equal(predictor.predict(grey_frames(range(9))).scores, want)


def test_a_signal_after_two_models_that_overlapped(ir):
    """The second one is opened before the first is closed, as where a model is opened again."""
    code = """
import gc, signal, sys
from r2p_edge import Predictor

signal.signal(signal.SIGTERM, lambda *_: print("heard"))
first = Predictor(sys.argv[1])
second = Predictor(sys.argv[1])
first.close()
del first
gc.collect()
second.close()
del second
gc.collect()
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code, ir], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_fp32_stays_fp32_on_a_chip_that_prefers_bf16(ir):
    # The precision that the library obtained, not the one requested.
    with Predictor(ir) as predictor:
        compiled = predictor._runtime._request.get_compiled_model()
        assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


def test_bf16_where_the_chip_has_it_else_an_error(motion_model):
    openvino = OpenVino.library()
    has = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in has:
        with pytest.raises(BackendError, match="computes in fp32 here and not in bf16"):
            Predictor(motion_model, runtime="openvino", precision="bf16")
        return
    clip = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), np.uint8)
    with (
        Predictor(motion_model, runtime="openvino", precision="bf16") as coarse,
        Predictor(motion_model, runtime="openvino") as exact,
    ):
        have, want = coarse.outputs(clip)[0], exact.outputs(clip)[0]
        assert coarse.predict(clip).precision == "bf16"
    assert 1e-4 < np.abs(have - want).max() / np.abs(want).max() < 0.05


def test_the_precisions_that_may_be_asked_for(capable):
    capable("FP32", "INT8", "BF16", "EXPORT_IMPORT")
    assert OpenVino.precisions("cpu") == ["fp32", "bf16"]


def test_a_precision_that_the_device_lacks(ir, capable):
    capable("FP32", "BF16", "INT8")
    with pytest.raises(BackendError, match=r"CPU computes in fp32, bf16 here and not in fp16"):
        Predictor(ir, precision="fp16")
    with pytest.raises(UsageError, match="precision is 'int4'; it must be one of fp32, fp16, bf16"):
        Predictor(ir, precision="int4")


def test_an_fp16_artifact_runs_in_fp32_without_fp16_arithmetic(tmp_path, capable):
    path = tmp_path / "half.xml"
    spec = openvino_from_onnx(brightness_model(tmp_path / "model.onnx"), path, precision="fp16")
    assert spec.precision == "fp16"
    capable("FP32", "INT8")
    with Predictor(path) as predictor:
        assert predictor.precision == "fp32"


def test_a_precision_that_the_library_replaces(ir, capable):
    openvino = OpenVino.library()
    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has fp16 arithmetic, so that OpenVINO replaces nothing")
    capable("FP32", "FP16")
    with pytest.raises(BackendError, match=r"asked to compute in fp16 on CPU and took (fp32|bf16)"):
        Predictor(ir, precision="fp16")


@pytest.mark.parametrize("device", ["xpu", "cpu.1", "gpu.7", "auto", "hetero:cpu", ""])
def test_a_device_that_is_not_here(ir, device):
    with pytest.raises(BackendError, match=r"openvino has no device .* here; it has .*cpu"):
        OpenVino.open(ir, spec_of_brightness(), _options(device or " "))


def _options(device):
    from r2p_edge.runtimes.base import Options

    return Options(device=device)


def test_a_device_that_fails(ir, monkeypatch):
    def fail(self, *_):
        raise RuntimeError("Exception from src/plugin.cpp:1:\n[GPU] clBuildProgram failed\n\n")

    monkeypatch.setattr(OpenVino.library().Core, "compile_model", fail)
    with pytest.raises(BackendError, match=r"cannot run .*model\.xml on CPU .*clBuildProgram"):
        Predictor(ir)


@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
def test_an_npu_that_refuses_3d_convolutions(tmp_path, monkeypatch, graph):
    def fail(self, *_):
        raise RuntimeError("[NPU_VCL] Compiler returned msg: Cannot legalize 5D Convolution")

    core = OpenVino.library().Core
    monkeypatch.setattr(core, "available_devices", ["CPU", "NPU"])
    monkeypatch.setattr(core, "get_property", lambda *_: ["FP16", "INT8"])
    monkeypatch.setattr(core, "compile_model", fail)
    spec = spec_of_brightness(graph=graph, precision="fp16")
    with pytest.raises(BackendError, match=r"on NPU .*legalize") as caught:
        Predictor(brightness_model(tmp_path / "m.onnx", spec), runtime="openvino", device="npu")
    assert ("export --to openvino-npu" in str(caught.value)) is (graph == "conv3d")


@pytest.mark.parametrize(
    ("wanted", "obtained"), [("cpu", "GPU.0"), ("gpu.1", "GPU.0"), ("gpu", "GPU.1")]
)
def test_a_device_that_is_replaced(ir, monkeypatch, wanted, obtained):
    compiled = SimpleNamespace(
        get_property={
            "EXECUTION_DEVICES": [obtained],
            "INFERENCE_PRECISION_HINT": SimpleNamespace(get_type_name=lambda: "f32"),
        }.__getitem__
    )
    core = OpenVino.library().Core
    monkeypatch.setattr(core, "available_devices", ["CPU", "GPU.0", "GPU.1"])
    monkeypatch.setattr(core, "get_property", lambda *_: ["FP32"])
    monkeypatch.setattr(core, "compile_model", lambda *_: compiled)
    with pytest.raises(BackendError, match=rf"asked for {wanted.upper()} and took {obtained}"):
        Predictor(ir, device=wanted)
    if wanted != "cpu":
        with pytest.raises(UsageError, match="threads are those of the CPU"):
            Predictor(ir, device=wanted, threads=2)


def test_a_run_that_fails_and_a_closed_model(ir):
    predictor = Predictor(ir)
    with pytest.raises(BackendError, match="openvino failed on cpu"):
        predictor._runtime.run(np.zeros((1, 3, 8, 8, 3), np.uint8))
    predictor.close()
    predictor.close()
    with pytest.raises(BackendError, match="this model is closed"):
        predictor.predict(grey_frames(range(4)))


def test_a_library_that_is_missing_or_broken(ir, monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"openvino is not installed; pip install"):
        Predictor(ir)
    monkeypatch.delitem(sys.modules, "openvino")
    broken = tmp_path / "site" / "openvino"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libtbb.so.12: cannot\\nopen')")
    monkeypatch.syspath_prepend(broken.parent)
    with pytest.raises(BackendError, match=r"cannot be imported \(libtbb\.so\.12: cannot open\)"):
        Predictor(ir)


def test_what_an_uninstallation_left(ir, monkeypatch, tmp_path):
    import sys

    (tmp_path / "site" / "openvino" / "libs").mkdir(parents=True)
    monkeypatch.delitem(sys.modules, "openvino")
    others = [path for path in sys.path if not (Path(path) / "openvino/__init__.py").exists()]
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *others])
    with pytest.raises(BackendError, match="openvino is a folder without code"):
        Predictor(ir)


def test_damaged_files(ir):
    sidecar_path(ir).unlink()  # it would notice the damage first
    weights = ir.with_suffix(".bin")
    whole = weights.read_bytes()
    for damage, message in (
        (lambda: weights.unlink(), r"has no weights: there is no model\.bin beside it"),
        (lambda: weights.write_bytes(whole[:-4]), r"model\.bin has \d+ bytes but model\.xml needs"),
    ):
        damage()
        with pytest.raises(ModelError, match=message):
            Predictor(ir)
    weights.write_bytes(whole)
    text = ir.read_text()
    ir.write_text(text[: len(text) // 2])
    with pytest.raises(ModelError, match="not a whole OpenVINO file"):
        Predictor(ir)
    ir.write_text(text.replace('type="MatMul"', 'type="MatMlu"'))
    with pytest.raises(ModelError, match=r"cannot load .*model\.xml .* and model\.bin is whole"):
        Predictor(ir)


def test_an_ir_without_spec(tmp_path, ir):
    openvino = OpenVino.library()
    model = openvino.Core().read_model(str(tmp_path / "model.onnx"))
    del model.rt_info["framework"]
    foreign = tmp_path / "foreign.xml"
    openvino.save_model(model, foreign)
    with pytest.raises(SpecError, match=r"foreign\.xml carries no r2p_edge spec.*--spec"):
        Predictor(foreign)
    with Predictor(foreign, spec=spec_of_brightness()) as predictor:
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
