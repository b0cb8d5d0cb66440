"""The stand-in for TensorRT: that it computes, and that its traps are set."""

import contextlib
import importlib
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from fake_tensorrt import VERSIONS, installed, live, plan_of
from onnx import parser
from requirements import needs

from r2p_edge.runtimes.tensorrt import cudart

pytestmark = [pytest.mark.slow, needs("onnx"), needs("onnxruntime")]

X = np.array([[1, 2, 3, 4]], np.float32)
THIRD = np.float32(1 / 3)


def text_of(nodes, constants="", *, x="float[1,4] x", y="float[1,4] y", opset=17):
    """Return an ONNX model in its text form, always with a constant `third`."""
    return (
        f'<ir_version: 8, opset_import: ["" : {opset}]> thirds ({x}) => ({y}) '
        f"<float[1] third = {{{THIRD}}} {', ' + constants if constants else ''}> {{ {nodes} }}"
    )


THIRDS = text_of("y = Mul(x, third)")
OPEN = text_of("y = Mul(x, third)", x="float[n,4] x", y="float[n,4] y")
HALVES = text_of("h = Cast<to = 10>(x) t = Cast<to = 10>(third) z = Mul(h, t) y = Cast<to = 1>(z)")


def quantized(scale="float s = {0.5}", zero=", int8 z = {0}", use=", z", opset=17):
    return text_of(
        f"q = QuantizeLinear(x, s{use}) y = DequantizeLinear(q, s{use})",
        f"{scale}{zero}",
        opset=opset,
    )


@contextlib.contextmanager
def tensorrt(version="10.3.0", **environment):
    """Import a version; return the module and `logged`, which collects its log."""
    with installed(version, **environment):
        trt = importlib.import_module("tensorrt")
        lines = []

        class Log(trt.ILogger):
            def log(self, severity, msg):
                lines.append(f"{severity.name}: {msg}")

        yield SimpleNamespace(trt=trt, logger=Log(), logged=lines)


@pytest.fixture
def ten():
    with tensorrt() as made:
        yield made


def parse(made, text, flags=None):
    """Return the network of a model, its builder and its parser."""
    trt = made.trt
    if flags is None:
        flag = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
        flags = 0 if flag is None else 1 << int(flag)
    builder = trt.Builder(made.logger)
    network = builder.create_network(flags)
    read = trt.OnnxParser(network, made.logger)
    content = parser.parse_model(text).SerializeToString() if isinstance(text, str) else text
    return builder, network, read, read.parse(content)


def build(made, text=THIRDS, *, flags=(), typed=False, profile=None, configure=None):
    """Return the plan of a model, or None."""
    trt = made.trt
    creation = None
    if typed:
        creation = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    builder, network, read, good = parse(made, text, creation)
    assert good, read.get_error(0).desc()
    config = builder.create_builder_config()
    for name in flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    if profile:
        made_profile = builder.create_optimization_profile()
        made_profile.set_shape("x", *profile)
        assert config.add_optimization_profile(made_profile) == 0
    if configure:
        configure(config)
    return builder.build_serialized_network(network, config)


def load(made, plan):
    return made.trt.Runtime(made.logger).deserialize_cuda_engine(plan)


class Bench:
    """A context with memory for its input and output, and a stream."""

    def __init__(self, made, plan, shape=(1, 4)):
        self.cuda = cudart.load()
        self.context = load(made, plan).create_execution_context()
        assert self.context.set_input_shape("x", shape)
        nbytes = 4 * int(np.prod(shape))
        self.stream = self.cuda.stream()
        self.device = {name: self.cuda.device_memory(nbytes) for name in "xy"}
        self.host = {name: self.cuda.host_memory(nbytes) for name in "xy"}
        self.array = {name: each.array(shape, np.float32) for name, each in self.host.items()}
        for name, each in self.device.items():
            assert self.context.set_tensor_address(name, each.address)

    def enqueue(self):
        nbytes = self.array["x"].nbytes
        device, host = self.device, self.host
        self.stream.copy(device["x"].address, host["x"].address, nbytes, "host to device")
        done = self.context.execute_async_v3(self.stream.handle)
        self.stream.copy(host["y"].address, device["y"].address, nbytes, "device to host")
        return done

    def run(self, x):
        self.array["x"][:] = x
        assert self.enqueue()
        self.stream.synchronize()
        return self.array["y"].copy()

    def close(self):
        self.context = None
        for each in (*self.device.values(), *self.host.values()):
            each.free()
        self.stream.destroy()


