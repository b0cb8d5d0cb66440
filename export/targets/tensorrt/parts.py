"""Parts of a per-frame form as TensorRT engines, built and verified beside their model's engine.

Nothing here needs onnx, because it also runs on the device, out of a kit (`kit.py`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from r2p_edge.agreement import agreement
from r2p_edge.artifact.files import fingerprint_of_bytes
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.parts import PART_KEY
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import BackendError
from r2p_edge.export.targets.tensorrt.tools import Tool
from r2p_edge.export.verify.parity import ParityReference, parity_record
from r2p_edge.per_frame.model import PerFrameModel
from r2p_edge.per_frame.state import FrameState
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.tensorrt.build import BuildOptions
from r2p_edge.runtimes.tensorrt.runtime import TensorRT
from r2p_edge.spec import ModelSpec, PartSpec


class EngineOfForm(NamedTuple):
    """An engine with its parts.

    Attributes:
        spec: its contract, with the parts.
        parts: the bytes of their files, by name.
        skipped: how many kernels of the parts were left out for want of memory.
    """

    spec: ModelSpec
    parts: Mapping[str, bytes]
    skipped: int = 0


def check_tool(tool: Tool) -> None:
    """Make sure that a tool builds parts.

    Raises:
        BackendError: it cannot run them to verify them.
    """
    if tool.name != "tensorrt":
        raise BackendError(
            f"{tool.name} builds engines and cannot run those of a per-frame form, which have "
            "several inputs; install TensorRT's Python module, or export without --form"
        )


def build_parts(
    models: Mapping[str, Path],
    path: Path,
    draft: Path,
    spec: ModelSpec,
    reference: ParityReference,
    tool: Tool,
    options: BuildOptions,
) -> EngineOfForm:
    """Build the engines of a form's parts, and compare the form's answers with the model's.

    Args:
        models: the ONNX file of each part, in the types that the tool takes.
        path: of the model's engine that is to be written.
        draft: that engine.
        spec: its contract.
        reference: clips, and the answers that the form must reproduce for a first window.
        tool: builds them.
        options: of the model's engine.

    Raises:
        ModelError: TensorRT refuses a part; ParityError where the answers differ.
        BackendError: TensorRT or CUDA does not work.
        OutputError: there is no room for a draft.
    """
    assert spec.per_frame is not None
    folder = draft.parent / "form"
    folder.mkdir()
    files: dict[str, bytes] = {}
    parts, skipped = {}, 0
    for name, model in models.items():
        file = folder / f"{path.stem}-{name}{path.suffix}"
        skipped += tool.build(model, file, dataclasses.replace(options, name=f"{PART_KEY}:{name}"))
        files[file.name] = file.read_bytes()
        parts[name] = PartSpec(file.name, fingerprint_of_bytes(files[file.name])["sha256"])
    form = dataclasses.replace(spec.per_frame, parts=parts)
    whole = folder / path.name
    write_artifact(whole, spec.replace(per_frame=form), draft.read_bytes(), parts=files)
    first = _first_window(whole, reference)
    form = dataclasses.replace(form, agreement={**(form.agreement or {}), "first": first})
    return EngineOfForm(spec.replace(per_frame=form), files, skipped)


def _first_window(path: Path, reference: ParityReference) -> dict[str, Any]:
    """Return how the form's answer for the first window after a reset equals the clip's.

    Raises:
        ParityError: it does not, within the tolerance of the precision.
    """
    artifact, found = open_artifact(path), []
    with contextlib.closing(PerFrameModel(artifact, TensorRT, Options())) as model:
        state = FrameState(model, "flush")
        for clip in reference.inputs:
            state.clear()
            for frame in clip:
                state.frame[:] = frame
                state.step()
            found.append(state.answer()[0].copy())
    return {
        **parity_record(
            agreement(reference.outputs, np.stack(found)),
            artifact.spec.precision,
            reference="onnx",
            artifact="the per-frame form",
        ),
        "runtime": f"tensorrt {TensorRT.library().__version__}",
    }
