"""Outputs of an ONNX model of someone else, from its own file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from r2p_edge.errors import ModelError, one_line
from r2p_edge.export.verify.ort_session import batches, open_session
from r2p_edge.export.verify.synthetic_clips import normalized
from r2p_edge.spec import ModelSpec


def foreign_input(clips: np.ndarray, spec: ModelSpec, layout: str, dtype: str) -> np.ndarray:
    """Convert uint8 clips (N, T, H, W, 3) to the input of a model of someone else.

    Args:
        clips: the clips.
        spec: the contract, whose normalisation a float model gets.
        layout: axes of the model's input, see `input_layout`.
        dtype: of the input; "uint8" gets the pixels themselves.
    """
    given = "NTHWC" if dtype == "uint8" else "NCTHW"
    tensor = clips if dtype == "uint8" else normalized(clips, spec)
    tensor = tensor.transpose([given.index(axis) for axis in layout.replace("K", "")])
    if "K" in layout:
        tensor = np.expand_dims(tensor, layout.index("K"))
    return np.ascontiguousarray(tensor, dtype)


class ForeignOutputs(NamedTuple):
    """Outputs of a model of someone else.

    Attributes:
        outputs: (clips, ...); an output for one clip without an axis of clips has got one.
        shape: of the output of one call, as the model gives it.
    """

    outputs: np.ndarray
    shape: tuple[int, ...]


def foreign_outputs(path: Path, tensor: np.ndarray, output: str) -> ForeignOutputs:
    """Return a file's output for `tensor`, (clips, ...), as ONNX Runtime computes it.

    Args:
        path: the file, as it is.
        tensor: inputs, (clips, ...).
        output: name of the output.

    Raises:
        ModelError: ONNX Runtime cannot load or run it.
    """
    session = open_session(path)
    (entry,) = session.get_inputs()
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 1
    found = []
    for full, size in batches(tensor, batch):
        try:
            (answer,) = session.run([output], {entry.name: full})
        except Exception as error:  # the library's exceptions have no common public base
            raise ModelError(
                f"ONNX Runtime cannot run {path} on {full.dtype} {full.shape} "
                f"({one_line(error)}); check that the spec describes this model"
            ) from error
        shape = answer.shape
        if shape[:1] != (len(full),) and len(full) == 1:
            answer = answer[None]
        found.append(answer[:size])
    return ForeignOutputs(np.concatenate(found), shape)