@contextlib.contextmanager
def bench(made, plan, **arguments):
    opened = Bench(made, plan, **arguments)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_it_computes_and_leaves_nothing(version, tmp_path):
    with tensorrt(version) as made:
        before = live()
        plan = build(made)
        (tmp_path / "model.engine").write_bytes(plan)
        recorded = plan_of(tmp_path / "model.engine")
        assert recorded["name"] == "thirds"
        assert recorded["typed"] is (version == "11.4")
        assert recorded["flags"] == ["TF32"]
        engine = load(made, memoryview((tmp_path / "model.engine").read_bytes()))
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        assert names == ["x", "y"]
        assert engine.get_tensor_mode("y") == made.trt.TensorIOMode.OUTPUT
        assert engine.get_tensor_dtype("x") == made.trt.DataType.FLOAT
        assert engine.get_tensor_shape("x") == (1, 4)
        with bench(made, plan) as opened:
            np.testing.assert_array_equal(opened.run(X), X * THIRD)
            assert live() > before
        del engine
        assert live() == before
        assert not [line for line in made.logged if "ERROR" in line]


@pytest.mark.parametrize(
    ("name", "since", "before"),
    [
        ("BuilderFlag.FP16", "8.6.1", "11.4"),
        ("BuilderFlag.STRICT_TYPES", "8.6.1", "10.3.0"),
        ("NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "8.6.1", "11.4"),
        ("NetworkDefinitionCreationFlag.STRONGLY_TYPED", "10.3.0", None),
        ("Builder.platform_has_fast_fp16", "8.6.1", "11.4"),
        ("IBuilderConfig.progress_monitor", "10.3.0", None),
        ("IProgressMonitor", "10.3.0", None),
        ("ParserError.node_name", "10.3.0", None),
        ("ICudaEngine.device_memory_size", "8.6.1", "11.4"),
        ("IExecutionContext.execute_async_v3", "8.6.1", None),
    ],
)
def test_a_version_has_its_names_and_no_others(name, since, before):
    end = VERSIONS.index(before) if before else None
    having = VERSIONS[VERSIONS.index(since) : end]
    *owner, last = name.split(".")
    for version in VERSIONS:
        with tensorrt(version) as made:
            found = hasattr(getattr(made.trt, *owner) if owner else made.trt, last)
        assert found is (version in having), version


def test_a_plan_is_a_buffer_and_nothing_else(ten):
    plan = build(ten)
    assert bytes(plan)[:8] == b"ftrt\0\0\0\0"
    assert bytes(plan)[24:28] == bytes([10, 3, 0, 26])
    assert memoryview(plan).nbytes == plan.nbytes == len(bytes(plan))
    assert not hasattr(plan, "find")
    for misuse in (len, iter, lambda plan: plan[:4]):
        with pytest.raises(TypeError):
            misuse(plan)


@pytest.mark.parametrize(
    ("misuse", "error"),
    [
        (lambda trt, config: trt.Builder(None), TypeError),
        (lambda trt, config: trt.Builder(trt.Logger(), 1), TypeError),
        (lambda trt, config: trt.IBuilderConfig(), TypeError),
        (lambda trt, config: config.set_flag(0), TypeError),
        (
            lambda trt, config: config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1e9),
            TypeError,
        ),
        (
            lambda trt, config: config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, -1),
            TypeError,
        ),
        (lambda trt, config: setattr(config, "max_workspace_size", 1), AttributeError),
        (lambda trt, config: 1 << trt.BuilderFlag.TF32, TypeError),
        (lambda trt, config: list(trt.BuilderFlag), TypeError),
        (lambda trt, config: trt.Logger.ERROR <= 2, TypeError),
        (lambda trt, config: trt.Dims((1, 2)) == trt.Dims((1, 2)), TypeError),
        (lambda trt, config: trt.Dims(4), TypeError),
        (lambda trt, config: {trt.Dims(): 1}, TypeError),
    ],
)
def test_arguments_and_attributes_are_as_pybind11_wants_them(ten, misuse, error):
    config = ten.trt.Builder(ten.logger).create_builder_config()
    with pytest.raises(error):
        misuse(ten.trt, config)


