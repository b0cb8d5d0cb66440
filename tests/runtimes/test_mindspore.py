"""MindSpore as a runtime: the answers of ONNX Runtime, and a process left as it was."""

import ctypes
import os
import platform
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
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path, write_sidecar
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, SpecError, UsageError
from r2p_edge.export.targets.mindspore.export import mindspore_from_onnx
from r2p_edge.runtimes import mindspore as runtime_module
from r2p_edge.runtimes.base import Options, usable_cores
from r2p_edge.runtimes.mindspore import MindSpore

pytestmark = [needs("mindspore"), needs("onnx"), needs("onnxruntime")]

SHAPE = (1, 4, 8, 8, 3)


@pytest.fixture
def mindir(tmp_path):
    path = tmp_path / "model.mindir"
    mindspore_from_onnx(brightness_model(tmp_path / "model.onnx"), path)
    return path


def predictor_of(path, **options):
    return Predictor(path, runtime="mindspore", **options)


def opened(path, **options):
    return MindSpore.open(path, spec_of_brightness(), Options(**options))


def changed(path, change):
    """Change the graph of a file, and remove its sidecar."""
    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    model.ParseFromString(path.read_bytes())
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    sidecar_path(path).unlink(missing_ok=True)
    return path


def run_python(code, **environment):
    """Return the output of a program in a process without oneDNN's environment variables."""
    names = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def onednn():
    found = Path(MindSpore.library().__file__).parent / "lib" / "libdnnl.so.3"
    if not found.is_file() or platform.machine() != "x86_64":
        pytest.skip("this MindSpore has no oneDNN for x86")
    return ctypes.CDLL(str(found))


def test_answers_are_those_of_onnxruntime(mindir):
    video = grey_frames(range(40, 100, 3))
    with Predictor(mindir.with_suffix(".onnx")) as one, predictor_of(mindir) as other:
        assert other.runtime == "mindspore"
        want, have = one.predict(video, clips=3), other.predict(video, clips=3)
        np.testing.assert_allclose(have.scores, want.scores, rtol=1e-5)
        assert (have.device, have.precision, have.runtime) == ("cpu", "fp32", "mindspore")
        assert levels(other.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]


def test_what_the_file_says_of_its_ends(mindir):
    runtime = opened(mindir)
    assert (runtime.input_shape, runtime.input_dtype) == (SHAPE, "uint8")
    assert runtime.output_shape == (1, 4)
    assert MindSpore.devices() == ["cpu"]


def test_an_open_axis_is_as_the_spec_says(mindir):
    def open_batch(graph):
        graph.input[0].tensor[0].dims[0] = -1

    runtime = opened(changed(mindir, open_batch))
    assert runtime.input_shape == SHAPE


def test_a_spec_that_contradicts_the_file(mindir):
    sidecar_path(mindir).unlink()
    spec = spec_of_brightness()
    wider = spec.replace(crop=spec.crop.__class__(height=6, width=6))
    with pytest.raises(SpecError, match=r"takes uint8 \(1, 4, 8, 8, 3\) but its spec says"):
        predictor_of(mindir, spec=wider)
    with pytest.raises(SpecError, match=r"output of shape \(1, 4\) but its spec has 5 labels"):
        predictor_of(mindir, spec=spec.replace(labels=tuple("abcde")))


