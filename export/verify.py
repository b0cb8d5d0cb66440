"""Proof that an artifact answers as its source does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from r2p_edge.compare import Agreement, agreement
from r2p_edge.errors import ModelError, ParityError
from r2p_edge.runtimes.onnxruntime import session_options
from r2p_edge.spec import ModelSpec

from ._packages import missing
from .clips import input_from_clips

if TYPE_CHECKING:
    import onnxruntime

TOLERANCE: dict[str, tuple[str, float]] = {
    "fp32": ("max_rel", 1e-4),
    "fp16": ("cosine", 0.999),
    "bf16": ("cosine", 0.999),
}
"""Per precision, the figure of `Agreement` that decides and its limit: the most that `max_rel`
may be, the least that `cosine` may be. INT8 has none: it is reported and never refused."""

Activations = Callable[[np.ndarray], Iterable[tuple[str, np.ndarray]]]
"""uint8 clips (1, T, H, W, 3) to the source's named intermediate tensors, in order."""

_CHUNK_BYTES = 256 << 20  # of intermediate tensors held while looking for the first that differs


def parity(found: Agreement, precision: str, *, reference: str, what: str) -> dict[str, Any]:
    """`found` as the `parity` record of a spec.

    Args:
        found: of the artifact with its source.
        precision: of the artifact; decides the tolerance, see `TOLERANCE`.
        reference: what it was compared with: "numpy", "onnx", "torch 2.13.0".
        what: names the artifact in the error.

    Raises:
        ParityError: the tolerance is exceeded.
    """
    record: dict[str, Any] = {"reference": reference, **_rounded(found)}
    if precision in TOLERANCE:
        figure, limit = TOLERANCE[precision]
        record["tolerance"] = {figure: limit}
        value = getattr(found, figure)
        if not (value <= limit if figure == "max_rel" else value >= limit):
            raise ParityError(_complaint(found, precision, reference, what))
    return record


def verify_onnx(
    model: bytes | str | Path,
    spec: ModelSpec,
    clips: np.ndarray,
    logits: np.ndarray,
    *,
    reference: str,
    activations: Activations | None = None,
) -> dict[str, Any]:
    """Runs an ONNX model in ONNX Runtime on the CPU and compares its outputs with the source's.

    Args:
        model: the file's path or content.
        spec: describes its input and precision.
        clips: uint8 (N, T, H, W, 3).
        logits: the source's outputs for them, (N, classes).
        reference: names the source, see `parity`.
        activations: where given, a failure names the first tensor that differs from these.

    Returns:
        The `parity` record of the spec, with the runtime that ran the model.

    Raises:
        ParityError: the outputs differ by more than the tolerance of `spec.precision`.
        ModelError: ONNX Runtime cannot load or run the model.
        MissingDependencyError: onnxruntime is not installed.
    """
    what = "the ONNX model" if isinstance(model, bytes) else str(model)
    session = open_session(model)
    outputs = run_session(session, input_from_clips(clips, spec))
    try:
        found = agreement(logits, outputs)
        record = parity(found, spec.precision, reference=reference, what=what)
    except ParityError as error:
        if activations is None or outputs.shape != logits.shape:
            raise
        worst = int(np.abs(outputs - logits).max(axis=1).argmax())
        clip = clips[worst : worst + 1]
        first = _first_difference(model, input_from_clips(clip, spec), activations(clip))
        raise ParityError(f"{error}; {first}") from error
    import onnxruntime

    return {**record, "runtime": f"onnxruntime {onnxruntime.__version__}"}


def open_session(model: bytes | str | Path) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Raises:
        ModelError: ONNX Runtime cannot load the model.
        MissingDependencyError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime", "export") from error
    # A Predictor's, so that what is proven here is what runs there.
    options = session_options(None)
    options.log_severity_level = 4  # errors come as exceptions
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's exceptions have no common public base
        raise ModelError(
            f"ONNX Runtime cannot load {'the model' if isinstance(model, bytes) else model} "
            f"({_first_line(error)}); check it with onnx.checker"
        ) from error


def run_session(session: onnxruntime.InferenceSession, tensor: np.ndarray) -> np.ndarray:
    """The session's first output for `tensor`, (N, ...), fed in batches of the model's size."""
    return np.concatenate([part[0] for part in _runs(session, tensor)])


def _runs(session: onnxruntime.InferenceSession, tensor: np.ndarray) -> Iterator[list[np.ndarray]]:
    """All outputs for the rows of `tensor`, batch by batch."""
    (entry,) = session.get_inputs()
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 1
    for start in range(0, len(tensor), batch):
        part = tensor[start : start + batch]
        # The last batch is filled up with copies of its last row, whose outputs are cut off.
        full = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        try:
            outputs = session.run(None, {entry.name: full})
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime cannot run the model on {full.dtype} {full.shape} "
                f"({_first_line(error)}); check that the spec describes this model"
            ) from error
        yield [output[: len(part)] for output in outputs]


def _first_difference(
    model: bytes | str | Path, tensor: np.ndarray, activations: Iterable[tuple[str, np.ndarray]]
) -> str:
    """Names the first tensor of the graph that is not what `activations` say."""
    import onnx

    proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    nodes = list(proto.graph.node)
    # Position after the node that makes a tensor: what must run to have it.
    after = {name: i for i, node in enumerate(nodes, 1) for name in node.output}
    limit = TOLERANCE["fp32"][1]

    def compare(chunk: list[tuple[str, np.ndarray]]) -> str | None:
        del proto.graph.node[:], proto.graph.output[:]
        proto.graph.node.extend(nodes[: max(after[name] for name, _ in chunk)])
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name, _ in chunk)
        session = open_session(proto.SerializeToString())
        (outputs,) = _runs(session, tensor)
        for (name, want), have in zip(chunk, outputs, strict=True):
            if have.shape != want.shape:
                return f"the first tensor that differs is {name}: {have.shape}, not {want.shape}"
            largest = float(np.abs(want).max()) or 1.0
            # `not <=` also catches NaN.
            if not (difference := float(np.abs(have - want).max()) / largest) <= limit:
                return (
                    f"the first tensor that differs is {name}, by {difference:.2g} of its "
                    "largest value"
                )
        return None

    chunk: list[tuple[str, np.ndarray]] = []
    for name, value in activations:
        if name in after:
            chunk.append((name, value.copy()))
        if sum(value.nbytes for _, value in chunk) > _CHUNK_BYTES:
            if (answer := compare(chunk)) is not None:
                return answer
            chunk = []
    answer = compare(chunk) if chunk else None
    return answer or "every tensor before the logits agrees"


def _complaint(found: Agreement, precision: str, reference: str, what: str) -> str:
    figure, limit = TOLERANCE[precision]
    allowed = f"{limit:g}" if figure == "max_rel" else f"a cosine of {limit:g}"
    return (
        f"{what} does not answer as its source ({reference}) does: over {found.clips} clips the "
        f"logits differ by up to {found.max_abs:.3g}, {found.max_rel:.3g} of the largest "
        f"(cosine {found.cosine:.6f}, top-1 equal for {found.top1:.0%}), where {precision} "
        f"allows {allowed}; do not use it"
    )


def _rounded(found: Agreement) -> dict[str, Any]:
    # Digits beyond these change with the number of threads and would only look precise.
    return {
        "clips": found.clips,
        "max_abs": float(f"{found.max_abs:.3g}"),
        "max_rel": float(f"{found.max_rel:.3g}"),
        "cosine": round(found.cosine, 6),
        "top1": round(found.top1, 4),
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
