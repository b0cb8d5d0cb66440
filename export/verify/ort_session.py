"""ONNX Runtime sessions on the CPU for checks and measurements, and batches to feed to models."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.errors import ModelError
from r2p_edge.runtimes.base import Runtime
from r2p_edge.runtimes.onnxruntime import OnnxRuntime, session_options
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnxruntime


def open_session(model: bytes | str | Path, *, probe: bool = False) -> onnxruntime.InferenceSession:
    """Open an ONNX Runtime session on the CPU, with the options of a `Predictor`.

    Args:
        model: the file's path or content. A session keeps the content in memory, but not the file.
        probe: use little memory rather than little time, for a session that only reads
            intermediate tensors. Errors then do not name the file, which is temporary.

    Raises:
        ModelError: ONNX Runtime cannot load the model.
        BackendError: onnxruntime is not installed, or cannot be imported.
    """
    onnxruntime = OnnxRuntime.library()
    # A Predictor's options, so that the session under test is the one that will run.
    options = session_options(None)
    if probe:
        # Nodes run in the order in which they are listed, not the last ones' sources first.
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.enable_mem_pattern = False
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's exceptions have no common public base
        name = "the model" if probe or isinstance(model, bytes) else model
        text = str(error)
        reason, way = _first_line(error), "check it with onnx.checker"
        if "is not a registered function/op" in text:
            way = "export it from its framework with ONNX's own operators alone"
        elif newer := _NEWER.search(text):
            reason = f"its {newer[1] or 'opset'} {newer[2] or newer[3]} is newer than release "
            reason += f"{onnxruntime.__version__} reads"
            way = "export it with an older opset (opset_version=17), or upgrade onnxruntime"
        raise ModelError(f"ONNX Runtime cannot load {name} ({reason}); {way}") from error


# As ONNX Runtime says that a model is newer than itself.
_NEWER = re.compile(r"model (IR version): (\d+)|[Oo]pset (\d+) is under development")


def answer_of(model: Path, spec: ModelSpec) -> Callable[[np.ndarray], np.ndarray]:
    """Open an artifact of one clip; return the function that answers (T, H, W, 3) with (classes,).

    Raises:
        ModelError, BackendError: see `open_session`.
    """
    session = open_session(model)

    def answer(clip: np.ndarray) -> np.ndarray:
        found = session.run([spec.output.name], {spec.input.name: clip[None]})
        return np.asarray(found[0][0])

    return answer


def run_session(session: onnxruntime.InferenceSession, tensor: np.ndarray) -> np.ndarray:
    """Return the session's first output for `tensor`, (N, ...), in batches of the model's size.

    Raises:
        ModelError: ONNX Runtime cannot run the model on the tensor.
    """
    return np.concatenate([outputs[0] for outputs in run_batches(session, tensor)])


def run_runtime(runtime: Runtime, tensor: np.ndarray) -> np.ndarray:
    """Return the runtime's output for `tensor`, (N, ...), in batches of the model's size."""
    fed = batches(tensor, max(runtime.input_shape[0], 1))  # -1 for an open axis
    return np.concatenate([runtime.run(full)[:size] for full, size in fed])


def run_batches(
    session: onnxruntime.InferenceSession, tensor: np.ndarray
) -> Iterator[list[np.ndarray]]:
    """Yield all outputs of the session for the rows of `tensor`, batch by batch.

    Raises:
        ModelError: ONNX Runtime cannot run the model on the tensor.
    """
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
    """Yield the rows of `tensor` in batches, each with its number of real rows.

    The last batch is filled up with copies of its last row.
    """
    for start in range(0, len(tensor), batch):
        part = tensor[start : start + batch]
        yield np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)]), len(part)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