def test_an_answer_is_not_overwritten_by_the_next(mindir):
    runtime = opened(mindir)
    pixels = np.full(SHAPE, 10, np.uint8)
    first = runtime.run(pixels)
    kept = first.copy()
    pixels[:] = 200
    second = runtime.run(pixels)
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_threads_share_a_predictor(mindir):
    wrong = []
    with predictor_of(mindir) as predictor, predictor_of(mindir) as other:

        def ask(level, asked):
            frames = np.full((4, 8, 8, 3), level, np.uint8)
            frames[1] = 0
            for _ in range(50):
                if levels(asked.predict(frames)) != [level, 0, level, level]:
                    wrong.append(level)

        pairs = [(5, predictor), (50, predictor), (70, other), (90, other)]
        threads = [threading.Thread(target=ask, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_another_shape_or_dtype_is_not_taken(mindir):
    # GraphCell itself would compile the graph anew.
    runtime = opened(mindir)
    for batch in (np.zeros((1, 3, 8, 8, 3), np.uint8), np.zeros(SHAPE, np.float32)):
        with pytest.raises(BackendError, match=r"takes uint8 \(1, 4, 8, 8, 3\) and was given"):
            runtime.run(batch)


def test_a_run_that_fails_and_a_closed_model(mindir):
    predictor = predictor_of(mindir)

    def fail(_):
        raise RuntimeError("Out of memory\n\n---------\n- C++ Call Stack: (for developers)\nx.cc:1")

    predictor._runtime._network, network = fail, predictor._runtime._network
    with pytest.raises(BackendError, match=r"mindspore failed on cpu \(Out of memory\)$"):
        predictor.predict(grey_frames(range(4)))
    predictor._runtime._network = network
    predictor.close()
    predictor.close()
    with pytest.raises(BackendError, match="this model is closed"):
        predictor.predict(grey_frames(range(4)))


def test_options_that_mindspore_has_not(mindir, tmp_path):
    with pytest.raises(UsageError, match="leave cache out"):
        predictor_of(mindir, cache=tmp_path)
    with pytest.raises(UsageError, match=r"artifact's own precision, fp32, and not in bf16"):
        predictor_of(mindir, precision="bf16")
    with pytest.raises(UsageError, match="two threads or more"):
        predictor_of(mindir, threads=1)
    for device in ("ascend", "gpu", "cpu:1"):
        with pytest.raises(BackendError, match=rf"on the cpu only, and not on '{device}'"):
            predictor_of(mindir, device=device)
    with predictor_of(mindir, device="CPU", precision="fp32") as predictor:
        assert (predictor.device, predictor.precision) == ("cpu", "fp32")


def test_threads_reach_the_library(mindir, monkeypatch):
    tuning = MindSpore.library().device_context.cpu.op_tuning
    given = []
    monkeypatch.setattr(tuning, "threads_num", given.append)
    monkeypatch.setattr(MindSpore, "_threads", None)
    opened(mindir)
    opened(mindir, threads=3)
    assert given == [usable_cores(), 3]


def test_threads_are_set_once_in_a_process(mindir, monkeypatch):
    opened(mindir)
    number = MindSpore._threads
    opened(mindir)
    with pytest.raises(UsageError, match=rf"already, to {number}, and not to {number + 1}; leave"):
        opened(mindir, threads=number + 1)
    if number > 1:
        opened(mindir, threads=number)
    # By the program that uses this package.
    monkeypatch.setattr(MindSpore, "_threads", None)
    opened(mindir)
    with pytest.raises(UsageError, match=r"already, to another, and not to 2; leave"):
        opened(mindir, threads=2)


def test_a_process_that_uses_another_device(mindir, monkeypatch):
    mindspore = MindSpore.library()
    monkeypatch.setattr(mindspore, "get_context", {"device_target": "Ascend"}.__getitem__)
    with pytest.raises(BackendError, match=r"was set to Ascend by this program .*set_device"):
        opened(mindir)


def test_the_users_own_mindspore_goes_on(mindir):
    mindspore = MindSpore.library()
    settings = ("mode", "device_target", "jit_syntax_level")
    before = [mindspore.get_context(name) for name in settings]
    ones = mindspore.Tensor(np.ones(3, np.float32))
    opened(mindir).run(np.zeros(SHAPE, np.uint8))
    assert [mindspore.get_context(name) for name in settings] == before
    assert (ones + ones).asnumpy().tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ({"runtime": "mindspore_lite", "device": "cpu"}, "mindspore_lite on cpu"),
        ({"runtime": "mindspore_lite", "device": "ascend310b"}, "mindspore_lite on ascend310b"),
        ({"device": "ascend310p"}, "ascend310p"),
    ],
)
def test_a_file_for_another_runtime(mindir, target, named):
    write_sidecar(mindir, open_artifact(mindir).spec.replace(target=target))
    with pytest.raises(ModelError, match=rf"was made for {named} and not for mindspore on cpu"):
        predictor_of(mindir)


def test_a_file_without_target_is_tried(mindir):
    sidecar_path(mindir).unlink()
    with pytest.raises(ModelError, match="and has no sidecar"):
        predictor_of(mindir)
    with predictor_of(mindir, spec=spec_of_brightness()) as predictor:
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]


def test_the_sidecar_of_another_model(mindir, tmp_path):
    other = tmp_path / "other.mindir"
    mindspore_from_onnx(brightness_model(tmp_path / "other.onnx", factor=2.0), other)
    mindir.write_bytes(other.read_bytes())
    with pytest.raises(ModelError, match=r"model\.mindir has .* but its sidecar says"):
        predictor_of(mindir)


def test_damaged_files(mindir):
    whole = mindir.read_bytes()
    for size in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        mindir.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"model\.mindir (is not a whole MindIR|has 0 inputs)"):
            opened(mindir)
    mindir.write_bytes(mindir.with_suffix(".onnx").read_bytes())
    with pytest.raises(ModelError, match=r"model\.mindir (is not a whole MindIR|has 0 inputs)"):
        opened(mindir)
    mindir.write_bytes(whole.replace(b"REF::Cast", b"REF::Csat"))
    with pytest.raises(ModelError, match=r"mindspore \d.* cannot load .*check that the file is"):
        opened(mindir)
    mindir.write_bytes(whole.replace(b"MatMul", b"MatMlu"))
    with pytest.raises(ModelError, match=r"cannot load .*Unsupported op \[MatMlu\]"):
        opened(mindir)


