"""TensorRT as a runtime, on stand-ins for it and for CUDA that set the real ones' traps."""

import contextlib
import functools
import gc
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from fake_tensorrt import VERSIONS, allocated, installed, live
from models import brightness_model, grey_frames, levels, spec_of_brightness
from paths import HELPERS, STANDINS
from requirements import needs
from tensorrt_models import clips_of, foreign_engine, needs_rounding, small

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, SpecError, UsageError
from r2p_edge.export import tensorrt_from_onnx
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.tensorrt import cudart, session
from r2p_edge.runtimes.tensorrt import library as library_module
from r2p_edge.runtimes.tensorrt.cudart import resources
from r2p_edge.runtimes.tensorrt.runtime import TensorRT

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime"), needs("safetensors")]

BRIGHTNESS = spec_of_brightness()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(version, precision) -> an engine of the small model, built once, and its ONNX artifact."""
    folder = tmp_path_factory.mktemp("engines")

    @functools.cache
    def built(version="10.3.0", precision="fp32"):
        kind = "int8" if precision == "int8" else "fp32"
        source, path = folder / f"{kind}.onnx", folder / f"{version}-{precision}.engine"
        with installed(version):
            tensorrt_from_onnx(small(source, kind), path, precision=precision)
        return path, source

    return built


@pytest.fixture
def engine(built):
    """An engine for the TensorRT 10.3 that is installed meanwhile."""
    path, _ = built()
    with installed():
        yield path


@pytest.fixture
def brightness(tmp_path):
    """An engine of a brightness model, which carries no spec; TensorRT 10.3 is installed."""
    source = brightness_model(tmp_path / "model.onnx")
    with installed():
        yield foreign_engine(tmp_path / "model.engine", source)


def clip(*values):
    """Return uint8 (1, 4, 8, 8, 3) for the brightness model."""
    return grey_frames(values, 8, 8)[None]


@contextlib.contextmanager
def nothing_left():
    """Make sure that the block frees everything of CUDA and TensorRT."""
    before = live()
    yield
    assert live() == before


@contextlib.contextmanager
def opened(path, spec=BRIGHTNESS, **options):
    with nothing_left(), contextlib.closing(TensorRT.open(path, spec, Options(**options))) as model:
        yield model


def expected(source, clips):
    with Predictor(source) as predictor:
        return [predictor._runtime.run(each) for each in clips]


# Numbers.

# Largest error that each precision may have, relative to the largest logit.
ROUNDING = {"fp32": 1e-6, "fp16": 2e-3, "int8": 5e-2}


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("version", VERSIONS)
def test_answers_are_those_of_onnxruntime(built, version, precision):
    needs_rounding(version, precision)
    path, source = built(version, precision)
    clips = clips_of(3)
    want = expected(source, clips)
    with installed(version), nothing_left(), Predictor(path) as predictor:
        assert (predictor.runtime, predictor.device) == ("tensorrt", "cuda")
        assert predictor.precision == precision
        run = predictor._runtime.run
        have = [run(each) for each in clips]
        before = allocated()
        again = [run(each) for each in reversed(clips)]
        assert allocated() == before
    found = agreement(np.concatenate(want), np.concatenate(have))
    assert found.max_rel <= ROUNDING[precision]
    # Rounding shows, so that the flags of the precision have reached the engine.
    assert (found.max_abs > 0) is (precision != "fp32")
    np.testing.assert_array_equal(have, again[::-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_real_videos(built, data, version):
    path, source = built(version)
    video = data / "ucf101/YoYo/v_YoYo_g01_c01.avi"
    with Predictor(source) as predictor:
        want = predictor.predict(video, clips=3)
    with installed(version), nothing_left(), Predictor(path) as predictor:
        have = predictor.predict(video, clips=3)
        before = allocated()
        predictor.predict(video)
        assert allocated() == before
    np.testing.assert_allclose(have.scores, want.scores, rtol=1e-5)
    assert (have.runtime, have.device, have.precision) == ("tensorrt", "cuda", "fp32")


@pytest.mark.parametrize("version", ["10.3.0", "10.13.3", "11.4"])
def test_every_frame_is_seen_in_its_place(tmp_path, version):
    source = brightness_model(tmp_path / "model.onnx")
    with installed(version), nothing_left():
        path = foreign_engine(tmp_path / "model.plan", source)
        with Predictor(path, spec=BRIGHTNESS) as predictor:
            for shown in ([3, 9, 0, 6], [0, 25, 17, 1]):
                assert levels(predictor.predict(grey_frames(shown, 8, 8))) == shown


def test_a_model_says_what_it_is(brightness, built):
    with opened(brightness) as model:
        assert (model.name, model.device, model.precision) == ("tensorrt", "cuda", "fp32")
        assert (model.input_shape, model.input_dtype) == ((1, 4, 8, 8, 3), "uint8")
        assert (model.output_shape, model.contract) == ((1, 4), None)
    path, _ = built()
    with Predictor(path) as predictor:
        assert predictor._runtime.contract == predictor.spec.contract_digest()


def test_arrays(brightness):
    with opened(brightness) as model:
        first = model.run(clip(1, 2, 3, 4))
        assert model.run(np.asfortranarray(clip(9, 8, 7, 6))).tolist() == [[9, 8, 7, 6]]
        assert first.tolist() == [[1, 2, 3, 4]]  # it outlives the next run
        for wrong in (clip(1, 2, 3, 4).reshape(1, 4, 8, 3, 8), clip(1, 2, 3, 4) / 1):
            with pytest.raises(BackendError, match="the model takes uint8"):
                model.run(wrong)


def test_several_threads(brightness):
    def ask(predictor, level):
        frames = grey_frames([level, 0, level, level], 8, 8)
        return [levels(predictor.predict(frames)) for _ in range(15)]

    with (
        Predictor(brightness, spec=BRIGHTNESS) as one,
        Predictor(brightness, spec=BRIGHTNESS) as two,
    ):
        with ThreadPoolExecutor(4) as pool:
            asked = [(one, 5), (one, 20), (two, 10), (two, 30)]
            answers = [pool.submit(ask, *each) for each in asked]
        for (_, level), answer in zip(asked, answers):
            assert answer.result() == [[level, 0, level, level]] * 15


# Memory that is freed.


def test_closing(brightness):
    with nothing_left():
        one, other = (TensorRT.open(brightness, BRIGHTNESS, Options()) for _ in range(2))
        one.close()
        assert other.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
        one.close()
        with pytest.raises(BackendError, match="this model is closed; open it again"):
            one.run(clip(1, 2, 3, 4))
        other.close()


def test_garbage(engine):
    with nothing_left():
        predictor = Predictor(engine)
        predictor.warmup()
        del predictor
        gc.collect()


@pytest.mark.parametrize("setting", [{}, {"R2P_CUDA_GRAPH": 1}])
def test_the_end_of_the_process(built, setting):
    code = """
    import atexit, sys
    sys.path[:0] = sys.argv[2:]
    from fake_tensorrt import live
    atexit.register(lambda: print(live()))  # after what is registered later
    from r2p_edge import Predictor
    kept = Predictor(sys.argv[1])
    kept.warmup()
    print(live() > 0)
    """
    path, _ = built()
    with installed(**setting):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), path, STANDINS, HELPERS],
            capture_output=True,
            text=True,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["True", "0"]


def test_a_run_in_a_daemon_thread_is_waited_for_at_the_end_of_the_process(built):
    code = """
    import atexit, contextlib, sys, threading
    sys.path[:0] = sys.argv[2:]
    import numpy as np
    from fake_tensorrt import live
    atexit.register(lambda: print(live()))
    from r2p_edge import Predictor
    from r2p_edge.errors import BackendError
    kept = Predictor(sys.argv[1])
    # Preprocessed before: a thread that is in the extension when Python ends is ended there.
    crop = kept.spec.crop
    pixels = np.zeros((1, kept.spec.clip.frames, crop.height, crop.width, 3), np.uint8)
    def ask():
        with contextlib.suppress(BackendError):  # it is closed
            while True:
                kept.scores(pixels)
                begun.set()
                pause.wait(0.001)  # in which the one who closes gets the lock
    begun, pause = threading.Event(), threading.Event()
    threading.Thread(target=ask, daemon=True).start()
    begun.wait()
    """
    path, _ = built()
    with installed():
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), path, STANDINS, HELPERS],
            capture_output=True,
            text=True,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0\n"


class WatchedLock:
    """A lock that says when somebody asks for it in order to close."""

    def __init__(self, lock):
        self.lock, self.asked = lock, threading.Event()
        self.release = lock.release

    def __enter__(self):
        return self.lock.__enter__()

    def __exit__(self, *error):
        return self.lock.__exit__(*error)

    def acquire(self, timeout):
        self.asked.set()
        return self.lock.acquire(timeout=timeout)


def test_closing_waits_for_a_run(brightness, monkeypatch):
    with nothing_left():
        model = TensorRT.open(brightness, BRIGHTNESS, Options())
        lock = model._session.lock = WatchedLock(model._session.lock)
        running, done = threading.Event(), []
        enqueue = model._session._enqueue

        def slowly():
            running.set()
            lock.asked.wait()
            done.append(enqueue())
            return True

        monkeypatch.setattr(model._session, "_enqueue", slowly)
        thread = threading.Thread(target=model.run, args=(clip(1, 2, 3, 4),))
        thread.start()
        running.wait()
        model._close()  # as the end of the process does
        assert done == [True]
        thread.join()


def test_a_run_that_hangs_keeps_what_it_uses(brightness, monkeypatch):
    monkeypatch.setattr(session, "_CLOSE_SECONDS", 0.01)
    before = live()
    model = TensorRT.open(brightness, BRIGHTNESS, Options())
    with model._session.lock:
        model.close()
        assert live() > before
    model._session.close()
    assert live() == before


_CLEANUP = ("cudaFree", "cudaStreamDestroy", "cudaGraphDestroy", "cudaGraphExecDestroy")
_DONE_ANYWAY = ("cudaStreamSynchronize", "cudaStreamEndCapture")


@pytest.fixture
def failing(monkeypatch):
    """A call of CUDA's that fails, by its number; and how many there were."""
    calls = SimpleNamespace(number=None, made=0)
    call = cudart.Cudart.call

    def counted(cuda, function, *arguments):
        if not function.startswith(_CLEANUP):
            calls.made += 1
            if calls.made == calls.number:
                if function in _DONE_ANYWAY:
                    call(cuda, function, *arguments)
                raise cudart.CudaError(f"{function} failed: no reason", 1)
        return call(cuda, function, *arguments)

    monkeypatch.setattr(cudart.Cudart, "call", counted)
    return calls


