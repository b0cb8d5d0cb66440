"""Parity checks: artifacts reproduce the outputs of their sources within a tolerance."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from r2p_edge.agreement import TOLERANCE, Agreement, agreement, within_tolerance
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ParityError
from r2p_edge.export.verify.first_difference import Activations, difference_from
from r2p_edge.export.verify.ort_session import open_session, run_runtime, run_session
from r2p_edge.export.verify.synthetic_clips import input_from_clips, verification_clips
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.runtimes.onnxruntime import OnnxRuntime
from r2p_edge.spec import ModelSpec


class ParityReference(NamedTuple):
    """Reference inputs and the outputs an artifact must reproduce.

    Attributes:
        inputs: of the artifact, (N, ...), in the shape and dtype of its spec.
        outputs: of the artifact's source, (N, classes).
        of_source: the parity record of the source itself.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    of_source: Mapping[str, Any] | None


def parity_reference(source: Path, planned: ModelSpec | None = None) -> ParityReference:
    """Compute the outputs of an ONNX artifact for synthetic clips.

    Args:
        source: the ONNX artifact.
        planned: spec of the artifact that is to reproduce them, where its input is another one.

    Raises:
        ModelError, SpecError: see `open_artifact`; or ONNX Runtime cannot run it.
        BackendError: onnxruntime is not installed, or cannot be imported.
    """
    spec = open_artifact(source).spec
    clips = verification_clips(spec)
    inputs = input_from_clips(clips, spec)
    outputs = run_session(open_session(source), inputs)
    taken = inputs if planned is None else input_from_clips(clips, planned)
    return ParityReference(taken, outputs, spec.parity)


def parity_record(
    found: Agreement, precision: str, *, reference: str, artifact: str
) -> dict[str, Any]:
    """Return `found` as the `parity` record of a spec.

    Args:
        found: agreement of the artifact with its source.
        precision: of the artifact; decides the tolerance, see `TOLERANCE`.
        reference: the source: "numpy", "onnx", "torch 2.13.0".
        artifact: name of the artifact in the error.

    Raises:
        ParityError: the tolerance is exceeded.
    """
    record: dict[str, Any] = {"reference": reference, **_rounded(found)}
    if precision in TOLERANCE:
        figure, limit = TOLERANCE[precision]
        record["tolerance"] = {figure: limit}
        if not within_tolerance(found, precision):
            raise ParityError(_complaint(found, precision, reference, artifact))
    return record


def check_parity(
    draft: Path,
    spec: ModelSpec,
    reference: ParityReference,
    runtime: type[Runtime],
    *,
    artifact: str,
    device: str | None = None,
) -> dict[str, Any]:
    """Run an artifact on a runtime and compare its outputs with those of its source.

    Args:
        draft: the artifact's file.
        spec: its contract.
        reference: the inputs, and the source's outputs.
        runtime: to run it on.
        artifact: name of the artifact in the error.
        device: to run it on; None for the one that it was made for.

    Returns:
        The `parity` record of its spec.

    Raises:
        ParityError: the tolerance of `spec.precision` is exceeded.
        ModelError, BackendError: the runtime cannot load or run it.
    """
    with contextlib.closing(runtime.open(draft, spec, Options(device=device))) as model:
        found = agreement(reference.outputs, run_runtime(model, reference.inputs))
    record = parity_record(found, spec.precision, reference="onnx", artifact=artifact)
    # OpenVINO's version goes on with its build.
    version = str(runtime.library().__version__).partition("-")[0]
    return {
        **record,
        "runtime": f"{model.name} {version} on {model.device}",
        "computed_in": model.precision,
        "onnx": reference.of_source,
    }


def verify_onnx(
    model: bytes | str | Path,
    spec: ModelSpec,
    clips: np.ndarray,
    logits: np.ndarray,
    *,
    reference: str,
    activations: Activations | None = None,
) -> dict[str, Any]:
    """Run an ONNX model in ONNX Runtime on the CPU and compare its outputs with the source's.

    Args:
        model: the file's path or content.
        spec: describes its input and precision.
        clips: uint8 (N, T, H, W, 3).
        logits: the source's outputs for them, (N, classes).
        reference: names the source, see `parity_record`.
        activations: if given, a failure names the first tensor that differs from these.

    Returns:
        The `parity` record of the spec, with the runtime that ran the model.

    Raises:
        ParityError: the outputs differ by more than the tolerance of `spec.precision`.
        ModelError: ONNX Runtime cannot load or run the model.
        MissingDependencyError: onnxruntime is not installed.
    """
    artifact = "the ONNX model" if isinstance(model, bytes) else str(model)
    session = open_session(model)
    outputs = run_session(session, input_from_clips(clips, spec))
    try:
        found = agreement(logits, outputs)
        record = parity_record(found, spec.precision, reference=reference, artifact=artifact)
    except ParityError as error:
        if activations is None or outputs.shape != logits.shape:
            raise
        worst = int(np.abs(outputs - logits).max(axis=1).argmax())
        clip = clips[worst : worst + 1]
        first = difference_from(activations(clip), model, input_from_clips(clip, spec))
        raise ParityError(f"{error}; {first}") from error
    return {**record, "runtime": f"onnxruntime {OnnxRuntime.library().__version__}"}


def _complaint(found: Agreement, precision: str, reference: str, artifact: str) -> str:
    figure, limit = TOLERANCE[precision]
    allowed = f"{limit:g}" if figure == "max_rel" else f"a cosine of {limit:g}"
    return (
        f"{artifact} does not answer as its source ({reference}) does: over {found.clips} clips "
        f"the logits differ by up to {found.max_abs:.3g}, {found.max_rel:.3g} of the largest "
        f"(cosine {found.cosine:.6f}, top-1 equal for {found.top1:.0%}), where {precision} "
        f"allows {allowed}; do not use it"
    )


def _rounded(found: Agreement) -> dict[str, Any]:
    # Further digits change with the number of threads and would only look precise.
    return {
        "clips": found.clips,
        "max_abs": float(f"{found.max_abs:.3g}"),
        "max_rel": float(f"{found.max_rel:.3g}"),
        "cosine": round(found.cosine, 6),
        "top1": round(found.top1, 4),
    }
