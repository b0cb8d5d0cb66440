"""ONNX artifacts to TensorRT engines, on stand-ins for TensorRT and CUDA."""

import contextlib
import errno
import gc
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import onnx
import pytest
from fake_tensorrt import FOLDER, VERSIONS, installed, live, plan_of
from models import brightness_model
from requirements import needs
from tensorrt_models import needs_rounding, small

from r2p_edge import Predictor
from r2p_edge.artifact import atomic as _files
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.errors import (
    BackendError,
    MissingDependencyError,
    ModelError,
    OutputError,
    ParityError,
    UsageError,
)
from r2p_edge.export import tensorrt_from_onnx
from r2p_edge.export.build import build
from r2p_edge.export.targets.tensorrt import engine
from r2p_edge.runtimes.tensorrt import build as trt_build
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.build import BuildOptions, plan_from_onnx
from r2p_edge.runtimes.tensorrt.cudart import api as cudart_api
from r2p_edge.runtimes.tensorrt.runtime import TensorRT
from r2p_edge.runtimes.tensorrt.session import CONTRACT

pytestmark = [
    pytest.mark.slow,
    needs("onnx"),
    needs("onnxruntime"),
    needs("safetensors"),
    pytest.mark.usefixtures("no_trtexec"),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The small model as ONNX artifacts in fp32 and int8."""
    folder = tmp_path_factory.mktemp("sources")
    return {kind: small(folder / f"{kind}.onnx", kind) for kind in ("fp32", "int8")}


@pytest.fixture
def source(sources):
    return sources["fp32"]


@pytest.fixture
def ten():
    with installed():
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.engine"


def files(folder):
    return {file.name for file in folder.iterdir()}


# What the builder is told.


@pytest.mark.parametrize(
    ("precision", "flags", "kept"),
    [
        # TF32 is on unless it is cleared, and harmless where fp16 is allowed.
        ("fp32", [], []),
        ("fp16", ["FP16", "TF32"], ["TF32"]),
        ("int8", ["FP16", "INT8", "TF32"], ["TF32"]),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_precisions(sources, path, version, precision, flags, kept):
    needs_rounding(version, precision)
    source = sources["int8" if precision == "int8" else "fp32"]
    with installed(version):
        before = live()
        spec = tensorrt_from_onnx(source, path, precision=precision)
        assert live() == before
        plan = plan_of(path)
        artifact = open_artifact(path)
        with Predictor(path) as predictor:
            assert predictor.precision == precision
    typed = version == "11.4"
    assert (plan["flags"], plan["typed"]) == (kept if typed else flags, typed)
    assert plan["name"] == CONTRACT + spec.contract_digest()
    assert (artifact.spec, artifact.verified, artifact.carrier) == (spec, True, "sidecar")
    original = open_artifact(source).spec
    assert (spec.precision, spec.labels, spec.input) == (precision, original.labels, original.input)
    assert spec.target == {
        "runtime": "tensorrt",
        "device": "cuda",
        "tensorrt": ".".join(map(str, path.read_bytes()[24:28])),
        "compute_capability": "8.7",
        "multiprocessors": 16,
        "cuda": "12.6",
        "tool": "tensorrt",
    }
    assert spec.built_with["r2p_edge"]
    parity = spec.parity
    assert (parity["reference"], parity["clips"], parity["computed_in"]) == ("onnx", 3, precision)
    assert parity["runtime"].startswith(f"tensorrt {version}")
    assert parity["onnx"] == original.parity
    assert parity["cosine"] >= 0.999
    assert ("tolerance" in parity) is (precision != "int8")  # which is reported and never refused
    if precision == "fp32":
        assert parity["max_rel"] <= 1e-6
    assert files(path.parent) == {path.name, sidecar_path(path).name}


@pytest.mark.parametrize(("precision", "element"), [("fp16", 10), ("int8", 10), ("fp32", 1)])
@pytest.mark.parametrize("version", ["10.13.3", "11.4"])
def test_which_file_is_parsed(sources, path, version, precision, element):
    source = sources["int8" if precision == "int8" else "fp32"]
    with installed(version):
        tensorrt_from_onnx(source, path, precision=precision)
        from tensorrt import _plan

        model = onnx.load_from_string(_plan.read(path.read_bytes())[1])
    floats = {each.data_type for each in model.graph.initializer} & {1, 10}
    assert floats == {element if version == "11.4" else 1}
    ends = [*model.graph.input, *model.graph.output]
    assert [each.type.tensor_type.elem_type for each in ends] == [2, 1]


def test_by_default_the_precision_stays(ten, sources, path):
    assert tensorrt_from_onnx(sources["int8"], path).precision == "int8"
    assert tensorrt_from_onnx(sources["fp32"], path.with_suffix(".plan")).precision == "fp32"


def test_of_the_same_model_the_contracts_are_the_same_in_one_precision(ten, source, path):
    spec = tensorrt_from_onnx(source, path)
    assert spec.contract_digest() == open_artifact(source).spec.contract_digest()
    other = tensorrt_from_onnx(source, path, precision="fp16")
    assert other.contract_digest() != spec.contract_digest()


@pytest.mark.parametrize(
    ("given", "integrated", "available", "found"),
    [
        (5 << 20, 0, 8 << 30, 5 << 20),
        (5 << 20, 1, 8 << 30, 5 << 20),
        (None, 0, 8 << 30, None),
        (None, 1, 6 << 30, 2 << 30),
        (None, 1, 3 << 30, 3 << 29),
    ],
)
def test_workspace(source, path, tmp_path, monkeypatch, given, integrated, available, found):
    """Let the system cache what it likes, which CUDA counts as used."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 7802000 kB\nMemAvailable:  {available >> 10} kB\n")
    monkeypatch.setattr(cudart_api, "_MEMINFO", meminfo)
    with installed(FAKE_CUDA_INTEGRATED=integrated, FAKE_CUDA_MEMORY=1 << 30):
        tensorrt_from_onnx(source, path, workspace=given)
        assert plan_of(path)["workspace"] == found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("integrated", "steps"), [(0, ""), (1, "sudo sysctl .*drop_caches=3, ")])