@pytest.mark.parametrize("graph", ["0", "1"])
def test_whatever_fails_in_opening_leaves_nothing(brightness, failing, monkeypatch, graph):
    monkeypatch.setenv("R2P_CUDA_GRAPH", graph)
    for number in range(1, 100):
        failing.made, failing.number = 0, number
        with nothing_left():
            try:
                model = TensorRT.open(brightness, BRIGHTNESS, Options())
            except BackendError:
                continue
            was_reached, failing.number = failing.made >= number, None
            assert not was_reached or graph == "1"  # of which a capture may fail
            assert model.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
            model.close()
        if not was_reached:
            break
    assert number > 10


def test_whatever_fails_in_a_run(brightness, failing):
    for number in range(1, 100):
        with opened(brightness) as model:
            failing.made, failing.number = 0, number
            with contextlib.suppress(cudart.CudaError):
                assert model.run(clip(9, 9, 9, 9)).tolist() == [[9, 9, 9, 9]]
            was_reached = failing.made >= number
            failing.number = None
            assert model.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
        if not was_reached:
            break
    assert number > 5


def refusing(logged):
    """Return a method that refuses, and gives the reason to the logger."""

    def refuse(self, *_):
        if logged:
            severity = sys.modules["tensorrt"].ILogger.Severity.ERROR
            self._logger.log(severity, f"because of\n  {logged}")
        return False if logged != "None" else None

    return refuse


