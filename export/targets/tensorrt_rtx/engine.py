"""Building an engine of TensorRT for RTX, with or without a GPU.

Nothing here needs onnx, because it also runs where a kit is taken to (`kit.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import MissingDependencyError
from r2p_edge.export.packages import built_with
from r2p_edge.export.verify.parity import ParityReference, check_parity
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.build import BuildOptions, plan_from_onnx
from r2p_edge.runtimes.tensorrt.library import import_rtx
from r2p_edge.runtimes.tensorrt.plan_header import RTX_CHIPS, read_plan
from r2p_edge.runtimes.tensorrt.rtx import TensorRTForRTX
from r2p_edge.runtimes.tensorrt.session import CONTRACT
from r2p_edge.spec import ModelSpec


def build_rtx(
    model: Path,
    path: Path,
    planned: ModelSpec,
    reference: ParityReference,
    *,
    progress: Callable[[str], None] | None = None,
) -> ModelSpec:
    """Build an engine; write it and its sidecar.

    Args:
        model: the ONNX file, in the types to compute in.
        path: the .engine file to write.
        planned: the spec that the file is to have, but for the records of the build itself; its
            target may name chips.
        reference: reference inputs, and the outputs that the engine must reproduce.
        progress: called with each step that the library reports.

    Returns:
        The spec of the file. Its parity is None where no GPU here runs the engine.

    Raises:
        ModelError: the library refuses the model; ParityError where the engine's outputs differ.
        BackendError: the library or CUDA does not work; MissingDependencyError where the library is
            not installed.
        OutputError: `path` cannot be written.
    """
    check_folder(path)
    module = import_rtx()
    assert planned.target is not None
    options = BuildOptions(
        name=CONTRACT + planned.contract_digest(),
        precision=planned.precision,
        number=None,
        chips=tuple(RTX_CHIPS[name] for name in planned.target.get("chips", ())),
        progress=progress,
    )
    with scratch_folder(path) as folder:
        draft = folder / "draft.engine"
        draft.write_bytes(plan_from_onnx(model, options, module))
        plan = read_plan(draft)
        names = [name for name, capability in RTX_CHIPS.items() if capability in plan.chips]
        spec = planned.replace(
            target={**planned.target, "chips": names, "tensorrt_rtx": module.__version__},
            built_with={**(planned.built_with or {}), **built_with()},
            parity=None,
        )
        if _runs_here(plan.chips):
            title = "the engine of TensorRT for RTX"
            found = check_parity(draft, spec, reference, TensorRTForRTX, artifact=title)
            spec = spec.replace(parity=found)
        write_artifact(path, spec, draft.read_bytes())
    return spec


def _runs_here(chips: tuple[str, ...]) -> bool:
    """Return whether this machine's first GPU is one of these compute capabilities."""
    try:
        cuda = cudart.load()
    except MissingDependencyError:  # as on most machines without a GPU
        return False
    return cuda.device_count() > 0 and cuda.chip(0).compute_capability in chips


def build_rtx_of_kit(
    model: Path, path: Path, planned: ModelSpec, reference: ParityReference
) -> ModelSpec:
    """Build the engine of a kit, whose ONNX file is in the types to compute in."""
    return build_rtx(model, path, planned, reference)