def test_enumerations_are_no_numbers(ten):
    flag = ten.trt.BuilderFlag
    assert flag.FP16 != 0
    assert flag(0) == flag.FP16
    assert int(flag.FP16) == 0
    assert flag.FP16 != ten.trt.DataType.FLOAT
    assert ten.trt.Logger.ERROR < ten.trt.Logger.WARNING


def test_a_logger_must_be_initialized_and_may_not_raise(ten, capsys):
    trt = ten.trt

    class Forgetful(trt.ILogger):
        def __init__(self):
            pass

    with pytest.raises(TypeError, match=r"ILogger.__init__\(\) must be called"):
        Forgetful()

    class Raising(trt.ILogger):
        def log(self, severity, msg):
            raise KeyError("lost")

    assert trt.Runtime(Raising()).deserialize_cuda_engine(b"") is None
    assert "Exception caught in log(): 'lost'" in capsys.readouterr().err


def test_the_first_logger_stays(ten):
    other = type(ten.logger)()
    other.log = lambda severity, msg: pytest.fail(msg)
    first = ten.trt.Runtime(ten.logger)
    assert ten.trt.Runtime(other).deserialize_cuda_engine(b"") is None
    assert "differs from one already registered" in ten.logged[0]
    del first


@pytest.mark.parametrize("driver", [{"FAKE_CUDA_DEVICES": 0}, {"FAKE_CUDA_DRIVER": 11040}])
def test_without_a_gpu_neither_builder_nor_runtime_is_made(driver):
    with tensorrt(**driver) as made:
        for kind in (made.trt.Builder, made.trt.Runtime):
            with pytest.raises(TypeError, match="nullptr"):
                kind(made.logger)
        assert "CUDA initialization failure" in made.logged[0]


ASYMMETRIC = quantized(zero=", int8 z = {3}")
UNSIGNED = quantized(zero=", uint8 z = {0}")
WITHOUT_ZERO = quantized(zero="", use="")
HALF_SCALE = quantized(scale="float16 s = {14336}", opset=19)
PER_AXIS = quantized("float[4] s = {0.5, 1, 1, 1}", ", int8[4] z = {0, 0, 0, 0}").replace(
    "Linear(", "Linear<axis = 1>("
)


@pytest.mark.parametrize(
    ("version", "text", "code", "message"),
    [
        ("10.3.0", b"\xff no model", "MODEL_DESERIALIZE_FAILED", "Failed to parse"),
        ("8.6.1", text_of("y = Acosh(x)"), "UNSUPPORTED_NODE", "Plugin not found"),
        ("8.6.1", text_of("y = Mul(x, third)", opset=18), "UNSUPPORTED_GRAPH", "Opset 18"),
        ("10.3.0", text_of("y = Mul(x, third)", opset=21), "UNSUPPORTED_GRAPH", "Opset 21"),
        ("8.6.1", WITHOUT_ZERO, "UNSUPPORTED_NODE", "zero point is needed"),
        ("8.6.1", UNSIGNED, "UNSUPPORTED_NODE", "must be INT8"),
        ("8.6.1", HALF_SCALE.replace("19", "17"), "UNSUPPORTED_NODE", "one of float32"),
        ("8.6.1", ASYMMETRIC, "UNSUPPORTED_NODE", "only supports symmetric"),
        ("11.4", ASYMMETRIC, "UNSUPPORTED_NODE", "only supports symmetric"),
        ("10.13.3", quantized("float s = {0}"), "UNSUPPORTED_NODE", "must be positive"),
        ("10.3.0", PER_AXIS, "UNSUPPORTED_NODE", "for weights only"),
        (
            "10.3.0",
            text_of("y = DequantizeLinear(b, third)", "int32[1,4] b = {1, 2, 3, 4}"),
            "UNSUPPORTED_NODE",
            "only INT8",
        ),
        ("8.6.1", text_of("y = Identity(x)", x="int64[4] x"), "UNSUPPORTED_NODE", "data type"),
    ],
)
def test_the_parser_refuses(version, text, code, message):
    with tensorrt(version) as made:
        builder, network, read, good = parse(made, text)
        assert not good
        assert read.get_error(0).code() == getattr(made.trt.ErrorCode, code)
        assert message in read.get_error(0).desc()
        assert any(message in line for line in made.logged)
        config = builder.create_builder_config()
        assert builder.build_serialized_network(network, config) is None
        assert "at least one output" in made.logged[-1]


