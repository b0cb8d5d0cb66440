"""Building of a TensorRT plan from ONNX, with what TensorRT 8.6 to 11 have in common.

Up to 10 a network's precision is a flag of the build; 11 has no such flags and computes in the
types of the ONNX file.
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
from r2p_edge.runtimes.tensorrt.library import Log, import_tensorrt, logger_of
from r2p_edge.runtimes.tensorrt.timing_cache import keep_cache, use_cache

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class BuildOptions:
    """Options for building an engine.

    Attributes:
        name: of the network, at most 128 characters; the engine keeps it.
        precision: "fp32", "fp16" or "int8", to compute in. The last is for models with Q/DQ nodes.
        workspace: bytes of GPU memory that kernels may use while they run; None leaves it to
            TensorRT.
        cache: file of kernel timings to use and to add to; None for none.
        number: of the GPU.
        progress: called with the step that TensorRT is at, from TensorRT's threads.
    """

    name: str
    precision: str
    workspace: int | None = None
    cache: Path | None = None
    number: int = 0
    progress: Callable[[str], None] | None = None


def strongly_typed() -> bool:
    """Return whether this TensorRT takes a network's precision from the ONNX file alone."""
    import tensorrt as trt

    return not hasattr(trt.BuilderFlag, "FP16")


def plan_from_onnx(model: Path, wanted: BuildOptions) -> bytes:
    """Build an engine, which takes from seconds to many minutes.

    Args:
        model: the ONNX file, without open axes; where `strongly_typed`, in the wanted precision.

    Raises:
        ModelError: TensorRT does not take the model.
        BackendError: TensorRT does not work here.
        KeyboardInterrupt: Ctrl-C, or any exception that `progress` raised; TensorRT 8.6 cannot be
            stopped and finishes first.
    """
    cancelled = Event()
    # A thread of its own, because one that waits in TensorRT does not notice Ctrl-C.
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            return pool.submit(_build, model, wanted, cancelled).result()
        except BaseException as error:
            cancelled.set()  # where it is Ctrl-C
            # Its frames keep the builder, hundreds of megabytes, alive as long as itself.
            traceback.clear_frames(error.__traceback__)
            raise


def _build(model: Path, wanted: BuildOptions, cancelled: Event) -> bytes:
    """Build an engine in this thread; see `plan_from_onnx`."""
    import tensorrt as trt

    logger, log = logger_of(import_tensorrt())
    log.clear()
    failed: list[BaseException] = []
    with cudart.load().on(wanted.number):
        try:
            builder = trt.Builder(logger)
        except TypeError as error:  # pybind11's answer to a null pointer
            raise BackendError(
                f"tensorrt cannot build here ({log.reason()}); check that the GPU's driver is new "
                "enough for it"
            ) from error
        network = builder.create_network(_network_flags())
        _parse(model, network, logger, log)
        network.name = wanted.name  # in place of the ONNX graph's, which the parser has set
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
    """Return the flags of a network that ONNX can be parsed into.

    8.6 needs the flag for an explicit batch, which 10 always has; 11 lacks the flag.
    """
    import tensorrt as trt

    if not hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _parse(model: Path, network: trt.INetworkDefinition, logger: trt.ILogger, log: Log) -> None:
    """Read an ONNX file into a network.

    Raises:
        ModelError: TensorRT does not take the model.
    """
    import tensorrt as trt

    # The parser owns the weights until the engine is built; the network keeps it alive.
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(model)):
        return
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    reasons = "; ".join(f"node {each.node()}: {' '.join(each.desc().split())}" for each in errors)
    # For a file that is not a model at all, the reason is in the log alone.
    raise ModelError(
        f"tensorrt {trt.__version__} cannot read {model} ({reasons or log.reason()}); check that "
        "the file is whole, or export it again with --graph conv2d"
    )


def _set_precision(config: trt.IBuilderConfig, precision: str) -> None:
    """Set the flags of a precision, as far as this TensorRT has them."""
    import tensorrt as trt

    if precision == "fp32":
        # On by default; it rounds to ten bits of mantissa.
        config.clear_flag(trt.BuilderFlag.TF32)
    elif hasattr(trt.BuilderFlag, "FP16"):
        # For int8 too: what is not quantised should not fall back to fp32.
        config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)


def _failure(model: Path, reason: str) -> R2PError:
    """Return the error to raise where TensorRT builds no engine, with advice that fits."""
    sentence = f"tensorrt built no engine of {model} ({reason})"
    if "memory" in reason.lower():
        return BackendError(f"{sentence}; close what else uses the GPU's memory")
    if "implementation" in reason.lower():
        return ModelError(f"{sentence}; give it more workspace, or another precision")
    return ModelError(f"{sentence}; trtexec --onnx={model} --verbose says more")


def _monitor(
    progress: Callable[[str], None] | None, cancelled: Event, failed: list[BaseException]
) -> trt.IProgressMonitor:
    """Return a monitor that reports steps to `progress` and stops the build if `cancelled`.

    Args:
        failed: list to which an exception of `progress` is added.
    """
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):
        """A monitor; TensorRT calls it from its threads and only prints an exception."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Note the number of steps of a phase."""
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Report a step; False stops the build."""
            try:
                if progress is not None:
                    progress(f"{phase_name}, {step + 1} of {self._steps.get(phase_name, '?')}")
            except BaseException as error:
                failed.append(error)
            return not failed and not cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            """Forget a phase."""
            self._steps.pop(phase_name, None)

    return Monitor()
