"""Building a TensorRT engine on the machine that it is for, and proving it.

Nothing here needs onnx, because it also runs on the target, out of a kit (`kit.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import BackendError, MissingDependencyError
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.tensorrt.trtexec import (
    PROGRAM,
    Trtexec,
    find_trtexec,
    prove_by_trtexec,
)
from r2p_edge.export.verify.parity import ParityReference, check_parity
from r2p_edge.runtimes.tensorrt import cudart
from r2p_edge.runtimes.tensorrt.build import BuildOptions, plan_from_onnx, strongly_typed
from r2p_edge.runtimes.tensorrt.plan_header import read_plan
from r2p_edge.runtimes.tensorrt.runtime import TensorRT
from r2p_edge.runtimes.tensorrt.session import CONTRACT
from r2p_edge.spec import ModelSpec

_SHARED_WORKSPACE = 2 << 30  # where the GPU's memory is the CPU's, and not to be had whole

TYPED = "typed.onnx"
"""What the file of `Models.typed` is called."""


class Models(NamedTuple):
    """The ONNX files that an engine can be built from.

    Attributes:
        plain: in fp32, or in int8 with Q/DQ nodes.
        typed: the same network in the types to compute in, for TensorRT that has no flags for
            them; None where that is `plain`.
    """

    plain: Path
    typed: Path | None


def can_build() -> bool:
    """Whether this machine has a GPU, and TensorRT in one form or another.

    Raises:
        BackendError: there is one, and it does not work.
    """
    try:
        _tool()
        return cudart.load().device_count() > 0
    except MissingDependencyError:
        return False


def build_engine(
    models: Models,
    path: Path,
    planned: ModelSpec,
    proof: ParityReference,
    *,
    workspace: int | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> ModelSpec:
    """Builds an engine for the first GPU of this machine and writes it and its sidecar.

    Args:
        models: the ONNX files.
        path: the .engine file to write.
        planned: the spec that the file is to have, without what only the result shows.
        proof: what the file must answer to what.
        workspace: bytes of GPU memory that kernels may use while they run.
        cache: folder for timing caches, which make the next build faster.
        progress: called with what TensorRT is doing.

    Returns:
        The spec of the file.

    Raises:
        ModelError: TensorRT refuses the model; ParityError where it answers otherwise.
        BackendError: TensorRT does not work, or there is no GPU; MissingDependencyError where
            neither its Python module nor trtexec is installed.
        OutputError: `path` cannot be written, or there is no folder for the cache.
    """
    check_folder(path)
    if cache is not None:
        check_folder(cache / "timing")
    tool = _tool()
    cuda = cudart.load()
    if cuda.device_count() == 0:
        raise BackendError(
            "there is no NVIDIA GPU here, and an engine is built on the one that it is for; "
            "export a kit where there is no TensorRT, and build it on the device"
        )
    model = models.typed if models.typed is not None and tool.strongly_typed() else models.plain
    chip = cuda.chip(0)
    if workspace is None and chip.integrated:
        workspace = _SHARED_WORKSPACE
    options = BuildOptions(
        name=CONTRACT + planned.contract_digest(),
        precision=planned.precision,
        workspace=workspace,
        cache=None if cache is None else cache / _cache_name(tool, chip, cuda.versions()[0]),
        progress=progress,
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.engine"
        tool.build(model, draft, options)
        version = read_plan(draft).version
        spec = planned.replace(
            target={
                **(planned.target or {}),
                "tensorrt": ".".join(map(str, version)) if version else tool.version(),
                "compute_capability": chip.compute_capability,
                "multiprocessors": chip.multiprocessors,
                "cuda": cuda.versions()[0],
                "tool": tool.name,
            },
            built_with={**(planned.built_with or {}), **built_with()},
            parity=None,
        )
        spec = spec.replace(parity=tool.prove(draft, spec, proof))
        atomic_write(path, draft.read_bytes())
    write_sidecar(path, spec)
    return spec


class _Tool(Protocol):
    """A form of TensorRT that builds engines."""

    name: str

    def version(self) -> str: ...

    def strongly_typed(self) -> bool: ...

    def build(self, model: Path, draft: Path, options: BuildOptions) -> None: ...

    def prove(self, draft: Path, spec: ModelSpec, proof: ParityReference) -> dict[str, Any]: ...


class _Module:
    """TensorRT's Python module."""

    name = "tensorrt"

    def version(self) -> str:
        return str(TensorRT.library().__version__)

    def strongly_typed(self) -> bool:
        return strongly_typed()

    def build(self, model: Path, draft: Path, options: BuildOptions) -> None:
        draft.write_bytes(plan_from_onnx(model, options))

    def prove(self, draft: Path, spec: ModelSpec, proof: ParityReference) -> dict[str, Any]:
        return check_parity(draft, spec, proof, TensorRT, artifact="the TensorRT engine")


class _Program:
    """trtexec, which tells neither its progress nor the engine our contract."""

    name = "trtexec"

    def __init__(self, program: Path) -> None:
        self._trtexec = Trtexec(program)

    def version(self) -> str:
        return ".".join(map(str, self._trtexec.version()))

    def strongly_typed(self) -> bool:
        return self._trtexec.strongly_typed()

    def build(self, model: Path, draft: Path, options: BuildOptions) -> None:
        self._trtexec.build(
            model,
            draft,
            precision=options.precision,
            workspace=options.workspace,
            timing_cache=options.cache,
        )

    def prove(self, draft: Path, spec: ModelSpec, proof: ParityReference) -> dict[str, Any]:
        return prove_by_trtexec(draft, spec, proof, self._trtexec)


def _cache_name(tool: _Tool, chip: cudart.Chip, cuda: str) -> str:
    """Timings hold for one version of everything on one kind of GPU; trtexec takes any."""
    gpu = f"sm{chip.compute_capability}-{chip.multiprocessors}"
    return f"{tool.name}-{tool.version()}-{gpu}-cuda{cuda}.timing"


def _tool() -> _Tool:
    """The Python module, which can do more; else trtexec.

    Raises:
        MissingDependencyError: neither is here.
        BackendError: the module is here and does not work.
    """
    try:
        TensorRT.library()
    except MissingDependencyError as error:
        if (program := find_trtexec()) is None:
            raise MissingDependencyError(
                f"there is neither TensorRT's Python module nor its trtexec here: {error}; or set "
                f"{PROGRAM} to the program"
            ) from error
        return _Program(program)
    return _Module()


def build_engine_of_kit(
    model: Path, path: Path, planned: ModelSpec, proof: ParityReference
) -> ModelSpec:
    """`build_engine` in a kit's folder, where the next build finds its timing cache too."""
    typed = model.with_name(TYPED)
    models = Models(model, typed if typed.is_file() else None)
    return build_engine(models, path, planned, proof, cache=model.parent)