def test_kernels_that_memory_was_short_for_are_told_and_kept(
    source, path, tmp_path, version, integrated, steps
):
    count = sum(node.op_type == "Conv" for node in onnx.load(source).graph.node)
    with installed(version, FAKE_TENSORRT_SHORT=1, FAKE_CUDA_INTEGRATED=integrated):
        told = rf"try {count} kernels for {path} .*uses memory, {steps}delete .*timing and build"
        with pytest.warns(RuntimeWarning, match=told):
            tensorrt_from_onnx(source, path, cache=tmp_path)
    assert open_artifact(path).spec.target["skipped_tactics"] == count


def test_an_engine_for_which_memory_sufficed_has_no_such_record(ten, source, path):
    assert "skipped_tactics" not in tensorrt_from_onnx(source, path).target


@pytest.fixture
def large_inside(tmp_path):
    """A model whose answers fit into float16, while a number on the way there does not."""
    path = brightness_model(tmp_path / "large.onnx")
    model = onnx.load(path)
    graph, (output,) = model.graph, model.graph.output
    graph.node[-1].output[0] = "small"
    for name, factor, source, result in (
        ("up", 1e4, "small", "large"),
        ("down", 1e-4, "large", output.name),
    ):
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(factor), name))
        graph.node.append(onnx.helper.make_node("Mul", [source, name], [result]))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1"])
def test_an_fp16_engine_that_overflows_inside_is_not_written(large_inside, path, version):
    with installed(version):
        tensorrt_from_onnx(large_inside, path)
        path.unlink()
        with pytest.raises(ParityError, match="NaN or infinite"):
            tensorrt_from_onnx(large_inside, path, precision="fp16")
    assert not path.exists()


@pytest.mark.parametrize("version", VERSIONS)
def test_progress(source, path, version):
    told = []
    with installed(version):
        tensorrt_from_onnx(source, path, progress=told.append)
    if version == "8.6.1":
        assert told == []
        return
    assert told[-1] == "Building engine from network, 2 of 2"
    steps = [line for line in told if line.startswith("Timing tactics, ")]
    assert steps[0] == f"Timing tactics, 1 of {len(steps)}"
    assert steps[-1] == f"Timing tactics, {len(steps)} of {len(steps)}"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
