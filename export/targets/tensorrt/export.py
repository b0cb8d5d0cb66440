"""An ONNX artifact becomes a TensorRT engine, on the machine that has the GPU."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from r2p_edge._optional import missing
from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import MissingDependencyError, UsageError
from r2p_edge.export.graph.float16 import half_from_float
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.operators import require_ops
from r2p_edge.export.targets.tensorrt.engine import TYPED, Models, build_engine
from r2p_edge.export.verify.parity import parity_reference
from r2p_edge.runtimes.tensorrt.runtime import TensorRT
from r2p_edge.spec import ModelSpec

try:
    import onnx  # noqa: F401
except ImportError as error:
    raise missing("onnx", "export") from error


def tensorrt_from_onnx(
    source: str | Path,
    path: str | Path,
    *,
    precision: Literal["fp32", "fp16", "int8"] | None = None,
    workspace: int | None = None,
    cache: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> ModelSpec:
    """Writes an ONNX artifact as an engine for this machine's first GPU, and a sidecar.

    Args:
        source: an ONNX file with a spec, in fp32, or in int8 with Q/DQ nodes.
        path: the .engine file to write.
        precision: by default that of `source`. What is not int8 in an int8 engine is in fp16.
        workspace: bytes of GPU memory that kernels may use while they run; by default what
            TensorRT thinks right, and at most 2 GiB where CPU and GPU share their memory.
        cache: a folder for timing caches, which make the next build on this machine faster.
        progress: called with what TensorRT, from 10 on, is doing.

    Returns:
        The spec of the file. Its parity is that with `source`, and under "onnx" that of `source`
        with what it was made from.

    Raises:
        UsageError: `path` or `precision` is wrong.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`, or
            has what TensorRT refuses.
        ParityError: the engine does not answer as `source` does; nothing is written.
        BackendError: TensorRT does not work here, or finds no GPU; MissingDependencyError where
            it is not installed.
        OutputError: `path` cannot be written.
    """
    source, path = Path(source), Path(path)
    if path.suffix not in (".engine", ".plan"):
        raise UsageError(f"{path} is to become an engine, whose name must end in .engine or .plan")
    check_folder(path)
    planned = plan_tensorrt(source, precision)
    proof = parity_reference(source)
    with tempfile.TemporaryDirectory() as folder:
        return build_engine(
            models_for(source, planned, Path(folder)),
            path,
            planned,
            proof,
            workspace=workspace,
            cache=None if cache is None else Path(cache),
            progress=progress,
        )


def plan_tensorrt(source: Path, precision: str | None) -> ModelSpec:
    """The spec that the engine of an ONNX artifact will have.

    Raises:
        UsageError: `source` cannot become that precision.
        ModelError: `source` has what no TensorRT runs.
    """
    original = open_artifact(source).spec
    wanted = precision or original.precision
    becomes = {"fp32": ("fp32", "fp16"), "int8": ("int8",)}.get(original.precision, ())
    if wanted not in becomes:
        raise UsageError(
            f"{source} is {original.precision} and cannot become {wanted}; export it in fp32, "
            "which can become fp32 or fp16, or calibrate it for int8"
        )
    require_ops(load_onnx(source), _limits())
    return original.replace(
        precision=wanted,
        target={"runtime": "tensorrt", "device": "cuda"},
        parity=None,
        accuracy=None,
    )


def _limits() -> str:
    """Those of the TensorRT that is here; of the newest where it is not known yet."""
    try:
        major = str(TensorRT.library().__version__).partition(".")[0]
    except MissingDependencyError:
        major = "11"
    return {"8": "tensorrt", "10": "tensorrt10"}.get(major, "tensorrt11")


def models_for(source: Path, planned: ModelSpec, folder: Path) -> Models:
    """`source`, and in `folder` its form for TensorRT that takes precision from the file alone."""
    if planned.precision == "fp32":
        return Models(source, None)
    typed = folder / TYPED
    atomic_write(typed, half_from_float(load_onnx(source)).SerializeToString())
    return Models(source, typed)
