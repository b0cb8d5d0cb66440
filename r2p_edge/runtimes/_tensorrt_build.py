"""ONNX to a TensorRT plan, with what TensorRT 8.6 to 11 have in common.

Up to 10 a network's precision is a flag of the build; 11 has no such flags and computes in the
types that the ONNX file says.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from r2p_edge.errors import BackendError, ModelError, R2PError
from r2p_edge.runtimes import _cudart
from r2p_edge.runtimes._timing_cache import keep_cache, use_cache
from r2p_edge.runtimes.tensorrt import Log, TensorRT, logger_of

if TYPE_CHECKING:
    import tensorrt as trt

_MOST_SHARED_WORKSPACE = 2 << 30


@dataclass(frozen=True)
class Plan:
    """How an engine is to be built, for the first GPU.

    Attributes:
        name: of the network, at most 128 characters; the engine keeps it.
        precision: "fp32", "fp16" or "int8", to compute in. The last is for models with Q/DQ nodes.
        workspace: bytes of GPU memory that kernels may use while they run; None leaves it to
            TensorRT, but for GPUs that share the CPU's memory, which is not all theirs.
        cache: folder for timing caches; None for none.
        progress: called with what TensorRT is doing, from threads of its own.
    """

    name: str
    precision: str
    workspace: int | None = None
    cache: Path | None = None
    progress: Callable[[str], None] | None = None


def strongly_typed() -> bool:
    """Whether this TensorRT takes a network's precision from the ONNX file alone."""
    import tensorrt as trt

    return not hasattr(trt.BuilderFlag, "FP16")


def plan_from_onnx(model: Path, wanted: Plan) -> bytes:
    """Builds an engine, which takes from seconds to many minutes.

    Args:
        model: the ONNX file, without open axes; where `strongly_typed`, in the precision that is
            wanted.

    Raises:
        ModelError: TensorRT does not take the model.
        BackendError: it cannot work here.
        OutputError: the timing cache cannot be written.
        KeyboardInterrupt: was pressed. TensorRT 8.6 cannot be stopped and finishes first.
    """
    cancelled = Event()
    # A thread of its own, because one that waits in TensorRT hears no Ctrl-C.
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            return pool.submit(_build, model, wanted, cancelled).result()
        except KeyboardInterrupt:
            cancelled.set()
            raise


def _build(model: Path, wanted: Plan, cancelled: Event) -> bytes:
    import tensorrt as trt

    logger, log = logger_of(TensorRT.library())
    log.clear()
    cuda = _cudart.load()
    with cuda.on(0):
        try:
            builder = trt.Builder(logger)
        except TypeError as error:  # what pybind11 makes of a null pointer
            raise BackendError(f"tensorrt cannot build here ({log.reason()})") from error
        network = builder.create_network(_network_flags())
        _parse(model, network, logger, log)
        network.name = wanted.name  # the parser had put the ONNX graph's
        config = builder.create_builder_config()
        _set_precision(config, wanted.precision)
        workspace = wanted.workspace or _default_workspace(cuda)
        if workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
        if hasattr(config, "progress_monitor"):
            config.progress_monitor = _monitor(wanted.progress, cancelled)
        file = None if wanted.cache is None else wanted.cache / cache_name(cuda)
        cache = None if file is None else use_cache(config, file)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise _failure(model, log.reason())
        if file is not None:
            keep_cache(config, file)
        del cache  # the build looked at it until here
        return bytes(plan)


def _network_flags() -> int:
    """8.6 parses ONNX with an explicit batch only; 10 has nothing else, and 11 no such flag."""
    import tensorrt as trt

    if not hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _parse(model: Path, network: trt.INetworkDefinition, logger: trt.ILogger, log: Log) -> None:
    import tensorrt as trt

    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(model)):
        return
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    told = "; ".join(f"node {each.node()}: {' '.join(each.desc().split())}" for each in errors)
    # Of a file that is no model at all the parser tells in the log alone.
    raise ModelError(f"tensorrt {trt.__version__} cannot read {model} ({told or log.reason()})")


def _set_precision(config: trt.IBuilderConfig, precision: str) -> None:
    import tensorrt as trt

    if precision == "fp32":
        # On by default; it leaves ten bits of a number.
        config.clear_flag(trt.BuilderFlag.TF32)
    # Whatever is not quantised should not fall back to fp32.
    if precision != "fp32" and hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)


def _default_workspace(cuda: _cudart.Cudart) -> int | None:
    if not cuda.chip(0).integrated:
        return None
    return min(_MOST_SHARED_WORKSPACE, cuda.free_memory() // 2)


def cache_name(cuda: _cudart.Cudart) -> str:
    """Timings hold for one version of everything on one kind of GPU."""
    import tensorrt as trt

    chip = cuda.chip(0)
    return (
        f"tensorrt-{trt.__version__}-sm{chip.compute_capability}-{chip.multiprocessors}"
        f"-cuda{cuda.versions()[0]}.timing"
    )


def _failure(model: Path, reason: str) -> R2PError:
    sentence = f"tensorrt built no engine of {model} ({reason})"
    if "memory" in reason.lower():
        return BackendError(f"{sentence}; close what else uses the GPU's memory")
    return ModelError(f"{sentence}; give it more workspace, or another precision")


def _monitor(progress: Callable[[str], None] | None, cancelled: Event) -> trt.IProgressMonitor:
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):
        """Called from threads of TensorRT, where an exception would be printed and lost."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if progress is not None:
                progress(f"{phase_name}, {step + 1} of {self._steps.get(phase_name, '?')}")
            return not cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