@pytest.mark.parametrize("version", VERSIONS)
def test_ctrl_c(source, path, monkeypatch, version):
    steps, noticed = [], threading.Event()
    monkeypatch.setattr(trt_build, "Event", lambda: noticed)

    def progress(step):
        steps.append(step)
        if len(steps) == 1:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            assert noticed.wait(60)

    with installed(version):
        before = live()
        if version == "8.6.1":  # which knows no monitor; so from within the build
            import tensorrt

            build = tensorrt._build._Build._tactics

            def tactics(self):
                progress("timing")
                return build(self)

            monkeypatch.setattr(tensorrt._build._Build, "_tactics", tactics)
        with pytest.raises(KeyboardInterrupt) as caught:
            tensorrt_from_onnx(source, path, progress=progress)
        assert len(steps) == 1
        del caught
        assert live() == before
    assert files(path.parent) == set()


# Timing caches.


def timed(path):
    return len(plan_of(path)["timed"])


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_timed_once(source, path, tmp_path, version):
    cache = tmp_path / "cache"
    cache.mkdir()
    with installed(version):
        counts = []
        for kept in (None, cache, cache):
            tensorrt_from_onnx(source, path, cache=kept)
            counts.append(timed(path))
        assert counts[0] >= counts[1] > 10
        assert counts[2] == 0
        tensorrt_from_onnx(source, path, cache=cache, precision="fp16")
        assert timed(path) > 10
        tensorrt_from_onnx(source, path, cache=cache)
        assert timed(path) == 0
    assert len([name for name in files(cache) if name.endswith(".timing")]) == 1


def test_a_cache_is_of_one_version_and_one_gpu(source, path, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    for version, capability, count in (
        ("10.3.0", "8.7", 16), ("10.13.3", "8.7", 16), ("10.3.0", "8.9", 16), ("10.3.0", "8.7", 8),
    ):  # fmt: skip
        setting = {"FAKE_CUDA_CAPABILITY": capability, "FAKE_CUDA_MULTIPROCESSORS": count}
        with installed(version, **setting):
            tensorrt_from_onnx(source, path, cache=cache)
            assert timed(path) > 10
    assert {name for name in files(cache) if name[0] != "."} == {
        "tensorrt-10.3.0-sm8.7-16-cuda12.6.timing",
        "tensorrt-10.13.3.9-sm8.7-16-cuda12.6.timing",
        "tensorrt-10.3.0-sm8.9-16-cuda12.6.timing",
        "tensorrt-10.3.0-sm8.7-8-cuda12.6.timing",
    }


def test_kernels_are_timed_for_each_power_mode(ten, source, path, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    for mode in ("15W", "MAXN_SUPER"):
        monkeypatch.setattr(engine, "power_mode", lambda mode=mode: mode)
        assert tensorrt_from_onnx(source, path, cache=cache).target["power_mode"] == mode
        assert timed(path) > 10
    assert {name for name in files(cache) if name[0] != "."} == {
        "tensorrt-10.3.0-sm8.7-16-15W-cuda12.6.timing",
        "tensorrt-10.3.0-sm8.7-16-MAXN_SUPER-cuda12.6.timing",
    }


@pytest.mark.parametrize(
    "content", [b"\0" * 99, b'fake timing cache {"version": "1.2", "capab', None]
)
def test_a_damaged_or_foreign_cache(ten, source, path, tmp_path, content):
    cache = tmp_path / "cache"
    cache.mkdir()
    file = cache / "tensorrt-10.3.0-sm8.7-16-cuda12.6.timing"
    if content is None:  # of another chip, under the name of this one
        with installed(FAKE_CUDA_CAPABILITY="8.9"):
            tensorrt_from_onnx(source, path, cache=cache)
        (there,) = cache.glob("tensorrt-*sm8.9*")
        content = there.read_bytes()
    elif b"version" in content:
        content += b'ility": "8.7", "tactics": []}'
    file.write_bytes(content)
    with pytest.warns(RuntimeWarning, match=r"timing cache .* is damaged or of another machine"):
        tensorrt_from_onnx(source, path, cache=cache)
    assert timed(path) > 10
    assert file.read_bytes() != content
    tensorrt_from_onnx(source, path, cache=cache)
    assert timed(path) == 0


def test_a_cache_that_cannot_be_kept(ten, source, path, tmp_path):
    for cache in (tmp_path / "absent", source):
        with pytest.raises(OutputError, match="timing cannot be written: there is no folder"):
            tensorrt_from_onnx(source, path, cache=cache)
    assert files(tmp_path) == set()


def test_two_builds_at_once(ten, source, sources, path, tmp_path):
    """Each reads the cache before the other has written it; both end up in it."""
    cache = tmp_path / "cache"
    cache.mkdir()
    code = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from r2p_edge.export import tensorrt_from_onnx
    steps = []
    def wait(step):
        if not steps:
            print("timing", flush=True)
            sys.stdin.readline()
        steps.append(step)
    tensorrt_from_onnx(*sys.argv[2:4], cache=sys.argv[4], precision=sys.argv[5], progress=wait)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), FOLDER.parent, source]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        builds = [
            stack.enter_context(
                subprocess.Popen([*command, tmp_path / f"{each}.engine", cache, each], **pipes)
            )
            for each in ("fp32", "fp16")
        ]
        for build in builds:
            assert build.stdout.readline() == "timing\n"
        for build in builds:
            build.communicate("go\n")
            assert build.returncode == 0
    for each in ("fp32", "fp16"):
        tensorrt_from_onnx(source, path, cache=cache, precision=each)
        assert timed(path) == 0


