"""TensorRT engine of an ONNX artifact, or a kit that builds it on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from r2p_edge._optional import missing
from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import MissingDependencyError, UsageError
from r2p_edge.export.graph.float16 import half_from_float
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.operator_limits import OPERATOR_LIMITS
from r2p_edge.export.graph.operators import check_ops, require_ops
from r2p_edge.export.targets.base import (
    Built,
    OnnxForm,
    TargetOptions,
    file_stem,
    fresh_spec,
)
from r2p_edge.export.targets.kit import write_kit
from r2p_edge.export.targets.table import contract_for
from r2p_edge.export.targets.tensorrt.engine import (
    TYPED,
    Models,
    build_engine,
    can_build,
    typed_name,
)
from r2p_edge.export.verify.parity import parity_reference
from r2p_edge.runtimes.tensorrt.runtime import TensorRT
from r2p_edge.spec import ModelSpec

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

_JETPACKS = {"tensorrt": "6.0", "tensorrt10": "6.1", "tensorrt11": "7.2.2"}
"""The first JetPack of each generation of TensorRT, by the name of its operator limits."""


def tensorrt_artifact(source: OnnxForm, out: Path, options: TargetOptions) -> Built:
    """Build the "tensorrt" target: an engine for this machine's GPU, or a kit where it has none."""
    planned = plan_tensorrt(source.path, options.precision)
    path = out / f"{file_stem(planned)}.engine"
    reference = parity_reference(source.path)
    with scratch_folder(source.path) as scratch:
        models = models_for(source.path, planned, scratch)
        parts: dict[str, Models] = {}
        if options.form is not None:
            contract, files = options.form.as_models(source, scratch)
            planned = planned.replace(per_frame=contract)
            for name, file in files.items():
                require_ops(load_onnx(file), _limits(), precision=planned.precision)
                parts[name] = models_for(file, planned, scratch, name=typed_name(name))
        if can_build():
            spec = build_engine(
                models,
                path,
                planned,
                reference,
                parts=parts,
                workspace=options.workspace,
                cache=options.timing_cache,
                progress=options.progress,
            )
            return Built(options.target, path, spec)
        planned = planned.replace(target={**(planned.target or {}), "fits": _fits(source.path)})
        folder = out / f"{file_stem(planned)}-tensorrt-kit"
        extras = {} if models.typed is None else {TYPED: models.typed}
        for each in parts.values():
            extras |= {file.name: file for file in each if file is not None}
        write_kit(options.target, models.plain, planned, reference, folder, path.name, extras)
    return Built(options.target, folder, planned, "kit")


def tensorrt_from_onnx(
    source: str | Path,
    path: str | Path,
    *,
    precision: Literal["fp32", "fp16", "int8"] | None = None,
    workspace: int | None = None,
    cache: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> ModelSpec:
    """Write an ONNX artifact as an engine for this machine's first GPU, and a sidecar.

    Args:
        source: an ONNX file with a spec, in fp32, or in int8 with Q/DQ nodes.
        path: the .engine file to write.
        precision: by default that of `source`. Layers of an int8 engine that are not int8 are fp16.
        workspace: bytes of GPU memory that kernels may use while they run; by default TensorRT's
            own choice; where CPU and GPU share their memory half of what is available, and at most
            2 GiB.
        cache: a folder for timing caches, which make the next build on this machine faster.
        progress: called with each step that TensorRT, from 10 on, reports.

    Returns:
        The spec of the file. Its parity compares it with `source`; under "onnx" is the parity
        record of `source` itself.

    Raises:
        UsageError: `path` or `precision` is wrong.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`, or
            has an operator that TensorRT refuses.
        ParityError: the engine's outputs differ from those of `source`; nothing is written.
        BackendError: TensorRT does not work here, or finds no GPU; MissingDependencyError where
            it is not installed.
        OutputError: `path` cannot be written.
    """
    source, path = Path(source), Path(path)
    check_engine_name(path)
    check_folder(path)
    planned = plan_tensorrt(source, precision)
    reference = parity_reference(source)
    with scratch_folder(source) as folder:
        return build_engine(
            models_for(source, planned, folder),
            path,
            planned,
            reference,
            workspace=workspace,
            cache=None if cache is None else Path(cache),
            progress=progress,
        )


def check_engine_name(path: Path) -> None:
    """Make sure that the name of an engine to write is one that a `Predictor` opens.

    Raises:
        UsageError: it is not.
    """
    if path.suffix not in (".engine", ".plan"):
        raise UsageError(f"{path} is to become an engine, whose name must end in .engine or .plan")


def plan_tensorrt(source: Path, precision: str | None) -> ModelSpec:
    """Return the spec that the engine of an ONNX artifact is to have.

    Raises:
        UsageError: `source` cannot become that precision.
        ModelError: `source` has an operator that no TensorRT runs.
    """
    target = {"runtime": "tensorrt", "device": "cuda"}
    return plan_engine("tensorrt", source, precision, target, _limits())


def plan_engine(
    name: str,
    source: Path,
    precision: str | None,
    target: Mapping[str, Any],
    limits: str,
    change: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None,
) -> ModelSpec:
    """Return the spec that an engine of an ONNX artifact is to have.

    Args:
        name: of the target.
        source: the ONNX file.
        precision: of the engine; None for that of `source`.
        target: record of what the engine is for.
        limits: key of the operator limits.
        change: change that is made to the model before it is built in fp32.

    Raises:
        UsageError: `source` cannot become that precision.
        ModelError: `source` has an operator that does not run there.
    """
    original = contract_for(name, source)
    wanted = precision or original.precision
    becomes = {"fp32": ("fp32", "fp16"), "int8": ("int8",)}.get(original.precision, ())
    if wanted not in becomes:
        raise UsageError(
            f"{source} is {original.precision} and cannot become {wanted}; export it in fp32, "
            "which can become fp32 or fp16, or calibrate it for int8"
        )
    model = load_onnx(source)
    if change is not None and wanted == "fp32":
        model = change(model)
    require_ops(model, limits, precision=wanted)
    return fresh_spec(original, precision=wanted, target=target)


def _limits() -> str:
    """Return the name of the operator limits of the installed TensorRT, else of the newest."""
    try:
        major = str(TensorRT.library().__version__).partition(".")[0]
    except MissingDependencyError:
        major = "11"
    return {"8": "tensorrt", "10": "tensorrt10"}.get(major, "tensorrt11")


def _fits(source: Path) -> str:
    """Return which TensorRT and JetPack run every operator of an ONNX file that the newest runs.

    A newer one runs what an older one does.
    """
    model = load_onnx(source)
    oldest = next(name for name in _JETPACKS if not check_ops(model, name))
    return f"{OPERATOR_LIMITS[oldest].title} and newer (JetPack {_JETPACKS[oldest]} and later)"


def models_for(
    source: Path,
    planned: ModelSpec,
    folder: Path,
    *,
    float32_scales: bool = False,
    name: str = TYPED,
) -> Models:
    """Return `source`, and its form for a TensorRT that takes precision from the file alone.

    The latter is written into `folder`; fp32 needs none.

    Args:
        source: the ONNX file.
        planned: the spec of the engine.
        folder: folder for the other form.
        float32_scales: see `half_from_float`. Its float16 scales are what NVIDIA's Model Optimizer
            writes for TensorRT.
        name: of the other form's file.
    """
    if planned.precision == "fp32":
        return Models(source, None)
    typed = folder / name
    model = half_from_float(load_onnx(source), float32_scales=float32_scales)
    atomic_write(typed, model.SerializeToString())
    return Models(source, typed)
