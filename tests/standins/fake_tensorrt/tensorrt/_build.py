"""From a network to a plan."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref

import onnx
from onnx import TensorProto, numpy_helper

from . import _cuda, _plan
from ._core import (
    ENUMS,
    NUMBERS,
    RTX,
    Dims,
    IHostMemory,
    ILogger,
    Overridable,
    Owned,
    bound,
    check,
    dotted,
    error,
    log,
    pure,
    rw,
    size_t,
    sizes,
)
from ._network import INetworkDefinition
from ._plan import SKIPPED

__all__ = [
    "Builder",
    "IBuilderConfig",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITimingCache",
]

_Flag = ENUMS["BuilderFlag"]
_PRECISIONS = ("FP16", "BF16", "INT8", "FP8", "INT4", "FP4")
_QUANTIZATION = ("QuantizeLinear", "DequantizeLinear")
_CACHE = b"fake timing cache "
_users = weakref.WeakSet()


def register(user, logger, function):
    """Take the logger and some memory of a GPU, as a builder and a runtime do first."""
    check(logger, ILogger)
    user._logger = first = next((each._logger for each in _users), logger)
    if first is not logger:
        log(
            first,
            "WARNING",
            f"The logger passed into {function} differs from one already registered for an "
            "existing builder, runtime, or refitter. So the current new logger is ignored, and "
            "TensorRT will use the existing one which is returned by nvinfer1::getLogger() instead",
        )
    trouble = 0 if RTX else _cuda.trouble()  # which RTX meets when it loads an engine
    if not RTX and (trouble or not _cuda.allocate(user, 256)):
        error(first, function, 6, f"CUDA initialization failure with error: {trouble}")
        raise TypeError("pybind11::init(): factory function returned nullptr")
    _users.add(user)


@bound
class IProgressMonitor(Overridable):
    def phase_start(self, phase_name, parent_phase, num_steps):
        pure("IProgressMonitor::phase_start")

    def step_complete(self, phase_name, step):
        pure("IProgressMonitor::step_complete")

    def phase_finish(self, phase_name):
        pure("IProgressMonitor::phase_finish")


@bound
class IOptimizationProfile(Owned):
    def _setup(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):
        shapes = [sizes(shape) for shape in (min, opt, max)]
        rank = len(shapes[0])
        if any(len(shape) != rank for shape in shapes) or not all(
            0 <= low <= middle <= high for low, middle, high in zip(*shapes)
        ):
            raise ValueError("Shape provided for max is inconsistent with other shapes.")
        self._shapes[check(input, str)] = shapes

    def get_shape(self, input):
        return [Dims(shape) for shape in self._shapes.get(check(input, str), ())]

    def __bool__(self):
        return bool(self._shapes)


@bound
class ITimingCache(Owned):
    def _setup(self, logger, content):
        self._logger, self._content = logger, content

    def serialize(self):
        return IHostMemory(_CACHE + json.dumps(self._content).encode())

    def combine(self, input_cache, ignore_mismatch):
        if not self._fits(check(input_cache, ITimingCache), ignore_mismatch):
            return False
        for tactic in input_cache._content["tactics"]:
            self._add(tactic)
        return True

    def reset(self):
        self._content["tactics"].clear()
        return True

    def _add(self, tactic):
        if tactic not in self._content["tactics"]:
            self._content["tactics"].append(tactic)

    def _fits(self, other, ignore_mismatch):
        mine, its = self._content, other._content
        fits = mine["version"] == its["version"] and (
            check(ignore_mismatch, bool) or mine["capability"] == its["capability"]
        )
        if not fits:
            message = "The timing cache was made by another version or on another device."
            error(self._logger, "ITimingCache::combine", 3, message)
        return fits


def _empty_cache():
    return {"version": dotted(NUMBERS), "capability": _cuda.capability(), "tactics": []}


@bound
class IBuilderConfig(Owned):
    def _setup(self, builder):
        self._logger = builder._logger
        self._flags = {"TF32"}
        self._limits, self._profiles = {}, []
        self._level, self._verbosity = 3, ENUMS["ProfilingVerbosity"].LAYER_NAMES_ONLY
        self._monitor = None
        self._cache = None
        self._chips = []

    @property
    def num_compute_capabilities(self):
        return len(self._chips)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count):
        self._chips = [ENUMS["ComputeCapability"].NONE] * size_t(count)

    def set_compute_capability(self, compute_capability, index):
        found = check(compute_capability, ENUMS["ComputeCapability"])
        if found.name in ("NONE", "???") or size_t(index) >= len(self._chips):
            error(self._logger, "IBuilderConfig::setComputeCapability", 3, "no such chip")
            return False
        self._chips[index] = found
        return True

    def get_compute_capability(self, index):
        return self._chips[size_t(index)]

    @property
    def flags(self):
        return sum(1 << int(getattr(_Flag, name)) for name in self._flags)

    def set_flag(self, flag):
        self._flags.add(check(flag, _Flag).name)

    def clear_flag(self, flag):
        self._flags.discard(check(flag, _Flag).name)

    def get_flag(self, flag):
        return check(flag, _Flag).name in self._flags

    def set_memory_pool_limit(self, pool, pool_size):
        self._limits[check(pool, ENUMS["MemoryPoolType"]).name] = size_t(pool_size)

    def get_memory_pool_limit(self, pool):
        # By default all that the device has.
        return self._limits.get(check(pool, ENUMS["MemoryPoolType"]).name, _cuda.memory())

    def add_optimization_profile(self, profile):
        if not check(profile, IOptimizationProfile):
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_optimization_profiles(self):
        return len(self._profiles)

    builder_optimization_level = rw("_level", int)
    profiling_verbosity = rw("_verbosity", ENUMS["ProfilingVerbosity"])
    progress_monitor = rw("_monitor", (IProgressMonitor, type(None)))

    def create_timing_cache(self, serialized_timing_cache):
        assert not RTX, "a timing cache makes it need a GPU"
        content = bytes(memoryview(serialized_timing_cache))
        if not content:
            return ITimingCache._make(self._logger, _empty_cache())
        if not content.startswith(_CACHE):
            message = "Serialization assertion magicTagRead == kMAGIC_TAG failed."
            error(self._logger, "IBuilderConfig::createTimingCache", 1, message)
            return None
        return ITimingCache._make(self._logger, json.loads(content.removeprefix(_CACHE)))

    def set_timing_cache(self, cache, ignore_mismatch):
        local = ITimingCache._make(self._logger, _empty_cache())
        if not local._fits(check(cache, ITimingCache), ignore_mismatch):
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


@bound
class Builder(Owned):
    def __init__(self, logger):
        register(self, logger, "createInferBuilder")

    def create_network(self, flags=0):
        return INetworkDefinition._make(self, check(flags, int))

    def create_builder_config(self):
        return IBuilderConfig._make(self)

    def create_optimization_profile(self):
        return IOptimizationProfile._make()

    platform_has_fast_fp16 = property(lambda self: True)
    platform_has_fast_int8 = property(lambda self: True)

    def build_serialized_network(self, network, config):
        build = _Build(
            self._logger,
            check(network, INetworkDefinition),
            check(config, IBuilderConfig),
            None if RTX else _cuda.capability(),
        )
        return IHostMemory(build.plan) if _uninterrupted(build.run) else None


def _uninterrupted(work):
    """Do work in a thread of its own; Ctrl-C waits for its end."""
    outcome, interrupt = [], None
    thread = threading.Thread(target=lambda: outcome.append(work()))
    thread.start()
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt:
        raise interrupt
    return outcome[0]


class _RefusedError(Exception):
    """An error's code and text."""


