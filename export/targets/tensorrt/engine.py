"""Building a TensorRT engine on the machine that it is for, and verifying it.

Nothing here needs onnx, because it also runs on the device, out of a kit (`kit.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, warn_caller
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.tensorrt.parts import EngineOfForm, build_parts, check_tool
from r2p_edge.export.targets.tensorrt.power_mode import power_mode
from r2p_edge.export.targets.tensorrt.tools import Tool, find_tool
from r2p_edge.export.verify.parity import ParityReference
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.build import BuildOptions
from r2p_edge.runtimes.tensorrt.plan_header import read_plan
from r2p_edge.runtimes.tensorrt.session import CONTRACT
from r2p_edge.spec import ModelSpec

# Where the GPU shares the CPU's memory, and cannot take all of it; half of what is left if that is
# less.
_SHARED_WORKSPACE = 2 << 30

TYPED = "typed.onnx"
"""Name of the file `Models.typed`."""


class Models(NamedTuple):
    """The ONNX files that an engine can be built from.

    Attributes:
        plain: model in fp32, or in int8 with Q/DQ nodes.
        typed: the same network in the types to compute in, for a TensorRT that has no flags for
            them; None where that is `plain`.
    """

    plain: Path
    typed: Path | None

    def fitting(self, strongly_typed: bool) -> Path:
        """Return the one for a TensorRT that takes precision from the file alone, or by flags."""
        return self.typed if self.typed is not None and strongly_typed else self.plain


def can_build() -> bool:
    """Return whether this machine has a GPU, and TensorRT's Python module or trtexec.

    Raises:
        BackendError: TensorRT or CUDA is installed and does not work.
        UsageError: R2P_TRTEXEC names no program.
    """
    try:
        find_tool()
        return cudart.load().device_count() > 0
    except MissingDependencyError:
        return False


def build_engine(
    models: Models,
    path: Path,
    planned: ModelSpec,
    reference: ParityReference,
    *,
    parts: Mapping[str, Models] | None = None,
    workspace: int | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> ModelSpec:
    """Build an engine for the first GPU of this machine; write it and its sidecar.

    Args:
        models: the ONNX files.
        path: the .engine file to write.
        planned: the spec that the file is to have, but for the records of the build itself.
        reference: reference inputs, and the outputs that the engine must reproduce.
        parts: the ONNX files of the parts of its form with state, by name, if `planned` has one.
        workspace: bytes of GPU memory that kernels may use while they run.
        cache: folder for timing caches, which make the next build faster.
        progress: called with each step that TensorRT reports.

    Returns:
        The spec of the file.

    Raises:
        ModelError: TensorRT refuses the model; ParityError where the engine's outputs differ.
        BackendError: TensorRT does not work, or there is no GPU; MissingDependencyError where
            neither its Python module nor trtexec is installed.
        OutputError: `path` cannot be written, or there is no folder for the cache.
    """
    check_folder(path)
    if cache is not None:
        check_folder(cache / "timing")
    tool = find_tool()
    if parts:
        check_tool(tool)
    cuda = cudart.load()
    if cuda.device_count() == 0:
        raise BackendError(
            "there is no NVIDIA GPU here, and an engine is built on the one that it is for; "
            "export a kit where there is no TensorRT, and build it on the device"
        )
    _check_fits(planned, tool)
    typed = tool.strongly_typed()
    model = models.fitting(typed)
    chip = cuda.chip(0)
    if workspace is None and chip.integrated:
        with cuda.on(0):
            workspace = min(_SHARED_WORKSPACE, cuda.free_memory() // 2)
    options = BuildOptions(
        name=CONTRACT + planned.contract_digest(),
        precision=planned.precision,
        workspace=workspace,
        cache=None if cache is None else cache / _cache_name(tool, chip, cuda.versions()[0]),
        progress=progress,
    )
    with scratch_folder(path) as folder:
        draft = folder / "draft.engine"
        skipped = tool.build(model, draft, options)
        version = read_plan(draft).version
        # Which others a kit would fit says nothing of an engine, which fits one.
        target = {name: value for name, value in (planned.target or {}).items() if name != "fits"}
        spec = planned.replace(
            target={
                **target,
                "tensorrt": ".".join(map(str, version)) if version else tool.version(),
                "compute_capability": chip.compute_capability,
                "multiprocessors": chip.multiprocessors,
                "cuda": cuda.versions()[0],
                "tool": tool.name,
                **({"power_mode": mode} if (mode := power_mode()) else {}),
                **({"skipped_tactics": skipped} if skipped else {}),
            },
            built_with={**(planned.built_with or {}), **built_with()},
            parity=None,
        )
        spec = spec.replace(parity=tool.check_parity(draft, spec, reference))
        made = EngineOfForm(spec, {})
        if parts:
            fitting = {name: each.fitting(typed) for name, each in parts.items()}
            made = build_parts(fitting, path, draft, spec, reference, tool, options)
            spec, skipped = made.spec, skipped + made.skipped
        write_artifact(path, spec, draft.read_bytes(), parts=made.parts)
    if skipped:
        warn_caller(_left_out(path, skipped, options.cache, chip), RuntimeWarning)
    return spec


def _check_fits(planned: ModelSpec, tool: Tool) -> None:
    """Compare what a kit says that it fits with the TensorRT that is here.

    Raises:
        ModelError: it is older.
    """
    fits = (planned.target or {}).get("fits", "")
    oldest = re.match(r"TensorRT (\d+)", fits)
    if oldest and int(tool.version().partition(".")[0]) < int(oldest[1]):
        raise ModelError(
            f"the model is for {fits}, and here is TensorRT {tool.version()}; export it with an "
            "older opset, or update JetPack"
        )


def _left_out(path: Path, skipped: int, cache: Path | None, chip: cudart.Chip) -> str:
    """Return the warning that memory was short while an engine was built."""
    steps = ["close what else uses memory"]
    if chip.integrated:
        steps.append("sudo sysctl vm.drop_caches=3")
    if cache is not None:  # it knows no time of what was left out
        steps.append(f"delete {cache}")
    return (
        f"TensorRT did not try {skipped} kernels for {path} for want of memory, and others may be "
        f"slower; {', '.join(steps)} and build again"
    )


def build_engine_of_kit(
    model: Path, path: Path, planned: ModelSpec, reference: ParityReference
) -> ModelSpec:
    """Build the engine of a kit in its folder, which keeps the timing cache for the next build."""
    parts = {} if planned.per_frame is None else planned.per_frame.parts
    return build_engine(
        _models_beside(model, TYPED),
        path,
        planned,
        reference,
        parts={
            name: _models_beside(model.with_name(part.file), typed_name(name))
            for name, part in parts.items()
        },
        cache=model.parent,
    )


def _models_beside(model: Path, name: str) -> Models:
    typed = model.with_name(name)
    return Models(model, typed if typed.is_file() else None)


def typed_name(part: str) -> str:
    """Return the name of the file of a part that is as `TYPED` is for its model."""
    return f"{part}-{TYPED}"


def _cache_name(tool: Tool, chip: cudart.Chip, cuda: str) -> str:
    """Return the name of a timing cache: timings are valid for one TensorRT, GPU and CUDA alone.

    The Python module refuses a cache of another machine; trtexec takes any, and both take one of
    another power mode.
    """
    gpu = f"sm{chip.compute_capability}-{chip.multiprocessors}"
    if mode := power_mode():
        gpu += "-" + re.sub(r"\W", "_", mode)
    return f"{tool.name}-{tool.version()}-{gpu}-cuda{cuda}.timing"