@pytest.mark.parametrize(
    ("owner", "method", "error", "message"),
    [
        ("Runtime", "deserialize_cuda_engine", ModelError, r"3\.0 cannot load .*model\.engine"),
        ("ICudaEngine", "create_execution_context", BackendError, r"cannot run .*MiB of GPU mem"),
        ("IExecutionContext", "set_input_shape", SpecError, r"takes \(1, 4, 8.* and its spec says"),
        ("IExecutionContext", "set_tensor_address", BackendError, "refuses a buffer for frames"),
        ("IExecutionContext", "execute_async_v3", BackendError, "tensorrt failed"),
    ],
)
def test_what_tensorrt_refuses(brightness, monkeypatch, owner, method, error, message):
    import tensorrt as library

    monkeypatch.setenv("R2P_CUDA_GRAPH", "1")  # which runs it at once
    for reason in ("bad luck", ""):
        with monkeypatch.context() as patch:
            answer = refusing(reason)
            if method in ("deserialize_cuda_engine", "create_execution_context"):
                answer = lambda *arguments, refuse=answer: refuse(*arguments) or None  # noqa: E731
            patch.setattr(getattr(library, owner), method, answer)
            with nothing_left(), pytest.raises(error, match=message) as caught:
                TensorRT.open(brightness, BRIGHTNESS, Options())
        if error is not SpecError:
            told = "(because of bad luck)" if reason else "(it gave no reason)"
            assert told in str(caught.value)
    with opened(brightness) as model:
        assert model.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]


