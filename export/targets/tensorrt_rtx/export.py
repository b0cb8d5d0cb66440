"""Engine of TensorRT for RTX for an ONNX artifact, or a kit where the library is not installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import MissingDependencyError, UsageError
from r2p_edge.export.graph.dense import conv_from_dense
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.targets.base import Built, OnnxForm, TargetOptions, file_stem
from r2p_edge.export.targets.kit import write_kit
from r2p_edge.export.targets.tensorrt.engine import TYPED
from r2p_edge.export.targets.tensorrt.export import check_engine_name, models_for, plan_engine
from r2p_edge.export.targets.tensorrt_rtx.engine import build_rtx
from r2p_edge.export.verify.parity import parity_reference
from r2p_edge.runtimes.tensorrt.library import import_rtx
from r2p_edge.runtimes.tensorrt.plan_header import RTX_CHIPS
from r2p_edge.spec import ModelSpec

_LIMITS, _TURING = "tensorrt-rtx", "tensorrt-rtx-sm75"


def rtx_artifact(source: OnnxForm, out: Path, options: TargetOptions) -> Built:
    """Build the "tensorrt-rtx" target: an engine, or a kit where the library is not installed."""
    planned = plan_rtx(source.path, options.precision, options.chips)
    stem = file_stem(planned, "-".join(("-rtx", *options.chips)))
    path = out / f"{stem}.engine"
    reference = parity_reference(source.path)
    with scratch_folder(source.path) as scratch:
        model = _typed(source.path, planned, scratch)
        try:
            spec = build_rtx(model, path, planned, reference, progress=options.progress)
        except MissingDependencyError:
            folder = out / f"{stem}-kit"
            write_kit(options.target, model, planned, reference, folder, path.name)
            return Built(options.target, folder, planned, "kit")
    return Built(options.target, path, spec)


def tensorrt_rtx_from_onnx(
    source: str | Path,
    path: str | Path,
    *,
    precision: Literal["fp32", "fp16", "int8"] | None = None,
    chips: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> ModelSpec:
    """Write an ONNX artifact as an engine of TensorRT for RTX, and a sidecar; no GPU is needed.

    Args:
        source: an ONNX file with a spec, in fp32, or in int8 with Q/DQ nodes.
        path: the .engine file to write.
        precision: by default that of `source`. Layers of an int8 engine that are not int8 are fp16.
        chips: chips to build for, "sm75", "sm80", "sm86", "sm89", "sm120", "sm121"; by default all
            from Ampere, sm80, on. Turing, sm75, can make the engine slower on the others, and has
            fp32 for models without 3-D convolutions only.
        progress: called with each step that the library reports.

    Returns:
        The spec of the file. Its parity compares it with `source`, and is None where no GPU here
        runs the engine; under "onnx" is the parity record of `source` itself.

    Raises:
        UsageError: `path`, `precision` or `chips` is wrong.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`, or
            has an operator that the library or a chip refuses.
        ParityError: the engine's outputs differ from those of `source`; nothing is written.
        BackendError: the library does not work here; MissingDependencyError where it is not
            installed.
        OutputError: `path` cannot be written.
    """
    source, path = Path(source), Path(path)
    check_engine_name(path)
    unknown = [chip for chip in chips if chip not in RTX_CHIPS]
    if unknown:
        raise UsageError(f"no chip {', '.join(unknown)}; choose from {', '.join(RTX_CHIPS)}")
    check_folder(path)
    planned = plan_rtx(source, precision, tuple(chips))
    import_rtx()
    reference = parity_reference(source)
    with scratch_folder(source) as folder:
        model = _typed(source, planned, folder)
        return build_rtx(model, path, planned, reference, progress=progress)


def plan_rtx(source: Path, precision: str | None, chips: tuple[str, ...]) -> ModelSpec:
    """Return the spec that the engine of an ONNX artifact is to have.

    Raises:
        UsageError: `source` cannot become that precision.
        ModelError: `source` has an operator that the library, or a chip, does not run.
    """
    target: dict[str, Any] = {"runtime": "tensorrt_rtx", "device": "cuda"}
    if chips:
        target["chips"] = list(chips)
    if "sm75" in chips:
        # In fp32 it has convolutions of two axes and no dense layers.
        return plan_engine("tensorrt-rtx", source, precision, target, _TURING, conv_from_dense)
    return plan_engine("tensorrt-rtx", source, precision, target, _LIMITS)


def _typed(source: Path, planned: ModelSpec, folder: Path) -> Path:
    """Return the ONNX file in the types to compute in, the only ones that the library knows.

    Its builder turns other scales into float32 and warns of each.
    """
    assert planned.target is not None
    if planned.precision == "fp32" and "sm75" in planned.target.get("chips", ()):
        path = folder / TYPED
        atomic_write(path, conv_from_dense(load_onnx(source)).SerializeToString())
        return path
    models = models_for(source, planned, folder, float32_scales=True)
    return models.plain if models.typed is None else models.typed