@pytest.mark.parametrize("text", [WITHOUT_ZERO, UNSIGNED, HALF_SCALE])
def test_newer_parsers_take_more(text):
    with tensorrt("11.4") as made:
        *_, good = parse(made, text)
        assert good
        assert all("UINT8 zero_point" in line for line in made.logged)
        assert bool(made.logged) is (text == UNSIGNED)


def test_a_file_that_is_no_onnx_leaves_no_error_but_in_the_log(ten, tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"\xff no model")
    network = ten.trt.Builder(ten.logger).create_network()
    read = ten.trt.OnnxParser(network, ten.logger)
    for name in ("no.onnx", "missing.onnx"):
        assert not read.parse_from_file(str(tmp_path / name))
        assert f"{name}!" in ten.logged[-1]
    assert read.num_errors == 0


def test_a_node_is_named(ten):
    *_, read, _ = parse(ten, text_of("z = Acosh(x) y = Asinh(z)"))
    assert [read.get_error(i).node_operator() for i in range(read.num_errors)] == ["Acosh", "Asinh"]
    assert read.get_error(1).node() == 1


def test_8_6_parses_with_an_explicit_batch_only():
    with tensorrt("8.6.1") as made:
        *_, read, good = parse(made, THIRDS, flags=0)
        assert not good
        assert "EXPLICIT_BATCH" in read.get_error(0).desc()


def test_parsing_names_the_network(ten):
    builder = ten.trt.Builder(ten.logger)
    network = builder.create_network()
    network.name = "mine"
    ten.trt.OnnxParser(network, ten.logger).parse(parser.parse_model(THIRDS).SerializeToString())
    assert network.name == "thirds"
    network.name = "n" * 129
    assert network.name == "thirds"
    network.name = "n" * 128
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    assert load(ten, plan).name == "n" * 128


BYTES = text_of("t = Flatten(x) y = Cast<to = 1>(t)", x="uint8[1,4] x")


@pytest.mark.parametrize(
    ("arguments", "message", "environment"),
    [
        ({"text": quantized()}, "int8 is not configured in the builder", {}),
        ({"text": HALVES}, "fp16 is not configured in the builder", {}),
        ({"typed": True, "flags": ["FP16"]}, "not compatible with a strongly typed", {}),
        ({"typed": True, "flags": ["INT8"]}, "not compatible with a strongly typed", {}),
        ({"text": OPEN}, "no optimization profile has been defined", {}),
        ({"text": OPEN, "profile": [(1, 5)] * 3}, "static dimensions do not match", {}),
        ({"text": BYTES}, "UINT8 input has to be cast first", {}),
        ({}, "Could not find any implementation for node", {"FAKE_TENSORRT_NO_TACTIC": 1}),
    ],
)
def test_a_build_fails_with_none_and_a_line_in_the_log(arguments, message, environment):
    with tensorrt(**environment) as made:
        assert build(made, **arguments) is None
        assert "ERROR" in made.logged[-1]
        assert message in made.logged[-1]


def test_builds_that_do_not_fail(ten):
    assert build(ten, quantized(), flags=["INT8"])
    assert build(ten, quantized(), typed=True)
    assert build(ten, HALVES, flags=["FP16"])
    assert build(ten, HALVES, typed=True)


