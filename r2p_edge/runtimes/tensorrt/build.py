"""Building of a TensorRT plan from ONNX, with what TensorRT 8.6 to 11 have in common.

Up to 10 a network's precision is a flag of the build; 11 has no such flags and computes in the
types of the ONNX file. TensorRT for RTX is as 11, but builds without a GPU, for chips by name.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import TYPE_CHECKING

from r2p_edge.errors import BackendError, ModelError, R2PError
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.library import RTX, Library, Log, as_library, logger_of
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
        cache: file of kernel timings to use and to add to; None for none. TensorRT for RTX times
            nothing, and would need a GPU for one.
        number: of the GPU; None to build without one, which TensorRT for RTX alone can.
        chips: compute capabilities to build for, "8.6"; for TensorRT for RTX alone, where none
            stands for what NVIDIA chooses, Ampere and later.
        progress: called with the step that TensorRT is at, from TensorRT's threads.
    """

    name: str
    precision: str
    workspace: int | None = None
    cache: Path | None = None
    number: int | None = 0
    chips: tuple[str, ...] = ()
    progress: Callable[[str], None] | None = None


def strongly_typed(module: ModuleType) -> bool:
    """Return whether this TensorRT takes a network's precision from the ONNX file alone."""
    return not hasattr(as_library(module).BuilderFlag, "FP16")


def plan_from_onnx(model: Path, wanted: BuildOptions, module: ModuleType) -> bytes:
    """Build an engine, which takes from seconds to many minutes.

    Args:
        model: the ONNX file, without open axes; where `strongly_typed`, in the wanted precision.
        wanted: the options.
        module: TensorRT's, or that of TensorRT for RTX.

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
            return pool.submit(_build, model, wanted, module, cancelled).result()
        except BaseException as error:
            cancelled.set()  # where it is Ctrl-C
            # Its frames keep the builder, hundreds of megabytes, alive as long as itself.
            traceback.clear_frames(error.__traceback__)
            raise


def _build(model: Path, wanted: BuildOptions, module: ModuleType, cancelled: Event) -> bytes:
    """Build an engine in this thread; see `plan_from_onnx`."""
    trt = as_library(module)
    logger, log = logger_of(module)
    log.clear()
    failed: list[BaseException] = []
    without = contextlib.nullcontext()
    with without if wanted.number is None else cudart.load().on(wanted.number):
        try:
            builder = trt.Builder(logger)
        except TypeError as error:  # pybind11's answer to a null pointer
            raise BackendError(
                f"{trt.__name__} cannot build here ({log.reason()}); check that the GPU's driver "
                "is new enough for it"
            ) from error
        network = builder.create_network(_network_flags(trt))
        _parse(model, network, logger, log, trt)
        network.name = wanted.name  # in place of the ONNX graph's, which the parser has set
        config = builder.create_builder_config()
        _set_precision(config, wanted.precision, trt)
        if wanted.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wanted.workspace)
        if hasattr(config, "progress_monitor"):
            config.progress_monitor = _monitor(wanted.progress, cancelled, failed, module)
        if wanted.cache is not None:
            use_cache(config, wanted.cache)
        if hasattr(config, "set_compute_capability"):
            _set_chips(config, wanted.chips, module)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise failed[0] if failed else _failure(trt.__name__, model, log.reason())
        if wanted.cache is not None:
            keep_cache(config, wanted.cache)
        return bytes(plan)


def _network_flags(trt: Library) -> int:
    """Return the flags of a network that ONNX can be parsed into.

    8.6 needs the flag for an explicit batch, which 10 always has; 11 lacks the flag.
    """
    if not hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _parse(
    model: Path,
    network: trt.INetworkDefinition,
    logger: trt.ILogger,
    log: Log,
    library: Library,
) -> None:
    """Read an ONNX file into a network.

    Raises:
        ModelError: TensorRT does not take the model.
    """
    # The parser owns the weights until the engine is built; the network keeps it alive.
    parser = library.OnnxParser(network, logger)
    if parser.parse_from_file(str(model)):
        return
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    reasons = "; ".join(f"node {each.node()}: {' '.join(each.desc().split())}" for each in errors)
    # For a file that is not a model at all, the reason is in the log alone.
    raise ModelError(
        f"{library.__name__} {library.__version__} cannot read {model} "
        f"({reasons or log.reason()}); check that the file is whole, or export it again with "
        "--graph conv2d"
    )


def _set_precision(config: trt.IBuilderConfig, precision: str, library: Library) -> None:
    """Set the flags of a precision, as far as this TensorRT has them."""
    if precision == "fp32":
        # On by default; it rounds to ten bits of mantissa.
        config.clear_flag(library.BuilderFlag.TF32)
    elif hasattr(library.BuilderFlag, "FP16"):
        # For int8 too: what is not quantised should not fall back to fp32.
        config.set_flag(library.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(library.BuilderFlag.INT8)


def _set_chips(config: trt.IBuilderConfig, chips: tuple[str, ...], module: ModuleType) -> None:
    """Name the compute capabilities to build for, in TensorRT for RTX."""
    if TYPE_CHECKING:  # the other library lacks it
        from tensorrt import ComputeCapability
    else:
        ComputeCapability = module.ComputeCapability  # noqa: N806
    if chips:
        config.num_compute_capabilities = len(chips)
    for index, chip in enumerate(chips):
        config.set_compute_capability(ComputeCapability(int(chip.replace(".", ""))), index)


def _failure(name: str, model: Path, reason: str) -> R2PError:
    """Return the error to raise where TensorRT builds no engine, with advice that fits."""
    sentence = f"{name} built no engine of {model} ({reason})"
    if "memory" in reason.lower():
        return BackendError(f"{sentence}; close what else uses the GPU's memory")
    if "implementation" in reason.lower():
        return ModelError(f"{sentence}; give it more workspace, or another precision")
    if name == RTX:
        return ModelError(f"{sentence}; choose other chips (--chip), or another precision")
    return ModelError(f"{sentence}; trtexec --onnx={model} --verbose says more")


def _monitor(
    progress: Callable[[str], None] | None,
    cancelled: Event,
    failed: list[BaseException],
    module: ModuleType,
) -> trt.IProgressMonitor:
    """Return a monitor that reports steps to `progress` and stops the build if `cancelled`.

    Args:
        failed: list to which an exception of `progress` is added.
    """
    if TYPE_CHECKING:  # a base class has to be one that type checkers know
        from tensorrt import IProgressMonitor
    else:
        IProgressMonitor = module.IProgressMonitor  # noqa: N806

    class Monitor(IProgressMonitor):
        """A monitor; TensorRT calls it from its threads and only prints an exception."""

        def __init__(self) -> None:
            IProgressMonitor.__init__(self)
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