class _Build:
    def __init__(self, logger, network, config, capability):
        self._logger, self._network, self._config = logger, network, config
        self._capability = capability
        self._chips = [f"{int(chip) // 10}.{int(chip) % 10}" for chip in config._chips]
        if RTX and not self._chips:
            self._chips = list(_plan.CHIPS[1:])  # what the real one chooses
        unused = not config._level or "DISABLE_TIMING_CACHE" in config._flags
        self._cache = None if unused else config.get_timing_cache()
        self.plan = None

    def run(self):
        """Build, and return whether there is a plan now."""
        try:
            self._review()
            timed = self._progress()
        except _RefusedError as refusal:
            error(self._logger, "IBuilder::buildSerializedNetwork", *refusal.args)
            return False
        self.plan = _plan.write(NUMBERS, self._record(timed), self._model())
        return True

    def _review(self):
        network, flags = self._network, self._config._flags
        if not network._model:
            raise _RefusedError(4, "Network must have at least one output")
        precisions = [name for name in _PRECISIONS if name in flags]
        if network._typed and precisions:
            name = f"BuilderFlag::k{precisions[0]}"
            raise _RefusedError(3, f"{name} is not compatible with a strongly typed network")
        if not network._typed:
            self._review_precisions(flags)
        self._review_bytes()
        self._review_profile()
        if "7.5" in self._chips:
            self._review_turing()
        try:
            _plan.session(network._model.SerializeToString())
        except Exception as refusal:
            raise _RefusedError(4, str(refusal)) from None

    def _review_precisions(self, flags):
        graph = self._network._model.graph
        types = {each.data_type for each in graph.initializer}
        types |= {a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute}
        wanted = {
            "int8": any(node.op_type in _QUANTIZATION for node in graph.node),
            "fp16": TensorProto.FLOAT16 in types,
        }
        for name, is_wanted in wanted.items():
            if is_wanted and name.upper() not in flags:
                raise _RefusedError(
                    4,
                    f"{name.capitalize()} precision has been set for a layer or layer output, "
                    f"but {name} is not configured in the builder",
                )

    def _review_bytes(self):
        """Refuse UINT8 within the network: an input of it has to be cast first."""
        graph = self._network._model.graph
        names = {each.name for each in self._network._inputs if each._dtype.name == "UINT8"}
        for node in graph.node:
            if names & set(node.input) and node.op_type != "Cast":
                raise _RefusedError(
                    4, f"{node.name or node.op_type}: UINT8 input has to be cast first"
                )

    def _review_turing(self):
        """Refuse what the real builder of TensorRT for RTX 1.7.1 refuses for Turing."""
        model = onnx.shape_inference.infer_shapes(self._network._model)
        graph = model.graph
        weights = {each.name: each for each in graph.initializer}
        types = {
            each.name: (each.type.tensor_type.elem_type, len(each.type.tensor_type.shape.dim))
            for each in (*graph.value_info, *graph.input, *graph.output)
        }
        types |= {name: (each.data_type, len(each.dims)) for name, each in weights.items()}
        layers = {"Conv": "3D convolution", "ConvTranspose": "3D deconvolution"}
        for node in graph.node:
            kind, rank = types.get(node.input[0] if node.input else "", (0, 0))
            what = "GEMM" if node.op_type in ("Gemm", "MatMul") else None
            what = layers.get(node.op_type) if rank == 5 else what
            if what and kind == TensorProto.FLOAT:
                raise _RefusedError(
                    1,
                    f"Myelin ([pass.cpp:347: check_turing_op_compatibility] Cannot compile "
                    f"operation '{node.name}' for Turing (SM75): FP32 {what} is not supported. In "
                    "compileGraph at /_src/optimizer/myelin/codeGenerator.cpp:2012)",
                )

    def _review_profile(self):
        inputs = self._network._inputs
        if not any(-1 in each._shape for each in inputs):
            return
        if not self._config._profiles:
            text = "but no optimization profile has been defined."
            raise _RefusedError(4, f"Network has dynamic or shape inputs, {text}")
        for each in inputs:
            shapes = self._config._profiles[0]._shapes.get(each.name)
            if shapes is None and -1 in each._shape:
                raise _RefusedError(
                    4, f"{each.name}: profile 0 has no shape for this dynamic input"
                )
            for shape in shapes or ():
                pairs = zip(each._shape, shape)
                if len(shape) != len(each._shape) or any(a not in (-1, b) for a, b in pairs):
                    text = f"the network has {each._shape}, its profile {shape}"
                    raise _RefusedError(4, f"{each.name}: static dimensions do not match: {text}")

    def _progress(self):
        """Time the tactics that are not in the cache, phase by phase."""
        tactics = self._tactics()
        with _Phase(self._config._monitor, "Building engine from network", None, 2) as whole:
            with _Phase(self._config._monitor, "Timing tactics", whole.name, len(tactics)) as phase:
                timed = []
                for tactic in tactics:
                    if tactic.startswith("Conv ") and os.environ.get("FAKE_TENSORRT_SHORT"):
                        for line in SKIPPED[NUMBERS[0]]:
                            log(self._logger, "WARNING", line)
                    if self._cache is None or tactic not in self._cache._content["tactics"]:
                        timed.append(tactic)
                    if self._cache is not None:
                        self._cache._add(tactic)
                    phase.step()
            whole.step()
            whole.step()
        return timed

    def _tactics(self):
        """Return a name for each layer, by the properties that decide how fast its kernels are."""
        graph = self._network._model.graph
        if os.environ.get("FAKE_TENSORRT_NO_TACTIC"):
            node = graph.node[0]
            name = node.name or node.op_type
            raise _RefusedError(10, f"Could not find any implementation for node {name}.")
        shapes = {each.name: tuple(each.dims) for each in graph.initializer}
        described = [
            (node.op_type, [shapes.get(name) for name in node.input], sorted(self._config._flags))
            for node in graph.node
        ]
        return [f"{each[0]} {hashlib.sha1(repr(each).encode()).hexdigest()}" for each in described]

    def _record(self, timed):
        config, network = self._config, self._network
        profile = config._profiles[0]._shapes if config._profiles else {}
        return {
            "version": dotted(NUMBERS),
            "capability": self._capability,
            "flags": sorted(config._flags),
            "typed": network._typed,
            "name": network.name,
            "workspace": config._limits.get("WORKSPACE"),
            "level": config._level,
            "verbosity": config._verbosity.name,
            "profile": profile,
            "timed": timed,
            "layers": network.num_layers,
            **({"chips": self._chips} if RTX else {}),
        }

    def _model(self):
        model = onnx.ModelProto()
        model.CopyFrom(self._network._model)
        if os.environ.get("FAKE_TENSORRT_WRONG"):
            _damage(model)
        return model.SerializeToString()


def _damage(model):
    """Make the last constant of floats a tenth larger."""
    for weight in reversed(model.graph.initializer):
        if weight.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16):
            array = numpy_helper.to_array(weight)
            larger = (array * 1.1).astype(array.dtype)
            weight.CopyFrom(numpy_helper.from_array(larger, weight.name))
            return


class _Phase:
    """A phase of the build, which a monitor hears of and may end the build in."""

    def __init__(self, monitor, name, parent, steps):
        self._monitor, self.name = monitor, name
        self._parent, self._steps, self._done = parent, steps, 0

    def __enter__(self):
        if self._monitor is not None:
            self._monitor._call("phase_start", self.name, self._parent, self._steps)
        return self

    def step(self):
        if self._monitor is None:
            return
        # An exception is no answer, and no answer is a no.
        if not self._monitor._call("step_complete", self.name, self._done):
            raise _RefusedError(10, "The build was cancelled by the progress monitor.")
        self._done += 1

    def __exit__(self, *exception):
        if self._monitor is not None:
            self._monitor._call("phase_finish", self.name)