def test_precision_shows(ten):
    exact = X * THIRD
    with bench(ten, build(ten)) as full, bench(ten, build(ten, flags=["FP16"])) as half:
        np.testing.assert_array_equal(full.run(X), exact)
        np.testing.assert_array_equal(half.run(X), exact.astype(np.float16).astype(np.float32))
        assert (half.run(X) != exact).any()


def test_a_wrong_plan_can_be_had():
    with tensorrt(FAKE_TENSORRT_WRONG=1) as made:
        plan = build(made)
    with tensorrt() as made, bench(made, plan) as opened:
        np.testing.assert_allclose(opened.run(X), X * THIRD * 1.1, rtol=1e-6)


def monitor_of(trt, answer=True):
    class Monitor(trt.IProgressMonitor):
        def __init__(self):
            trt.IProgressMonitor.__init__(self)
            self.told, self.threads = [], set()

        def phase_start(self, phase_name, parent_phase, num_steps):
            self.threads.add(threading.get_ident())
            self.told.append(("start", phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name, step):
            self.told.append(("step", phase_name, step))
            if isinstance(answer, BaseException):
                raise answer
            return answer

        def phase_finish(self, phase_name):
            self.told.append(("finish", phase_name))

    return Monitor()


def test_a_monitor_is_told_of_phases_in_phases(ten):
    monitor = monitor_of(ten.trt)
    assert build(ten, configure=lambda config: setattr(config, "progress_monitor", monitor))
    assert threading.get_ident() not in monitor.threads
    (_, outer, _, _), (_, inner, parent, steps), *_ = monitor.told
    assert parent == outer
    assert [what[2] for what in monitor.told if what[:2] == ("step", inner)] == list(range(steps))
    assert [what[1] for what in monitor.told if what[0] == "finish"] == [inner, outer]


@pytest.mark.parametrize("answer", [False, None, KeyboardInterrupt()])
def test_a_monitor_cancels(ten, answer, capsys):
    monitor = monitor_of(ten.trt, answer)
    configure = lambda config: setattr(config, "progress_monitor", monitor)  # noqa: E731
    assert build(ten, configure=configure) is None
    assert "cancelled" in ten.logged[-1]
    assert [what[0] for what in monitor.told] == ["start", "start", "step", "finish", "finish"]
    raised = isinstance(answer, KeyboardInterrupt)
    assert ("caught in step_complete()" in capsys.readouterr().err) is raised


class Cached:
    """Configures a build with a timing cache, which it keeps."""

    def __init__(self, content=b"", level=3):
        self.content, self.level = content, level

    def __call__(self, config):
        config.builder_optimization_level = self.level
        self.cache = config.create_timing_cache(self.content)
        assert config.set_timing_cache(self.cache, False)

    def serialize(self):
        return bytes(self.cache.serialize())


def test_a_timing_cache_spares_the_next_build_its_timing(ten, tmp_path):
    def timed(configure, flags=()):
        path = tmp_path / "model.engine"
        path.write_bytes(build(ten, configure=configure, flags=flags))
        return len(plan_of(path)["timed"])

    full, half = Cached(), Cached()
    assert timed(full) == timed(half, ["FP16"]) == 1
    content = full.serialize()
    assert timed(Cached(content)) == 0
    assert timed(Cached(content), ["FP16"]) == 1
    assert timed(Cached(content, level=0)) == 1
    assert full.cache.combine(half.cache, False)
    assert timed(Cached(full.serialize()), ["FP16"]) == 0


@pytest.mark.parametrize(
    ("version", "capability", "ignore_mismatch", "fits"),
    [
        ("10.3.0", "8.7", False, True),
        ("10.3.0", "7.2", False, False),
        ("10.3.0", "7.2", True, True),
        ("10.13.3", "8.7", True, False),
    ],
)
def test_a_timing_cache_is_for_one_version_and_chip(version, capability, ignore_mismatch, fits):
    with tensorrt() as made:
        configure = Cached()
        build(made, configure=configure)
    with tensorrt(version, FAKE_CUDA_CAPABILITY=capability) as made:
        config = made.trt.Builder(made.logger).create_builder_config()
        cache = config.create_timing_cache(configure.serialize())
        assert config.set_timing_cache(cache, ignore_mismatch) is fits
        assert bool(made.logged) is not fits
        assert (config.get_timing_cache() is cache) is fits
        assert config.create_timing_cache(b"garbage") is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda plan: b"", "magicTag"),
        (lambda plan: b"\x08\x08" + plan, "magicTag"),
        (lambda plan: plan[:-1], "sizeRead"),
        (lambda plan: plan[:25], "sizeRead"),
    ],
)
def test_a_damaged_plan_is_refused(ten, damage, message):
    assert load(ten, damage(bytes(build(ten)))) is None
    assert message in ten.logged[0]


