"""Building a `.rknn` with RKNN-Toolkit2, and verifying it on the toolkit's simulator.

Nothing here needs onnx, because it also runs out of a kit (`kit.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.artifact.files import fingerprint_of_bytes
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import ModelError, OutputError
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.program import end_of, run_program
from r2p_edge.export.verify.parity import ParityReference, check_parity
from r2p_edge.runtimes.rknn.runtime import SIMULATOR, Rknn
from r2p_edge.runtimes.rknn.source_file import (
    MODEL,
    QUANTIZED,
    SETTINGS,
    settings_bytes,
    source_bytes,
)
from r2p_edge.runtimes.rknn.toolkit import (
    toolkit_command,
    toolkit_environment,
    toolkit_python,
    toolkit_reason,
    toolkit_settings,
    toolkit_version,
)
from r2p_edge.spec import ModelSpec

CLIPS_FILE = "calibration.npy"
"""File of a kit with the clips to calibrate on, uint8 (N, T, H, W, C)."""

ALGORITHMS = {"minmax": "normal", "entropy": "kl_divergence"}
"""Rules for the ranges of int8, and the toolkit's `quantized_algorithm` of each."""

_ENDS = ("InputOperator", "OutputOperator")
# ID, OpType, DataType, Target, shapes, cycles: a line of "Network Layer Information Table".
_LAYER = re.compile(r"\] \d+ +(\w+) +\w+ +(CPU|GPU|NPU) +\S.* \d+/\d+/\d+ ")


def build_rknn(
    model: Path,
    path: Path,
    planned: ModelSpec,
    reference: ParityReference,
    *,
    calibration: np.ndarray | None = None,
    accuracy: Callable[[Path, ModelSpec], Mapping[str, Any]] | None = None,
    timeout: float = 3600.0,
) -> ModelSpec:
    """Build a model for a chip; write the `.rknn`, its sidecar, and what the simulator needs.

    Args:
        model: ONNX file whose input is the images of a clip, see `rknn_form`.
        path: the .rknn file to write.
        planned: the spec that the file is to have, but for the records of the build itself.
        reference: reference inputs, and the outputs that the file must reproduce.
        calibration: for "int8": clips, uint8 (N, T, H, W, C), on which the toolkit calibrates.
        accuracy: called with a draft of the file and its spec; returns the `accuracy` record.
        timeout: seconds that the toolkit may take.

    Returns:
        The spec of the file; its parity is that of the simulator.

    Raises:
        ModelError: the toolkit refuses the model; ParityError where the outputs differ.
        BackendError: the toolkit does not work; MissingDependencyError where it is not here.
        OutputError: `path`, or a temporary file, cannot be written.
    """
    python = toolkit_python()
    version = toolkit_version(python)
    assert planned.target is not None
    made_for = dict(planned.target)
    record = planned.calibration or {}
    settings = toolkit_settings(
        made_for["chip"],
        planned.scale,
        planned.mean,
        planned.std,
        ALGORITHMS[record.get("method", "minmax")],
    )
    with scratch_folder(path) as folder:
        (folder / SETTINGS).write_bytes(settings_bytes(settings))
        (folder / MODEL).write_bytes(model.read_bytes())
        if calibration is not None:
            _write_clips(calibration, folder)
            planned = planned.replace(calibration={**record, "clips": len(calibration)})
        log = _run(python, folder, model, timeout)
        kept = (SETTINGS, MODEL) if calibration is None else (SETTINGS, *QUANTIZED)
        source = source_bytes({name: (folder / name).read_bytes() for name in kept})
        beside = f"{path.name}-source"
        target = {
            **made_for,
            "rknn_toolkit2": version,
            "layers": layers_by_engine(log),
            "simulated_from": {
                "file": beside,
                "sha256": fingerprint_of_bytes(source)["sha256"],
            },
        }
        spec = planned.replace(
            target=target,
            built_with={**(planned.built_with or {}), **built_with(), "rknn_toolkit2": version},
            parity=None,
        )
        draft = folder / "draft" / path.name
        draft.parent.mkdir()
        (folder / "model.rknn").rename(draft)
        draft.with_name(beside).write_bytes(source)
        found = check_parity(
            draft, spec, reference, Rknn, artifact="the RKNN model", device=SIMULATOR
        )
        spec = spec.replace(parity=found)
        if accuracy is not None:
            spec = spec.replace(accuracy=accuracy(draft, spec))
        write_artifact(path, spec, draft.read_bytes(), parts={beside: source})
    return spec


def build_rknn_of_kit(
    model: Path, path: Path, planned: ModelSpec, reference: ParityReference
) -> ModelSpec:
    """Build the model of a kit, which has the clips of an int8 one beside it."""
    clips = model.with_name(CLIPS_FILE)
    calibration = np.load(clips) if clips.is_file() else None
    return build_rknn(model, path, planned, reference, calibration=calibration)


def layers_by_engine(log: str) -> dict[str, Any]:
    """Return how many layers run where, from the table in the toolkit's verbose log.

    Returns:
        {"npu": number, "cpu": {type: number}}, and "gpu" if there are any; without the input and
        the output of the model, which the table lists as layers.
    """
    found = Counter(match.groups() for match in map(_LAYER.search, log.splitlines()) if match)
    layers: dict[str, Any] = {
        "npu": sum(count for (_, engine), count in found.items() if engine == "NPU"),
        "cpu": {},
    }
    for (kind, engine), count in sorted(found.items()):
        if engine != "NPU" and kind not in _ENDS:
            layers.setdefault(engine.lower(), {})[kind] = count
    return layers


def _run(python: Path, folder: Path, model: Path, timeout: float) -> str:
    """Let the toolkit build in a folder; return what it printed.

    Raises:
        ModelError: it made no model.
    """
    done = run_program(
        toolkit_command(python, "build", folder),
        name="RKNN-Toolkit2",
        timeout=timeout,
        cwd=folder,
        environment=toolkit_environment(),
    )
    log = done.stderr.decode(errors="replace")
    if done.returncode != 0 or not (folder / "model.rknn").is_file():
        raise ModelError(
            f"RKNN-Toolkit2 {end_of(done.returncode)} for {model} and said: {toolkit_reason(log)}; "
            "replace what it names, or run the model on the board's CPU"
        )
    return log


def _write_clips(clips: np.ndarray, folder: Path) -> None:
    """Write one file per clip, its images as the toolkit takes them, and their list."""
    try:
        for number, clip in enumerate(clips):
            np.save(folder / f"clip_{number}.npy", np.ascontiguousarray(clip.transpose(0, 3, 1, 2)))
    except OSError as error:
        raise OutputError(
            f"{len(clips)} clips to calibrate on cannot be written to {folder}: {error.strerror}; "
            "make room there, or set TMPDIR to another folder"
        ) from error
    names = "".join(f"clip_{number}.npy\n" for number in range(len(clips)))
    (folder / "dataset.txt").write_text(names)