def test_a_run_that_fails(brightness, monkeypatch):
    import tensorrt as library

    with opened(brightness) as model:
        with monkeypatch.context() as patch:
            patch.setattr(library.IExecutionContext, "execute_async_v3", refusing("bad luck"))
            with pytest.raises(BackendError, match=r"tensorrt failed \(because of bad luck\)"):
                model.run(clip(1, 2, 3, 4))
        assert model.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]


def test_errors_of_long_ago_are_not_told(brightness, monkeypatch):
    import tensorrt as library

    with opened(brightness) as model, monkeypatch.context() as patch:
        patch.setattr(library.IExecutionContext, "execute_async_v3", refusing("bad luck"))
        with pytest.raises(BackendError):
            model.run(clip(1, 2, 3, 4))
        patch.setattr(library.IExecutionContext, "execute_async_v3", refusing(""))
        with pytest.raises(BackendError, match="it gave no reason"):
            model.run(clip(1, 2, 3, 4))


# Engines of others.


def test_an_open_batch_axis(tmp_path):
    source = brightness_model(tmp_path / "model.onnx", batch="n")
    frames = BRIGHTNESS.input_shape[1:]

    def engine_for(least, most):
        profile = {"frames": ((least, *frames), (most, *frames), (most, *frames))}
        return foreign_engine(tmp_path / "model.engine", source, profile=profile)

    with installed():
        with Predictor(engine_for(1, 4), spec=BRIGHTNESS) as predictor:
            assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
        path = engine_for(2, 4)
        message = r"takes \(2, 4, 8, 8, 3\) to \(4, 4.* and its spec says \(1, 4, 8.*; correct clip"
        with nothing_left(), pytest.raises(SpecError, match=message):
            Predictor(path, spec=BRIGHTNESS)


def test_a_spec_of_another_rank_or_size(brightness):
    for changes, message in (
        ({"clip": BRIGHTNESS.clip.__class__(frames=8, interval=2, fps=25.0)}, "but its spec says"),
        ({"labels": ("a", "b")}, "its spec has 2 labels"),
    ):
        with nothing_left(), pytest.raises(SpecError, match=message):
            Predictor(brightness, spec=BRIGHTNESS.replace(**changes))


def model_of(path, nodes, ends="uint8[1,4,8,8,3] frames", outputs="float[1,4] logits"):
    text = (
        f'<ir_version: 8, opset_import: ["" : 17]> g ({ends}) => ({outputs}) '
        f"{{ f = Cast<to = 1>(frames) m = ReduceMean<axes = [2, 3, 4], keepdims = 0>(f) {nodes} }}"
    )
    onnx.save(onnx.parser.parse_model(text), path)
    return path


