"""MindSpore Lite's own `.mindir` of an ONNX artifact, for one device, or a kit that builds it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.errors import MissingDependencyError, ModelError, UsageError
from r2p_edge.export.graph.model import load_onnx, network_input
from r2p_edge.export.graph.operators import require_ops
from r2p_edge.export.targets.base import (
    Built,
    OnnxForm,
    TargetOptions,
    file_stem,
    fresh_spec,
)
from r2p_edge.export.targets.kit import write_kit
from r2p_edge.export.targets.mindspore_lite.build import (
    CHIPS,
    CLIP_FOLDER,
    build_lite,
)
from r2p_edge.export.targets.mindspore_lite.config import full_quant_config
from r2p_edge.export.targets.second_form import SecondForm, build_either
from r2p_edge.export.targets.table import contract_for
from r2p_edge.export.verify.parity import parity_reference
from r2p_edge.spec import ModelSpec

_log = logging.getLogger(__name__)


def lite_artifact(source: OnnxForm, out: Path, options: TargetOptions) -> Built:
    """Build MindSpore Lite's model for the CPU or an Ascend, or a kit without the converter."""
    device = options.target if options.target in CHIPS else "cpu"
    if options.quantizer is None:
        clips, planned = None, plan_lite(source.path, device)
    else:
        clips, method, record = options.quantizer.clips(options.target)
        planned = plan_lite(source.path, device, "int8", method=method, record=record)
    chip = "" if device == "cpu" else f"-{device}"
    stem = file_stem(planned, chip)
    reference = parity_reference(source.path)

    def build(model: Path, name: str, planned: ModelSpec) -> Built:
        path = out / name
        spec = build_lite(model, path, planned, reference, device=device, calibration=clips)
        return Built(options.target, path, spec)

    def build_second() -> Built:
        assert source.second is not None
        second = _second_form(source.second(), device, chip)
        return build(second.model, second.name, second.planned)

    name = f"{stem}.mindir"
    try:
        return build_either(
            lambda: build(source.path, name, planned),
            build_second if source.second else None,
            _log.warning,
        )
    except MissingDependencyError as error:
        if clips is not None:
            # A kit would fail wherever 2.0 is, and no later release has been seen to make int8.
            raise MissingDependencyError(
                f"an int8 model of MindSpore Lite is made only where its converter is, not from a "
                f"kit ({error}); or export fp32"
            ) from error
        folder = out / f"{stem}-{'mindspore-lite-' if device == 'cpu' else ''}kit"
        try:
            other = None if source.second is None else _second_form(source.second(), device, chip)
        except ModelError as error:  # an operator of its own that has no such form
            _log.info("the kit %s has one form of the model: %s", folder, error)
            other = None
        target = _target_for(device)
        write_kit(target, source.path, planned, reference, folder, name, second=other)
        return Built(options.target, folder, planned, "kit")


def _second_form(form: OnnxForm, device: str, chip: str) -> SecondForm:
    planned = plan_lite(form.path, device)
    return SecondForm(form.path, planned, f"{file_stem(planned, chip)}.mindir")


def mindspore_lite_from_onnx(
    source: str | Path,
    path: str | Path,
    *,
    device: Literal["cpu", "ascend310", "ascend310p", "ascend310b"] = "cpu",
    calibration: np.ndarray | None = None,
    method: Literal["minmax", "percentile", "entropy"] = "minmax",
    config: str | None = None,
    timeout: float = 3600.0,
) -> ModelSpec:
    """Write an ONNX artifact as a `.mindir` that is optimised for one device and runs on no other.

    Args:
        source: an fp32 ONNX file with a spec; for "cpu" and "ascend310b" one without 3-D
            convolutions.
        path: the .mindir file to write, and beside it a sidecar with its spec.
        calibration: clips, uint8 (N, T, H, W, 3), on which the converter calibrates an int8 model;
            for "cpu" only.
        method: rule for the ranges of activations.
        config: further settings, see `converter_config`.
        timeout: seconds that the converter may take.

    Returns:
        The spec of the file: fp32 or int8 for the CPU, fp16 for Ascend. Its parity compares it with
        `source`, and under "onnx" is the parity record of `source` itself; it is None for an Ascend
        artifact on a machine without an Ascend or the library, which cannot run it.

    Raises:
        UsageError: `path`, `device` or `config` is wrong, `source` is not fp32, or it cannot be
            calibrated, see `plan_lite`.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`,
            has an operator that the device lacks, or the converter refuses it.
        ParityError: the outputs differ from those of `source`; nothing is written.
        BackendError: the converter does not work, or makes no int8; MissingDependencyError where
            it, or for the CPU mindspore_lite, is not installed.
        OutputError: `path` cannot be written.
    """
    source, path = Path(source), Path(path)
    if path.suffix != ".mindir":
        raise UsageError(f"{path} is to become a MindIR file, whose name must end in .mindir")
    check_folder(path)
    precision = None if calibration is None else "int8"
    planned = plan_lite(source, device, precision, method=method)
    return build_lite(
        source,
        path,
        planned,
        parity_reference(source),
        device=device,
        calibration=calibration,
        config=config,
        timeout=timeout,
    )


def plan_lite(
    source: Path,
    device: str,
    precision: str | None = None,
    *,
    method: str = "minmax",
    record: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Return the spec that Lite's form of an ONNX artifact for a device is to have.

    Args:
        source: the ONNX artifact.
        device: "cpu", or a name in `CHIPS`.
        precision: "fp32", the default, or "int8" for the CPU; "fp16" for Ascend.
        method: rule for the ranges of int8, see `full_quant_config`.
        record: origin of the clips, for the spec of int8.

    Raises:
        UsageError: the device is unknown or lacks the precision, or `source` is not fp32; for int8
            also: the method is unknown, `source` takes several clips at once, or the converter's
            settings cannot name its input.
        ModelError: `source` has an operator that the device lacks.
    """
    if device != "cpu" and device not in CHIPS:
        raise UsageError(f"device is {device!r}; it must be one of cpu, {', '.join(CHIPS)}")
    target = _target_for(device)
    original = contract_for(target, source)
    if original.precision != "fp32":
        raise UsageError(f"{source} is {original.precision}; Lite converts fp32, so export it so")
    has = ("fp32", "int8") if device == "cpu" else ("fp16",)
    becomes = precision or has[0]
    if becomes not in has:
        raise UsageError(
            f"MindSpore Lite has no precision {becomes} on {device}; it has {', '.join(has)}"
        )
    model = load_onnx(source)
    require_ops(model, target, precision=becomes)
    runs_on = {"runtime": "mindspore_lite", "device": device}
    planned = fresh_spec(original, precision=becomes, target=runs_on)
    if becomes != "int8":
        return planned
    batch = network_input(model).type.tensor_type.shape.dim[0].dim_value
    if batch != 1:
        raise UsageError(
            f"{source} takes {batch or 'any number of'} clips at once, but Lite calibrates on one "
            "at a time; export it with --batch 1"
        )
    full_quant_config(planned, CLIP_FOLDER, 1, method=method)  # raises on what it cannot express
    calibration = {**(record or {}), "method": method, "profile": target}
    return planned.replace(calibration=calibration)


def _target_for(device: str) -> str:
    """Return the name of the target for a device, whatever name the user asked for it by."""
    return "mindspore-lite" if device == "cpu" else device