# What goes wrong.


@pytest.fixture
def refused(tmp_path):
    """Asserts that a build fails so and leaves what was there, and nothing of CUDA's."""

    def refused(error, message, source, path=tmp_path / "net.engine", **options):
        path.write_bytes(b"a good engine")
        before, names = live(), files(path.parent)
        with pytest.raises(error, match=message):
            tensorrt_from_onnx(source, path, **options)
        assert live() == before
        assert path.read_bytes() == b"a good engine"
        assert files(path.parent) == names

    return refused


def odd(source, path, change):
    """A copy of an ONNX artifact with a change to its graph."""
    model = onnx.load(source)
    change(model)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_parser_refuses(source, refused, tmp_path, monkeypatch, version):
    # What our own list of operators lets pass.
    with installed(version):
        from tensorrt import _parser

        monkeypatch.setattr(_parser, "_OPERATORS", _parser._OPERATORS - {"Relu"})
        number = r"node \d+: Assertion failed: creator"
        refused(ModelError, rf"tensorrt {version}\S* cannot read .*\.onnx \({number}", source)


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0"])
def test_what_no_tensorrt_has(source, refused, tmp_path, version):
    title = {"8.6.1": "TensorRT 8.6", "10.3.0": "TensorRT 10"}[version]
    with installed(version):

        def change(model):
            node = model.graph.node[-1]
            node.op_type, node.domain = "Wobble", "com.example"
            model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))

        model = odd(source, tmp_path / "odd.onnx", change)
        refused(ModelError, f"Wobble.*{title}|{title}.*Wobble", model)


def test_an_opset_that_is_too_new_for_8_6(refused, tmp_path):
    source = brightness_model(tmp_path / "model.onnx")
    with installed("8.6.1"):
        refused(ModelError, r"opset 18.*TensorRT 8\.6|TensorRT 8\.6.*opset 18", source)
    with installed("10.3.0"):
        tensorrt_from_onnx(source, tmp_path / "good.engine")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_builder_refuses(source, refused, monkeypatch, version):
    with installed(version, FAKE_TENSORRT_NO_TACTIC=1):
        message = r"built no engine of .* \(.*Could not find any implementation for node .*\); give"
        refused(ModelError, message, source)


def test_out_of_memory(source, refused):
    with installed(FAKE_CUDA_MEMORY=100):
        refused(BackendError, r"tensorrt cannot build here \(.*CUDA initialization failure", source)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_that_answers_otherwise(source, refused, version):
    with installed(version, FAKE_TENSORRT_WRONG=1):
        message = r"the TensorRT engine does not answer as its source \(onnx\) does: over 3 clips"
        refused(ParityError, message, source)