def test_files_of_other_models(mindir):
    whole = mindir.read_bytes()

    def two_inputs(graph):
        graph.input.append(graph.input[0])

    with pytest.raises(ModelError, match="has 2 inputs; expected one clip"):
        opened(changed(mindir, two_inputs))

    def doubles(graph):
        graph.input[0].tensor[0].data_type = 11

    mindir.write_bytes(whole)
    with pytest.raises(ModelError, match="type 11, neither float32 nor uint8"):
        opened(changed(mindir, doubles))


def test_a_model_of_two_outputs(tmp_path):
    mindspore = MindSpore.library()

    class Two(mindspore.nn.Cell):
        def construct(self, x):
            return x + 1, x + 2

    example = mindspore.Tensor(np.zeros(SHAPE, np.float32))
    mindspore.export(Two(), example, file_name=str(tmp_path / "two"), file_format="MINDIR")
    with pytest.raises(ModelError, match=r"cannot load .*two\.mindir .*tuple"):
        opened(tmp_path / "two.mindir")


def test_a_file_that_cannot_be_read(mindir, monkeypatch):
    def refused(self, *_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(ModelError, match=r"cannot be read \(Permission denied\)"):
        opened(mindir)


def test_a_library_that_is_missing_or_broken(mindir, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mindspore", None)
    with pytest.raises(MissingDependencyError, match=r"mindspore is not installed; pip install"):
        opened(mindir)
    monkeypatch.delitem(sys.modules, "mindspore")
    broken = tmp_path / "site" / "mindspore"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libgomp.so.1: cannot\\nopen')")
    monkeypatch.syspath_prepend(broken.parent)
    with pytest.raises(BackendError, match=r"cannot be imported \(libgomp\.so\.1: cannot open\)"):
        opened(mindir)


def test_onednn_keeps_from_avx512(mindir):
    library = onednn()
    opened(mindir)
    assert library.dnnl_get_effective_cpu_isa() in (0x1, 0x3, 0x7)  # SSE 4.1, AVX, AVX2


ISA = """
import ctypes, os, pathlib, warnings
warnings.simplefilter("error")
known = dict(os.environ)
from r2p_edge.runtimes.mindspore import MindSpore
library = pathlib.Path(MindSpore.library().__file__).parent / "lib" / "libdnnl.so.3"
print(hex(ctypes.CDLL(str(library)).dnnl_get_effective_cpu_isa()))
assert known == os.environ
"""


@pytest.mark.slow
def test_what_the_user_says_of_the_instruction_set_holds():
    onednn()
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        assert run_python(ISA, **{name: "AVX"}) == "0x3"
    assert int(run_python(ISA), 16) <= 0x7


def test_a_process_where_mindspore_computed_before(monkeypatch):
    def claim(status, isa):
        library = SimpleNamespace(
            dnnl_set_max_cpu_isa=lambda wanted: status, dnnl_get_effective_cpu_isa=lambda: isa
        )
        monkeypatch.setattr(ctypes, "CDLL", lambda path: library)

    onednn()
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    claim(2, 0x27)  # too late, and AVX-512
    with pytest.warns(RuntimeWarning, match=r"before r2p_edge was used.*ONEDNN_MAX_CPU_ISA=AVX2"):
        MindSpore.library()
    for status, isa in ((2, 0x7), (2, 0xF), (0, 0x27)):
        claim(status, isa)
        MindSpore.library()
    # Other chips have other instruction sets under the same numbers.
    claim(2, 0x27)
    monkeypatch.setattr(runtime_module.platform, "machine", lambda: "aarch64")
    MindSpore.library()


LATE = """
import ctypes, pathlib, warnings
import mindspore, numpy
ones = [mindspore.Tensor(numpy.ones((16, 16, 3, 3), numpy.float32))] * 2
mindspore.ops.conv2d(*ones).asnumpy()
from r2p_edge.runtimes.mindspore import MindSpore
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    MindSpore.library()
library = pathlib.Path(mindspore.__file__).parent / "lib" / "libdnnl.so.3"
print(hex(ctypes.CDLL(str(library)).dnnl_get_effective_cpu_isa()), len(said))
"""


@pytest.mark.slow
def test_a_convolution_before_is_noticed():
    onednn()
    isa, warned = run_python(LATE).split()
    assert int(warned) == (1 if int(isa, 16) & 0x20 else 0)


@needs("openvino")
def test_openvino_in_the_same_process_is_untouched(mindir):
    onnx = mindir.with_suffix(".onnx")
    clip = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    with Predictor(onnx, runtime="openvino") as before, predictor_of(mindir) as mindspore:
        first = before.outputs(clip)
        here = mindspore.outputs(clip)
        with Predictor(onnx, runtime="openvino") as after:
            np.testing.assert_array_equal(after.outputs(clip), first)
        np.testing.assert_array_equal(before.outputs(clip), first)
    np.testing.assert_allclose(here, first, rtol=1e-5)


def test_importing_the_module_does_not_import_mindspore():
    code = "import sys, r2p_edge.runtimes.mindspore; print('mindspore' in sys.modules)"
    assert run_python(code) == "False"