@pytest.mark.parametrize(
    ("version", "capability", "message"),
    [
        ("10.13.3", "8.7", "expecting library version 10.13.3.9 got 10.3.0.26, please rebuild"),
        ("10.3.0", "7.2", "expecting compute 7.2 got compute 8.7, please rebuild"),
    ],
)
def test_a_plan_is_for_one_version_and_chip(version, capability, message):
    with tensorrt() as made:
        plan = build(made)
    with tensorrt(version, FAKE_CUDA_CAPABILITY=capability) as made:
        assert load(made, plan) is None
        assert message in made.logged[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_out_of_device_memory(version):
    with tensorrt(version, FAKE_TENSORRT_CONTEXT_MEMORY=1 << 40) as made:
        plan = build(made)
        engine = load(made, plan)
        before = live()
        assert engine.create_execution_context() is None
        assert "GPU memory (1099511627776 bytes)" in made.logged[-1]
        assert live() == before
        total = made.trt._build._cuda.memory()
        used = total - cudart.load().free_memory()
    with tensorrt(version, FAKE_CUDA_MEMORY=used + 300) as made:  # the runtime takes some of it
        assert load(made, plan) is None
        assert "GPU memory" in made.logged[-1]


def test_open_axes(ten):
    plan = build(ten, OPEN, profile=[(1, 4), (2, 4), (3, 4)])
    engine = load(ten, plan)
    assert engine.get_tensor_shape("x") == (-1, 4)
    shapes = engine.get_tensor_profile_shape("x", 0)
    assert [tuple(shape) for shape in shapes] == [(1, 4), (2, 4), (3, 4)]
    with pytest.raises(ValueError, match="__len__"):
        tuple(engine.get_tensor_profile_shape("y", 0)[0])
    context = engine.create_execution_context()
    assert context.infer_shapes() == ["x"]
    assert context.get_tensor_shape("y") == (-1, 4)
    for wrong in ((4, 4), (0, 4), (4,), (1, 5)):
        assert not context.set_input_shape("x", wrong)
        assert "Valid range" in ten.logged[-1]
    assert not context.set_input_shape("y", (1, 4))
    with pytest.raises(TypeError):
        context.set_input_shape("x", np.array([3, 4]))
    assert context.set_input_shape("x", (3, 4))
    assert context.infer_shapes() == []
    assert context.get_tensor_shape("y") == (3, 4)
    with bench(ten, plan, shape=(2, 4)) as opened:
        x = np.concatenate([X, 2 * X])
        np.testing.assert_array_equal(opened.run(x), x * THIRD)


def test_an_unknown_name(ten):
    engine = load(ten, build(ten))
    context = engine.create_execution_context()
    assert engine.get_tensor_mode("z") == ten.trt.TensorIOMode.NONE
    assert not context.set_tensor_address("z", 1)
    assert not context.set_input_shape("z", (1,))
    assert ["invalid tensor name: z" in line for line in ten.logged] == [True, True, True, False]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda opened, small: 0, "default stream"),
        (lambda opened, small: {"y": 0}, "Address is not set for output tensor y"),
        (lambda opened, small: {"y": small}, "y is not in device memory"),
        (lambda opened, small: {"x": opened.host["x"].address}, "x is not in device memory"),
    ],
    ids=["stream", "missing", "small", "host"],
)
def test_an_execution_that_cannot_be(ten, spoil, message):
    with bench(ten, build(ten)) as opened, contextlib.ExitStack() as stack:
        small = opened.cuda.device_memory(8)
        stack.callback(small.free)
        addresses = spoil(opened, small.address)
        for name, address in (addresses or {}).items():
            opened.context.set_tensor_address(name, address)
        stream = 0 if addresses == 0 else opened.stream.handle
        assert not opened.context.execute_async_v3(stream)
        assert message in ten.logged[-1]


