"""Rockchip's `.rknn` of an ONNX artifact, for one chip, or a kit that builds it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import MissingDependencyError, ModelError, UsageError
from r2p_edge.export.contract import with_input
from r2p_edge.export.graph.model import axis_sizes, load_onnx, network_input
from r2p_edge.export.graph.operators import require_ops
from r2p_edge.export.graph.rknn_form import rknn_form
from r2p_edge.export.targets.base import (
    Built,
    OnnxForm,
    TargetOptions,
    file_stem,
    fresh_spec,
)
from r2p_edge.export.targets.kit import write_kit
from r2p_edge.export.targets.rknn.build import ALGORITHMS, CLIPS_FILE, build_rknn
from r2p_edge.export.targets.table import contract_for
from r2p_edge.export.verify.parity import parity_reference
from r2p_edge.runtimes.rknn.chips import ROCKCHIPS
from r2p_edge.spec import ModelSpec

_DEFAULT = "rk3588"
_log = logging.getLogger(__name__)


def rknn_artifact(source: OnnxForm, out: Path, options: TargetOptions) -> Built:
    """Build the "rknn" target, or a kit where RKNN-Toolkit2 is not here."""
    if len(options.chips) > 1:
        raise UsageError(
            f"a .rknn file is for one chip; give one of {', '.join(options.chips)}, and export "
            "again for the others"
        )
    chip = options.chips[0] if options.chips else _DEFAULT
    clips, accuracy, planned = None, None, plan_rknn(source.path, chip)
    if options.quantizer is not None:
        clips, method, record = options.quantizer.clips(options.target)
        planned = plan_rknn(source.path, chip, "int8", method=method, record=record)
        accuracy = partial(options.quantizer.accuracy, source.path, runtime="rknn")
    stem = file_stem(planned, f"-{chip}")
    path = out / f"{stem}.rknn"
    reference = parity_reference(source.path, planned)
    with scratch_folder(source.path) as scratch:
        model = _images_model(source.path, scratch)
        try:
            spec = build_rknn(model, path, planned, reference, calibration=clips, accuracy=accuracy)
        except MissingDependencyError as error:
            _log.info("a kit is made: %s", error)
            folder = out / f"{stem}-kit"
            extras = None if clips is None else {CLIPS_FILE: clips}
            write_kit(options.target, model, planned, reference, folder, path.name, extras)
            return Built(options.target, folder, planned, "kit")
    _warn_of_cpu(spec)
    return Built(options.target, path, spec)


def rknn_from_onnx(
    source: str | Path,
    path: str | Path,
    *,
    chip: Literal["rk3588", "rk3576", "rk3568", "rk3566", "rk3562"] = "rk3588",
    calibration: np.ndarray | None = None,
    method: Literal["minmax", "entropy"] = "minmax",
    timeout: float = 3600.0,
) -> ModelSpec:
    """Write an ONNX artifact as a `.rknn` for the NPU of one of Rockchip's chips, and a sidecar.

    The file takes pixels, uint8 NTHWC, which the NPU normalises.

    Args:
        source: an fp32 ONNX file with a spec, without 3-D convolutions, for one clip of normalised
            numbers (`--graph conv2d --input float32`).
        path: the .rknn file to write. Beside it come its sidecar and `<path>-source`, from which
            the simulator builds it again.
        chip: the chip to build for.
        calibration: clips, uint8 (N, T, H, W, 3), on which the toolkit calibrates an int8 model;
            None for fp16.
        method: rule for the ranges of activations.
        timeout: seconds that the toolkit may take.

    Returns:
        The spec of the file. Its parity is that of the toolkit's simulator with `source`, and under
        "onnx" is the parity record of `source` itself; its target has the layers by engine.

    Raises:
        UsageError: an argument is wrong, or `source` is not of that kind.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`, or
            the toolkit refuses it.
        ParityError: the outputs differ from those of `source`; nothing is written.
        BackendError: the toolkit does not work; MissingDependencyError where it is not here.
        OutputError: `path` cannot be written.
    """
    source, path = Path(source), Path(path)
    if path.suffix != ".rknn":
        raise UsageError(f"{path} is to become an RKNN file, whose name must end in .rknn")
    if chip not in ROCKCHIPS:
        raise UsageError(f"no chip {chip!r}; choose from {', '.join(ROCKCHIPS)}")
    check_folder(path)
    plan = partial(plan_rknn, source, chip)
    planned = plan() if calibration is None else plan("int8", method=method)
    with scratch_folder(source) as scratch:
        model = _images_model(source, scratch)
        reference = parity_reference(source, planned)
        spec = build_rknn(model, path, planned, reference, calibration=calibration, timeout=timeout)
    _warn_of_cpu(spec)
    return spec


def plan_rknn(
    source: Path,
    chip: str,
    precision: Literal["fp16", "int8"] = "fp16",
    *,
    method: str = "minmax",
    record: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Return the spec that the `.rknn` of an ONNX artifact is to have.

    Raises:
        UsageError: `source` is not an fp32 model of one clip of normalised numbers, or the method
            is unknown.
        ModelError: `source` has an operator that the NPU lacks.
    """
    original = contract_for("rknn", source)
    if original.precision != "fp32":
        raise UsageError(f"{source} is {original.precision}; RKNN is built from fp32, so export it")
    if original.input.normalized_in_graph or original.input.layout != "NCTHW":
        raise UsageError(
            f"{source} takes {original.input.dtype} {original.input.layout}, and a .rknn is built "
            "from normalised float32 NCTHW; leave --input out, or export the ONNX file with "
            "--input float32 (the .rknn takes uint8 pixels itself)"
        )
    if original.flow is not None:
        raise ModelError(
            f"{source} is a model of optical flow, which has not been built for RKNN; run it on "
            "the CPU"
        )
    model = load_onnx(source)
    require_ops(model, "rknn", precision=precision)
    batch = axis_sizes(network_input(model))[0]
    if batch != 1:
        raise UsageError(
            f"{source} takes {batch or 'any number of'} clips at once, and a .rknn is built for "
            "one; export it with --batch 1"
        )
    planned = fresh_spec(
        original,
        precision=precision,
        input=with_input(original.input, "uint8"),
        target={"runtime": "rknn", "device": "npu", "chip": chip},
    )
    if precision != "int8":
        return planned
    if method not in ALGORITHMS:
        raise UsageError(
            f"RKNN-Toolkit2 has no method {method} for the ranges of int8; choose one of "
            f"{', '.join(ALGORITHMS)}"
        )
    calibration = {**(record or {}), "method": method, "profile": "rknn"}
    return planned.replace(calibration=calibration)


def _images_model(source: Path, folder: Path) -> Path:
    """Write the form that the NPU runs from end to end; return its file."""
    model = rknn_form(load_onnx(source))
    # Its input is no longer that of the contract.
    del model.metadata_props[:]
    path = folder / "images.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _warn_of_cpu(spec: ModelSpec) -> None:
    assert spec.target is not None
    layers = spec.target["layers"]
    if layers["cpu"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in layers["cpu"].items())
        _log.warning(
            "%s: %s of %d layers run on the board's CPU, with a copy to and fro for each",
            *(spec.name, kinds, layers["npu"] + sum(layers["cpu"].values())),
        )
