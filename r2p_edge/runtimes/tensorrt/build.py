"""ONNX to a TensorRT plan, with what TensorRT 8.6 to 11 have in common.

Up to 10 a network's precision is a flag of the build; 11 has no such flags and computes in the
types that the ONNX file says.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from r2p_edge.errors import BackendError, ModelError, R2PError
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.runtime import Log, TensorRT, logger_of
from r2p_edge.runtimes.tensorrt.timing_cache import keep_cache, use_cache

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is to be built.

    Attributes:
        name: of the network, at most 128 characters; the engine keeps it.
        precision: "fp32", "fp16" or "int8", to compute in. The last is for models with Q/DQ nodes.
        workspace: bytes of GPU memory that kernels may use while they run; None leaves it to
            TensorRT.
        cache: file of kernel timings to use and to add to; None for none.
        number: of the GPU.
        progress: called with what TensorRT is doing, from threads of its own.
    """

    name: str
    precision: str
    workspace: int | None = None
    cache: Path | None = None
    number: int = 0
    progress: Callable[[str], None] | None = None


def strongly_typed() -> bool:
    """Whether this TensorRT takes a network's precision from the ONNX file alone."""
    import tensorrt as trt

    return not hasattr(trt.BuilderFlag, "FP16")


def plan_from_onnx(model: Path, wanted: BuildOptions) -> bytes:
    """Builds an engine, which takes from seconds to many minutes.

    Args:
        model: the ONNX file, without open axes; where `strongly_typed`, in the precision that is
            wanted.

    Raises:
        ModelError: TensorRT does not take the model.
        BackendError: it cannot work here.
        KeyboardInterrupt: Ctrl-C; TensorRT 8.6 cannot be stopped and finishes first. Likewise
            whatever `progress` raises.
    """
    cancelled = Event()
    # A thread of its own, because one that waits in TensorRT hears no Ctrl-C.
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            return pool.submit(_build, model, wanted, cancelled).result()
        except BaseException as error:
            cancelled.set()  # where it is Ctrl-C
            # Its frames hold the builder, hundreds of megabytes, for as long as it is kept.
            traceback.clear_frames(error.__traceback__)
            raise


def _build(model: Path, wanted: BuildOptions, cancelled: Event) -> bytes:
    import tensorrt as trt

    logger, log = logger_of(TensorRT.library())
    log.clear()
    failed: list[BaseException] = []
    with cudart.load().on(wanted.number):
        try:
            builder = trt.Builder(logger)
        except TypeError as error:  # what pybind11 makes of a null pointer
            raise BackendError(f"tensorrt cannot build here ({log.reason()})") from error
        network = builder.create_network(_network_flags())
        _parse(model, network, logger, log)
        network.name = wanted.name  # the parser had put the ONNX graph's
        config = builder.create_builder_config()
        _set_precision(config, wanted.precision)
        if wanted.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wanted.workspace)
        if hasattr(config, "progress_monitor"):
            config.progress_monitor = _monitor(wanted.progress, cancelled, failed)
        if wanted.cache is not None:
            use_cache(config, wanted.cache)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise failed[0] if failed else _failure(model, log.reason())
        if wanted.cache is not None:
            keep_cache(config, wanted.cache)
        return bytes(plan)


def _network_flags() -> int:
    """8.6 parses ONNX with an explicit batch only; 10 has nothing else, and 11 no such flag."""
    import tensorrt as trt

    if not hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _parse(model: Path, network: trt.INetworkDefinition, logger: trt.ILogger, log: Log) -> None:
    import tensorrt as trt

    # It owns the weights until the engine is built; the network keeps it.
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
    elif hasattr(trt.BuilderFlag, "FP16"):
        # For int8 too: what is not quantised should not fall back to fp32.
        config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)


def _failure(model: Path, reason: str) -> R2PError:
    sentence = f"tensorrt built no engine of {model} ({reason})"
    if "memory" in reason.lower():
        return BackendError(f"{sentence}; close what else uses the GPU's memory")
    if "implementation" in reason.lower():
        return ModelError(f"{sentence}; give it more workspace, or another precision")
    return ModelError(f"{sentence}; trtexec --onnx={model} --verbose tells more")


def _monitor(
    progress: Callable[[str], None] | None, cancelled: Event, failed: list[BaseException]
) -> trt.IProgressMonitor:
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):
        """Called from threads of TensorRT, where an exception would be printed and lost."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                if progress is not None:
                    progress(f"{phase_name}, {step + 1} of {self._steps.get(phase_name, '?')}")
            except BaseException as error:
                failed.append(error)
            return not failed and not cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