@pytest.mark.parametrize(
    ("nodes", "ends", "outputs"),
    [
        ("logits = Identity(m)", "uint8[1,4,8,8,3] frames", "float[1,4] logits"),
        ("other = Neg(m) logits = Identity(m)", "uint8[1,4,8,8,3] frames",
         "float[1,4] other, float[1,4] logits"),
        ("strange = Identity(m)", "uint8[1,4,8,8,3] frames", "float[1,4] strange"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", VERSIONS)
def test_which_output_is_read(tmp_path, version, nodes, ends, outputs):
    source = model_of(tmp_path / "model.onnx", nodes, ends, outputs)
    with installed(version):
        path = foreign_engine(tmp_path / "model.engine", source)
        with opened(path) as model:
            assert model.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]


def test_outputs_of_other_names(tmp_path):
    nodes, outputs = "a = Neg(m) b = Identity(m)", "float[1,4] a, float[1,4] b"
    source = model_of(tmp_path / "model.onnx", nodes, outputs=outputs)
    with installed():
        path = foreign_engine(tmp_path / "model.engine", source)
        with nothing_left(), pytest.raises(SpecError, match="no output 'logits' but a, b; corr"):
            TensorRT.open(path, BRIGHTNESS, Options())


@pytest.mark.parametrize(("version", "flags"), [("8.6.1", ["FP16"]), ("11.4", [])])
def test_an_output_of_half_precision(tmp_path, version, flags):
    nodes, outputs = "logits = Cast<to = 10>(m)", "float16[1,4] logits"
    source = model_of(tmp_path / "model.onnx", nodes, outputs=outputs)
    with installed(version):
        path = foreign_engine(tmp_path / "model.engine", source, flags=flags)
        with opened(path) as model:
            answer = model.run(clip(1, 2, 3, 4))
        assert (answer.dtype, answer.tolist()) == (np.float16, [[1, 2, 3, 4]])
        with Predictor(path, spec=BRIGHTNESS) as predictor:
            assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]


def test_two_inputs(tmp_path):
    ends = "uint8[1,4,8,8,3] frames, float[1,4] more"
    source = model_of(tmp_path / "model.onnx", "logits = Add(m, more)", ends)
    with installed():
        path = foreign_engine(tmp_path / "model.engine", source)
        with nothing_left(), pytest.raises(ModelError, match="has 2 inputs; expected one clip"):
            TensorRT.open(path, BRIGHTNESS, Options())


@pytest.mark.parametrize(
    ("method", "enumeration", "value", "message"),
    [
        ("get_tensor_format", "TensorFormat", "CDHW32", "is UINT8 in .*; expected one of FLOAT, "),
        ("get_tensor_dtype", "DataType", "BF16", "tensor frames of .* is BF16 in .* linear"),
        ("get_tensor_location", "TensorLocation", "HOST", "in linear format on the GPU, so build"),
    ],
)
def test_tensors_of_other_kinds(brightness, monkeypatch, method, enumeration, value, message):
    import tensorrt as library

    found = getattr(getattr(library, enumeration), value)
    monkeypatch.setattr(library.ICudaEngine, method, lambda self, name: found)
    with nothing_left(), pytest.raises(ModelError, match=message):
        TensorRT.open(brightness, BRIGHTNESS, Options())


def test_an_output_as_large_as_the_data_makes_it(brightness, monkeypatch):
    import tensorrt as library

    context = library.IExecutionContext
    shape = context.get_tensor_shape
    monkeypatch.setattr(
        context,
        "get_tensor_shape",
        lambda self, name: library.Dims([-1, 4]) if name == "logits" else shape(self, name),
    )
    with nothing_left(), pytest.raises(ModelError, match=r"logits of .* has no shape of its own"):
        TensorRT.open(brightness, BRIGHTNESS, Options())


# Devices.


def test_devices(brightness, monkeypatch):
    assert TensorRT.devices() == ["cuda"]
    monkeypatch.setenv("FAKE_CUDA_DEVICES", "2")
    assert TensorRT.devices() == ["cuda", "cuda:1"]
    for asked, found in (("cuda", "cuda"), ("cuda:0", "cuda"), ("cuda:1", "cuda:1")):
        with opened(brightness, device=asked) as model:
            assert model.device == found
            with ThreadPoolExecutor() as pool:  # a thread's own current device is the first
                answer = pool.submit(model.run, clip(1, 2, 3, 4)).result()
            assert answer.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("device", ["cuda:1", "cuda:x", "gpu", "cpu", "CUDA", " ", "0"])
def test_a_device_that_there_is_not(brightness, device):
    with pytest.raises(BackendError, match=r"tensorrt has no device '.*' here; it has cuda: cho"):
        TensorRT.open(brightness, BRIGHTNESS, Options(device=device))


def test_no_device(brightness, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_DEVICES", "0")
    assert TensorRT.devices() == []
    with pytest.raises(BackendError, match="it has none: check that the GPU's driver is loaded"):
        TensorRT.open(brightness, BRIGHTNESS, Options())


@pytest.fixture
def device_memory(monkeypatch):
    """The sizes of the device memory that is asked for."""
    asked = []
    allocate = cudart.Cudart.device_memory
    monkeypatch.setattr(
        cudart.Cudart,
        "device_memory",
        lambda cuda, nbytes: [asked.append(nbytes), allocate(cuda, nbytes)][1],
    )
    return asked


@pytest.mark.parametrize(
    ("mapped", "integrated", "sizes"),
    [("1", "1", []), ("1", "0", [768, 16]), ("0", "1", [768, 16])],
)
def test_memory_that_both_share(brightness, device_memory, monkeypatch, mapped, integrated, sizes):
    monkeypatch.setenv("R2P_CUDA_MAPPED", mapped)
    monkeypatch.setenv("FAKE_CUDA_INTEGRATED", integrated)
    with opened(brightness) as model:
        for shown in ([1, 2, 3, 4], [9, 0, 8, 7]):
            assert model.run(clip(*shown)).tolist() == [shown]
    assert device_memory == sizes


@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("mapped", ["0", "1"])
def test_graphs(brightness, monkeypatch, caplog, capture, mapped):
    monkeypatch.setenv("R2P_CUDA_GRAPH", "1")
    monkeypatch.setenv("R2P_CUDA_MAPPED", mapped)
    monkeypatch.setenv("FAKE_CUDA_INTEGRATED", mapped)
    if not capture:
        monkeypatch.setenv("FAKE_CUDA_NO_CAPTURE", "1")
    launches = []
    launch = resources.CudaGraph.launch
    monkeypatch.setattr(
        resources.CudaGraph, "launch", lambda graph: [launches.append(graph), launch(graph)][1]
    )
    with opened(brightness) as model:
        for shown in ([1, 2, 3, 4], [9, 0, 8, 7], [5, 5, 0, 5]):
            assert model.run(clip(*shown)).tolist() == [shown]
    assert len(launches) == (3 if capture else 0)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    said = f"{brightness} cannot be captured as a CUDA graph; it runs without"
    assert warned == ([] if capture else [said])


def test_the_default_device_is_the_first_gpu_and_logged(brightness, caplog):
    caplog.set_level("INFO", "r2p_edge")
    with Predictor(brightness, spec=BRIGHTNESS) as predictor:
        assert predictor.device == TensorRT.devices()[0] == "cuda"
    messages = [record.getMessage() for record in caplog.records]
    assert f"opened {brightness} on tensorrt 10.3.0: device cuda, precision fp32" in messages


# Options, and libraries that are missing.


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threads": 2}, UsageError, "has neither threads nor a cache of models; leave them out"),
        ({"cache": True}, UsageError, "has neither threads nor a cache of models; leave them out"),
        (
            {"precision": "fp16"},
            BackendError,
            r"model\.engine was built to compute in fp32 and not in fp16; .* --precision fp16 --ou",
        ),
    ],
)
def test_options(brightness, tmp_path, options, error, message):
    options = {name: tmp_path if value is True else value for name, value in options.items()}
    with pytest.raises(error, match=message):
        TensorRT.open(brightness, BRIGHTNESS, Options(**options))
    with opened(brightness, precision="fp32") as model:
        assert model.precision == "fp32"