def test_an_execution_with_an_open_axis(ten):
    plan = build(ten, OPEN, profile=[(1, 4)] * 3)
    with bench(ten, plan) as opened:
        fresh = load(ten, plan).create_execution_context()
        assert not fresh.execute_async_v3(opened.stream.handle)
        assert "Not all dimensions of input tensor x" in ten.logged[-1]


def test_an_engine_stays_on_its_device():
    with tensorrt(FAKE_CUDA_DEVICES=2) as made, bench(made, build(made)) as opened:
        with opened.cuda.on(1):
            assert not opened.context.execute_async_v3(opened.stream.handle)
        assert "the engine is on device 0, not on 1" in made.logged[-1]


def test_two_threads_in_one_context(ten):
    with bench(ten, build(ten)) as opened:
        barrier, answers = threading.Barrier(2), []

        def execute():
            barrier.wait()
            answers.extend(opened.context.execute_async_v3(stream) for _ in range(100))

        stream = opened.stream.handle
        threads = [threading.Thread(target=execute) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        opened.stream.synchronize()
        assert not all(answers)
        assert "two threads" in ten.logged[-1]


def test_work_is_done_when_its_turn_comes(ten):
    with bench(ten, build(ten)) as opened:
        opened.array["x"][:] = X
        opened.array["y"][:] = -1
        assert opened.enqueue()
        assert (opened.array["y"] == -1).all()
        opened.array["x"][:] = 2 * X
        opened.stream.synchronize()
        np.testing.assert_array_equal(opened.array["y"], 2 * X * THIRD)


@pytest.fixture
def unraised(monkeypatch):
    """Exceptions that nobody could catch."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: found.append(str(args.exc_value)))
    return found


def test_memory_that_is_freed_before_its_turn(ten, unraised):
    with bench(ten, build(ten)) as opened:
        opened.run(X)
        stream = opened.stream
        graph = stream.capture(lambda: opened.context.execute_async_v3(stream.handle))
        opened.device.pop("y").free()
        graph.launch()
        stream.synchronize()
        graph.destroy()
    assert unraised == ["the memory of y was freed before the execution"]


def test_a_context_that_is_gone_before_its_turn(ten, unraised):
    with bench(ten, build(ten)) as opened:
        assert opened.context.execute_async_v3(opened.stream.handle)
        opened.context = None
        opened.stream.synchronize()
    assert unraised == ["an execution context is gone before its work was done"]


def test_a_graph_repeats_all_but_a_first_execution(ten, unraised):
    with bench(ten, build(ten)) as opened:
        cold = opened.stream.capture(opened.enqueue)
        for _ in range(2):
            cold.launch()
            opened.stream.synchronize()
        assert unraised == ["a CUDA graph captured a context's first execution"]
        graph = opened.stream.capture(opened.enqueue)
        for factor in (1, 2):
            opened.array["x"][:] = factor * X
            graph.launch()
            opened.stream.synchronize()
            np.testing.assert_array_equal(opened.array["y"], factor * X * THIRD)
        graph.destroy()
        cold.destroy()
    assert len(unraised) == 1


def test_a_context_keeps_its_engine_and_runtime(ten):
    before = live()
    context = load(ten, build(ten)).create_execution_context()
    assert live() == before + 3
    assert context.engine.name == "thirds"
    del context
    assert live() == before


def test_it_works_in_new_processes():
    code = "import tensorrt; print(tensorrt.__version__)"
    with tensorrt("11.4"):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout == "11.4.0.106\n"
    assert "tensorrt" not in sys.modules