def test_an_engine_that_cannot_be_loaded(ten, source, refused, monkeypatch):
    import tensorrt

    monkeypatch.setattr(tensorrt.Runtime, "deserialize_cuda_engine", lambda self, content: None)
    refused(ModelError, "cannot load", source)


def test_the_disk_is_full(ten, source, refused, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    refused(OutputError, "cannot be written: No space left on device; make room", source)


@pytest.mark.parametrize("name", ["net.onnx", "net", "net.engine.json"])
def test_the_wrong_suffix(ten, source, tmp_path, name):
    with pytest.raises(UsageError, match=r"whose name must end in \.engine or \.plan"):
        tensorrt_from_onnx(source, tmp_path / name)


def test_a_folder_that_is_not_there(ten, source, tmp_path):
    with pytest.raises(OutputError, match="there is no folder"):
        tensorrt_from_onnx(source, tmp_path / "absent" / "net.engine")


@pytest.mark.parametrize(
    ("kind", "precision", "message"),
    [
        ("fp32", "int8", "is fp32 and cannot become int8; export it in fp32, which can become fp"),
        ("fp32", "bf16", "is fp32 and cannot become bf16"),
        ("int8", "fp32", "is int8 and cannot become fp32"),
        ("int8", "fp16", "is int8 and cannot become fp16"),
    ],
)
def test_a_precision_that_cannot_be(ten, sources, refused, kind, precision, message):
    refused(UsageError, message, sources[kind], precision=precision)


def test_open_axes(ten, refused, tmp_path):
    source = brightness_model(tmp_path / "model.onnx", batch="n")
    refused(ModelError, "TensorRT 10", source)


def test_no_gpu(source, refused):
    with installed(FAKE_CUDA_DEVICES=0):
        refused(
            BackendError, "there is no NVIDIA GPU here, and an engine is built on the one", source
        )
    with installed(FAKE_CUDA_DRIVER=11040):
        refused(cudart.CudaError, "NVIDIA's driver supports CUDA 11.4", source)


def test_nothing_to_build_with(ten, source, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    message = (
        "neither TensorRT's Python module nor its trtexec here: tensorrt is not installed; pip"
    )
    refused(MissingDependencyError, message, source)


def test_an_error_in_progress_ends_the_build(source, path):
    def progress(step):
        raise ZeroDivisionError(step)

    with installed(), pytest.raises(ZeroDivisionError):
        tensorrt_from_onnx(source, path, progress=progress)
    assert files(path.parent) == set()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", ["parser", "builder"])
def test_an_error_that_is_kept_does_not_keep_the_builder(source, tmp_path, version, fault):
    """A builder holds hundreds of megabytes."""
    if fault == "parser":
        source = tmp_path / "empty.onnx"
        source.write_bytes(b"")
    settings = {"FAKE_TENSORRT_NO_TACTIC": 1} if fault == "builder" else {}
    with installed(version, **settings):
        gc.collect()
        before = live()
        gc.disable()
        try:
            with pytest.raises(ModelError) as kept:
                plan_from_onnx(source, BuildOptions("kept", "fp32"), TensorRT.library())
            assert live() == before, kept
        finally:
            gc.enable()


def test_a_timing_cache_that_cannot_be_written(source, path, tmp_path):
    cache = tmp_path / "cache"
    with installed():
        cache.mkdir()
        tensorrt_from_onnx(source, path, cache=cache)
        (file,) = cache.glob("*.timing")
        file.unlink()
        file.mkdir()
        path.unlink()
        unread = pytest.warns(RuntimeWarning, match="is damaged")
        with unread, pytest.warns(RuntimeWarning, match="cannot be written"):
            tensorrt_from_onnx(source, path, cache=cache)
    assert path.is_file()


def test_the_form_without_3d_convolutions_takes_pixels(source, tmp_path):
    """TensorRT's parser takes uint8 only to cast it, which this form does first, too."""
    with installed():
        report = build(source, targets=["tensorrt"], graph="conv2d", out=tmp_path / "out")
    (made,) = report.built
    assert (made.spec.input.dtype, made.spec.graph) == ("uint8", "conv2d")
