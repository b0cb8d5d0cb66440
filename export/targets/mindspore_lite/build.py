"""Building a MindSpore Lite model with Lite's converter, and verifying it.

Nothing here needs onnx, because it also runs on the device, out of a kit (`kit.py`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import BackendError, MissingDependencyError, OutputError, UsageError
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.mindspore_lite.config import converter_config, full_quant_config
from r2p_edge.export.targets.mindspore_lite.converter import (
    CONVERTER_VARIABLE,
    Converter,
    find_converter,
    run_converter,
)
from r2p_edge.export.verify.parity import ParityReference, check_parity
from r2p_edge.export.verify.synthetic_clips import input_from_clips
from r2p_edge.runtimes.ascend import chip_here
from r2p_edge.runtimes.mindspore_lite import DOWNLOADS, MindSporeLite
from r2p_edge.spec import ModelSpec

CLIP_FOLDER = "calibration"
"""Folder of the clips to calibrate on, relative to the working folder of the converter, which
cannot read every letter that the path of a temporary folder may have."""

# The chip to compile for unless the config names another: "Ascend" with the name that `npu-smi
# info` shows (CANN, ATC manual, --soc_version).
CHIPS = {"ascend310": "Ascend310", "ascend310p": "Ascend310P3", "ascend310b": "Ascend310B4"}


def build_lite(
    model: Path,
    path: Path,
    planned: ModelSpec,
    reference: ParityReference,
    *,
    device: str,
    calibration: np.ndarray | None = None,
    config: str | None = None,
    timeout: float = 3600.0,
) -> ModelSpec:
    """Convert an ONNX file for a device; write the `.mindir` and its sidecar.

    Args:
        model: the ONNX file.
        path: the .mindir file to write.
        planned: the spec that the file is to have, but for the records of the build itself.
        reference: reference inputs, and the outputs that the file must reproduce.
        device: "cpu", or a name in `CHIPS`.
        calibration: for "int8": clips, uint8 (N, T, H, W, 3), on which the converter calibrates by
            the method `planned.calibration["method"]`.
        config: further settings, see `converter_config`.
        timeout: seconds that the converter may take.

    Returns:
        The spec of the file. Its parity is None for an Ascend artifact on a machine without the
        chip or the library, which cannot run it.

    Raises:
        UsageError: the file is to be int8 and there are no clips.
        ModelError: the converter refuses the model; ParityError where the file's outputs differ.
        BackendError: the converter does not work, or makes no int8; MissingDependencyError where
            it, or for the CPU mindspore_lite, is not installed.
        OutputError: `path`, or a temporary file of a clip, cannot be written.
    """
    if planned.precision == "int8":
        planned = _calibrated_on(calibration, planned)
        config = _quantization(planned) + (config or "")
    settings = _settings(device, config)
    target = _target(device, settings)
    runs_here = _runs_here(device, target.get("chip"))
    converter = find_converter()
    if converter is None:
        other = "" if device == "cpu" else "; or build an .om with examples/atlas/build_om.sh"
        raise MissingDependencyError(
            f"there is no MindSpore Lite converter here; download Lite's cloud-side release from "
            f"{DOWNLOADS}, and install its wheel or set {CONVERTER_VARIABLE} to its converter_lite"
            f"{other}"
        )
    if planned.precision == "int8":
        _require_int8(MindSporeLite.library().__version__)
    spec = planned.replace(
        target={**target, "converter": converter.name},
        built_with={**(planned.built_with or {}), **_built_with(converter)},
        parity=None,
    )
    with scratch_folder(path) as folder:
        if calibration is not None:
            _write_clips(calibration, spec, folder / CLIP_FOLDER)
        draft = run_converter(converter, model, folder, device, settings, timeout)
        if runs_here:
            spec = spec.replace(
                parity=check_parity(
                    draft, spec, reference, MindSporeLite, artifact="the MindSpore Lite model"
                )
            )
        write_artifact(path, spec, draft.read_bytes())
    return spec


def build_lite_of_kit(
    model: Path, path: Path, planned: ModelSpec, reference: ParityReference
) -> ModelSpec:
    """Build the model of a kit."""
    assert planned.target is not None
    return build_lite(model, path, planned, reference, device=planned.target["device"])


def _require_int8(version: str) -> None:
    """Raise BackendError if that version of the library is known to make no int8 model.

    Seen of 2.0.0 on x86-64, with every network and with a single convolution: its quantizer ends
    because it cannot load what it has written. Later versions have not been tried.
    """
    if version.startswith("2.0."):
        raise BackendError(
            f"mindspore_lite {version} cannot make an int8 model: its full quantization fails for "
            "every network; export fp32, or try a later release of MindSpore Lite"
        )


def _calibrated_on(clips: np.ndarray | None, planned: ModelSpec) -> ModelSpec:
    """Return the spec with the number of clips in its calibration record.

    Raises:
        UsageError: there are no clips.
    """
    if clips is None or not len(clips):
        raise UsageError("there are no clips to calibrate an int8 model on; give some")
    return planned.replace(calibration={**(planned.calibration or {}), "clips": len(clips)})


def _quantization(planned: ModelSpec) -> str:
    assert planned.calibration is not None
    record = planned.calibration
    return full_quant_config(planned, CLIP_FOLDER, record["clips"], method=record["method"])


def _write_clips(clips: np.ndarray, spec: ModelSpec, folder: Path) -> None:
    """Write one file per clip, the raw bytes of the model's input."""
    try:
        folder.mkdir()
        for number, clip in enumerate(clips):
            content = input_from_clips(clip[None], spec).tobytes()
            (folder / f"clip_{number:05}.bin").write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{len(clips)} clips to calibrate on cannot be written to {folder}: {error.strerror}; "
            "make room there, or set TMPDIR to another folder"
        ) from error


def _runs_here(device: str, chip: str | None) -> bool:
    """Return whether this machine can run a model for the device, and for this chip of that kind.

    Raises:
        MissingDependencyError: the device is the CPU, and mindspore_lite is not installed.
    """
    if device == "cpu":
        MindSporeLite.library()
        return True
    try:
        return "ascend" in MindSporeLite.devices() and chip_here() in (None, chip)
    except MissingDependencyError:
        return False


def _settings(device: str, config: str | None) -> str:
    """Return the converter's INI text; of two equal keys the later one counts."""
    own = {} if device == "cpu" else {"acl_init_options": {"ge.socVersion": CHIPS[device]}}
    return converter_config(own) + (config or "")


def _target(device: str, settings: str) -> dict[str, Any]:
    found = re.findall(r"^ge\.socVersion=(.*)$", settings, re.MULTILINE)
    chip = {"chip": found[-1]} if found else {}
    return {"runtime": "mindspore_lite", "device": device, **chip}


def _built_with(converter: Converter) -> dict[str, str]:
    # The program does not print its version.
    library = {} if converter.program else {"mindspore_lite": MindSporeLite.library().__version__}
    return {**built_with(), **library}