def test_a_library_that_is_missing_or_does_not_fit(brightness, tmp_path, monkeypatch):
    def refused(error, message):
        for call in (TensorRT.devices, lambda: TensorRT.open(brightness, BRIGHTNESS, Options())):
            with pytest.raises(error, match=message):
                call()

    import tensorrt as library

    with monkeypatch.context() as patch:
        patch.delattr(library.IExecutionContext, "execute_async_v3")
        refused(BackendError, r"tensorrt 10\.3\.0 lacks named tensors; install 8\.6 or newer")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", None)
        refused(
            MissingDependencyError,
            "tensorrt is not installed; pip install tensorrt, or tensorrt-cu12 where",
        )
        patch.setattr(library_module, "_JETSON", tmp_path)
        refused(MissingDependencyError, r"JetPack .*python3 -m venv --system-site-packages$")
    broken = tmp_path / "site" / "tensorrt"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libnvinfer.so.10: no such file')")
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.syspath_prepend(broken.parent)
    refused(BackendError, r"cannot be imported \(libnvinfer\.so\.10: no such file\); install it a")


def test_a_file_that_cannot_be_read(tmp_path):
    with installed(), pytest.raises(ModelError, match=r"cannot be read \(Is a directory\); check"):
        TensorRT.open(tmp_path, BRIGHTNESS, Options())
