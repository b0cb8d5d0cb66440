"""An ONNX artifact becomes MindSpore Lite's own `.mindir`, for one device."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from r2p_edge._files import check_folder
from r2p_edge.artifact import open_artifact
from r2p_edge.errors import UsageError
from r2p_edge.spec import ModelSpec

from .foreign import load
from .lite_converter import CHIPS, build_lite
from .operators import require_ops
from .verify import proof_of_onnx


def mindspore_lite_from_onnx(
    source: str | Path,
    path: str | Path,
    *,
    device: Literal["cpu", "ascend310", "ascend310p", "ascend310b"] = "cpu",
    config: str | None = None,
    timeout: float = 3600.0,
) -> ModelSpec:
    """Writes an ONNX artifact as a `.mindir` that is optimised for one device and runs on no other.

    Args:
        source: an fp32 ONNX file with a spec; for "cpu" and "ascend310b" one without 3-D
            convolutions.
        path: the .mindir file to write, and beside it a sidecar with its spec.
        config: further settings, see `converter_config`.
        timeout: seconds that the converter may take.

    Returns:
        The spec of the file: fp32 for the CPU, fp16 for Ascend. Its parity is that with `source`,
        and under "onnx" that of `source` with what it was made from; it is None for an Ascend
        artifact on a machine that has no Ascend or not the library, where nothing can prove it.

    Raises:
        UsageError: `path`, `device` or `config` is wrong, or `source` is not fp32.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`,
            has what the device lacks, or the converter refuses it.
        ParityError: the result does not answer as `source` does; nothing is written.
        BackendError: the converter does not work; MissingDependencyError where it, or for the CPU
            mindspore_lite, is not installed.
        OutputError: `path` cannot be written.
    """
    source, path = Path(source), Path(path)
    if path.suffix != ".mindir":
        raise UsageError(f"{path} is to become a MindIR file, whose name must end in .mindir")
    check_folder(path)
    planned = plan_lite(source, device)
    proof = proof_of_onnx(source)
    return build_lite(source, path, planned, proof, device=device, config=config, timeout=timeout)


def plan_lite(source: Path, device: str) -> ModelSpec:
    """The spec that Lite's form of an ONNX artifact for a device will have.

    Raises:
        UsageError: there is no such device, or `source` is not fp32.
        ModelError: `source` has what the device lacks.
    """
    if device != "cpu" and device not in CHIPS:
        raise UsageError(f"device is {device!r}; it must be one of cpu, {', '.join(CHIPS)}")
    original = open_artifact(source).spec
    if original.precision != "fp32":
        raise UsageError(f"{source} is {original.precision}; Lite converts fp32, so export it so")
    precision: Literal["fp32", "fp16"] = "fp32" if device == "cpu" else "fp16"
    target = "mindspore-lite" if device == "cpu" else device
    require_ops(load(source), target, precision=precision)
    return original.replace(
        precision=precision,
        target={"runtime": "mindspore_lite", "device": device},
        parity=None,
    )
