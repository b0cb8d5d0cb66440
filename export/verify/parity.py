"""Proof that an artifact answers as its source does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from r2p_edge.agreement import TOLERANCE, Agreement, agreement, within_tolerance
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ModelError, ParityError
from r2p_edge.export.verify.synthetic_clips import input_from_clips, verification_clips
from r2p_edge.predictor import Predictor
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.runtimes.onnxruntime import OnnxRuntime, session_options
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Activations = Callable[[np.ndarray], Iterable[tuple[str, np.ndarray]]]
"""uint8 clips (1, T, H, W, 3) to the source's named intermediate tensors, in order."""

# Of intermediate tensors, held while looking for the first that differs.
_CHUNK_BYTES, _CHUNK = 256 << 20, 16


class Proof(NamedTuple):
    """What an artifact must answer to what.

    Attributes:
        inputs: of the artifact, (N, ...), in the shape and dtype of its spec.
        outputs: of what it is made from, (N, classes).
        of_source: the parity record of that.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    of_source: Mapping[str, Any] | None


def proof_of_onnx(source: Path) -> Proof:
    """What an ONNX artifact answers to generated clips.

    Raises:
        ModelError, SpecError: see `open_artifact`; or ONNX Runtime cannot run it.
        BackendError: onnxruntime is not installed, or cannot be imported.
    """
    spec = open_artifact(source).spec
    inputs = input_from_clips(verification_clips(spec), spec)
    return Proof(inputs, run_session(open_session(source), inputs), spec.parity)


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
        if not within_tolerance(found, precision):
            raise ParityError(_complaint(found, precision, reference, what))
    return record


def prove(
    draft: Path, spec: ModelSpec, proof: Proof, runtime: type[Runtime], *, what: str
) -> dict[str, Any]:
    """Runs an artifact on a runtime and compares its outputs with what it was made from.

    Args:
        draft: the artifact's file.
        spec: its contract.
        what: names the artifact in the error.

    Returns:
        The `parity` record of its spec.

    Raises:
        ParityError: the tolerance of `spec.precision` is exceeded.
        ModelError, BackendError: the runtime cannot load or run it.
    """
    with contextlib.closing(runtime.open(draft, spec, Options())) as model:
        found = agreement(proof.outputs, run_runtime(model, proof.inputs))
    record = parity(found, spec.precision, reference="onnx", what=what)
    # OpenVINO's goes on with its build.
    version = str(runtime.library().__version__).partition("-")[0]
    return {
        **record,
        "runtime": f"{model.name} {version} on {model.device}",
        "computed_in": model.precision,
        "onnx": proof.of_source,
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


def open_session(model: bytes | str | Path, *, probe: bool = False) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        probe: it only looks into a model, in a file that is soon gone, and takes little memory
            rather than little time. (A session keeps the bytes that it is made from; of a file
            none.)

    Raises:
        ModelError: ONNX Runtime cannot load the model.
        BackendError: onnxruntime is not installed, or cannot be imported.
    """
    onnxruntime = OnnxRuntime.library()
    # A Predictor's, so that what is proven here is what runs there.
    options = session_options(None)
    options.log_severity_level = 4  # errors come as exceptions
    if probe:
        # Nodes run in the order in which they are listed, not the last ones' sources first.
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.enable_mem_pattern = False
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's exceptions have no common public base
        what = "the model" if probe or isinstance(model, bytes) else model
        raise ModelError(
            f"ONNX Runtime cannot load {what} ({_first_line(error)}); check it with onnx.checker"
        ) from error


def run_session(session: onnxruntime.InferenceSession, tensor: np.ndarray) -> np.ndarray:
    """The session's first output for `tensor`, (N, ...), fed in batches of the model's size."""
    return np.concatenate([part[0] for part in _runs(session, tensor)])


def run_runtime(runtime: Runtime, tensor: np.ndarray) -> np.ndarray:
    """The runtime's output for `tensor`, (N, ...), fed in batches of the model's size."""
    fed = batches(tensor, runtime.input_shape[0])
    return np.concatenate([runtime.run(full)[:size] for full, size in fed])


def _runs(session: onnxruntime.InferenceSession, tensor: np.ndarray) -> Iterator[list[np.ndarray]]:
    """All outputs for the rows of `tensor`, batch by batch."""
    (entry,) = session.get_inputs()
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 1
    for full, size in batches(tensor, batch):
        try:
            outputs = session.run(None, {entry.name: full})
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime cannot run the model on {full.dtype} {full.shape} "
                f"({_first_line(error)}); check that the spec describes this model"
            ) from error
        yield [output[:size] for output in outputs]


def batches(tensor: np.ndarray, batch: int) -> Iterator[tuple[np.ndarray, int]]:
    """The rows of `tensor` in batches, and how many of each are real.

    The last one is filled up with copies of its last row.
    """
    for start in range(0, len(tensor), batch):
        part = tensor[start : start + batch]
        yield np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)]), len(part)


def first_difference(reference: str | Path, other: str | Path, clip: Any) -> str:
    """Names the first tensor of an ONNX artifact that is not what another has under its name.

    Args:
        clip: what both are shown; whatever `Predictor.predict` takes, as `reference` reads it.

    Raises:
        R2PError: one of the two cannot be used, or the clip cannot be read.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    reference, other = Path(reference), Path(other)
    with Predictor(reference, runtime="onnxruntime") as predictor:
        pixels = predictor.pixels(clip)
    one = input_from_clips(pixels, predictor.spec)
    two = input_from_clips(pixels, open_artifact(other).spec)
    from r2p_edge.export.graph.adapt import load

    there = _Graph(load(reference))

    def activations() -> Iterator[tuple[str, np.ndarray]]:
        for start in range(0, len(there.names), _CHUNK):
            names = there.names[start : start + _CHUNK]
            yield from zip(names, there.run(names, one), strict=True)

    return _first_difference(other, two, activations())


def _first_difference(
    model: bytes | str | Path, tensor: np.ndarray, activations: Iterable[tuple[str, np.ndarray]]
) -> str:
    """Names the first tensor of the graph that is not what `activations` say."""
    import onnx

    proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    graph = _Graph(proto)
    here = set(graph.names)
    limit = TOLERANCE["fp32"][1]

    def compare(chunk: list[tuple[str, np.ndarray]]) -> str | None:
        outputs = graph.run([name for name, _ in chunk], tensor)
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
        if name in here:
            chunk.append((name, value.copy()))
        if sum(value.nbytes for _, value in chunk) > _CHUNK_BYTES:
            if (answer := compare(chunk)) is not None:
                return answer
            chunk = []
    answer = compare(chunk) if chunk else None
    return answer or "every tensor before the logits agrees"


class _Graph:
    """An ONNX graph that can be run up to any of its tensors.

    Attributes:
        names: of what its nodes make, in the order of execution.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._proto = proto
        self._nodes = list(proto.graph.node)
        # Position after the node that makes a tensor: what must run to have it.
        self._after = {name: i for i, node in enumerate(self._nodes, 1) for name in node.output}
        self.names = [name for name in self._after if name]

    def run(self, names: list[str], tensor: np.ndarray) -> list[np.ndarray]:
        """The tensors of these names for one input."""
        import onnx

        graph = self._proto.graph
        del graph.node[:], graph.output[:]
        graph.node.extend(self._nodes[: max(self._after[name] for name in names)])
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        (outputs,) = _runs(open_session(self._proto.SerializeToString()), tensor)
        return outputs


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
