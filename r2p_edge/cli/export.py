"""`r2p-edge export`: turn a trained model into artifacts."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import reprlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2p_edge.agreement import parity_text
from r2p_edge.cli import options as shared
from r2p_edge.cli.export_options import (
    add_checkpoint_options,
    add_contract_options,
    add_form_options,
    add_module_options,
    form_options,
    recipe_options,
)
from r2p_edge.cli.int8 import print_int8_rows, warn_of_int8
from r2p_edge.cli.output import ProgressLines, complain, print_json, warn
from r2p_edge.cli.per_frame import per_frame_rows
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import UsageError
from r2p_edge.runtimes import RUNTIMES

if TYPE_CHECKING:
    from r2p_edge.export.build import ExportReport
    from r2p_edge.export.targets.base import Built

_ONLY_A_KIT = 6
_DOING = "exporting and verifying"
_ARGS = """'{"num_classes": 101}'"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    from r2p_edge.export import TARGETS

    verb = add_verb(
        verbs,
        "export",
        run,
        "Turn a trained model into artifacts, each verified against its source.",
        "export motion --to onnx,openvino --out models/",
        "export weights.pth --preset kinetics400-torchvision --precision fp16 --out models/",
        "export model-fp32.onnx --precision int8 --videos UCF-101/ --out models/",
    )
    verb.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="checkpoint (.ckpt, .pth, .pt, .pt2, .safetensors), ONNX file, ID of weights that "
        "'r2p-edge weights' has fetched, or 'motion', the bundled model",
    )
    add_checkpoint_options(verb)
    verb.add_argument(
        "--to",
        default="onnx",
        metavar="LIST",
        help=f"targets, separated by commas: {', '.join(TARGETS)} (default: onnx)",
    )
    verb.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="output folder, made if it does not exist",
    )
    verb.add_argument(
        "--name", help="name of the artifacts (default: that of the spec, or else of the source)"
    )
    verb.add_argument(
        "--replace",
        action="store_true",
        help="replace a model of the same name that has other classes or is another network "
        "(default: refuse to)",
    )
    verb.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        help="precision of the artifacts (default: the source's)",
    )
    verb.add_argument(
        "--graph",
        choices=("auto", "conv3d", "conv2d"),
        default="auto",
        help="form of the network; conv2d has no 3-D convolutions and the same outputs (default: "
        "auto, the form that each target runs best)",
    )
    verb.add_argument(
        "--batch",
        type=_batch,
        metavar="N",
        help="clips per call, or 'dynamic' for any number, where the target takes that (default: "
        "1, or the batch of an ONNX source)",
    )
    verb.add_argument(
        "--feature-output",
        action="store_true",
        default=None,
        help="give the artifacts further outputs: pooled features, the feature map, and what it "
        "says for each class, which 'r2p-edge sheet --cam' draws (default: as an ONNX source has "
        "them)",
    )
    verb.add_argument(
        "--strict",
        action="store_true",
        help="refuse a recipe that would be warned of, and exit with code "
        f"{_ONLY_A_KIT} if only a kit can be made for a target",
    )
    verb.add_argument(
        "--golden",
        type=Path,
        metavar="FILE.npz",
        help="clips and the answers of the framework that trained the model, which the artifacts "
        "must reproduce (see the page on export)",
    )
    add_contract_options(verb)
    add_module_options(verb)
    add_form_options(verb)
    shared.add_calibration_options(
        verb, "calibration, for --precision int8, and --videos for --form per-frame"
    )
    verb.add_former_clips(shared.VIDEOS)
    from r2p_edge.export.targets.table import TABLE

    chips, rockchips = (", ".join(TABLE[name].chips) for name in ("tensorrt-rtx", "rknn"))
    engine = verb.add_argument_group("TensorRT and RKNN")
    engine.add_argument(
        "--workspace",
        type=float,
        metavar="MIB",
        help="GPU memory that kernels may use, in MiB (default: TensorRT's limit)",
    )
    engine.add_argument(
        "--timing-cache",
        type=Path,
        metavar="DIR",
        help="existing folder for measurements that make the next build faster (default: none)",
    )
    engine.add_argument(
        "--chip",
        metavar="LIST",
        help=f"chips that tensorrt-rtx builds for, separated by commas: {chips} (default: all but "
        f"sm75); or the one that rknn builds for: {rockchips} (default: rk3588)",
    )


def _batch(text: str) -> int | str:
    """Return the number of clips per call, or "dynamic"."""
    if text != "dynamic" and not text.lstrip("-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor 'dynamic'")
    return text if text == "dynamic" else int(text)


def run(options: argparse.Namespace) -> int:
    """Export; return 0, or the exit code of the last target that failed."""
    _check_out(options.out)
    if options.precision != "int8":
        shared.check_no_calibration(options, videos=options.form != "clip")
    with _status(options) as progress:
        outcome = _build(options, progress)
    built, failed = outcome.built, outcome.failed
    code = 0
    if options.strict and any(artifact.status == "kit" for artifact in built):
        code = _ONLY_A_KIT
    for _, error in failed:
        code = error.exit_code
        complain(error)
    for doubt in outcome.warnings:
        warn(doubt)
    for artifact in built:
        warn_of_int8(artifact.path, artifact.spec)
    if options.json:
        report: dict[str, Any] = {
            "artifacts": [artifact.to_dict() for artifact in built],
            "warnings": outcome.warnings,
        }
        if failed:
            report["failed"] = [{"target": name, "error": str(error)} for name, error in failed]
        print_json(report)
    else:
        show(built)
    return code


def _check_out(out: Path) -> None:
    """Raise UsageError where a file is named as the folder of the artifacts."""
    suffixes = {suffix for row in RUNTIMES.values() for suffix in row.suffixes}
    if out.suffix.lower() in suffixes and not os.path.isdir(out):
        raise UsageError(
            f"--out is a folder, and {out} the name of a file; give --out {out.parent} --name "
            f"{out.stem}"
        )


@contextlib.contextmanager
def _status(options: argparse.Namespace) -> Iterator[Callable[[str, int, int], None]]:
    """Show what is being done; yield the function that takes each step."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        lines = ProgressLines()
        yield lambda step, tried, targets: lines(
            f"{_DOING}: {step}; target", min(tried + 1, targets), targets
        )
        return
    if options.json:
        yield lambda *_: None
        return
    with console.status(_DOING) as status:
        yield lambda step, tried, targets: status.update(
            f"{_DOING}, target {min(tried + 1, targets)} of {targets}: {step}"
        )


def _build(options: argparse.Namespace, progress: Callable[[str, int, int], None]) -> ExportReport:
    """Build what the options ask for, as far as it can be built."""
    from r2p_edge.export.build import build

    calibration = None
    if options.precision == "int8":
        from r2p_edge.calibration.calibrate import Calibration

        calibration = Calibration(**shared.calibration_options(options))
    return build(
        _source(options),
        targets=shared.names_in(options.to),
        out=options.out,
        name=options.name,
        precision=options.precision,
        graph=options.graph,
        batch=options.batch,
        golden=options.golden,
        feature_outputs=options.feature_output,
        strict=options.strict,
        replace=options.replace,
        module=options.module,
        args=_arguments(options.args),
        trust_code=options.trust_code,
        calibration=calibration,
        workspace=None if options.workspace is None else int(options.workspace * 2**20),
        timing_cache=options.timing_cache,
        chips=shared.names_in(options.chip),
        progress=progress,
        keep_going=True,
        **form_options(options),
        **recipe_options(options),
    )


def _source(options: argparse.Namespace) -> Path | str | None:
    """Return the source: SOURCE, or the weights of a module."""
    source: Path | str | None = options.source
    if options.module is None and options.weights is not None:
        raise UsageError("--weights are those of --module; give that too, or SOURCE alone")
    if options.module is not None and source is not None:
        raise UsageError(
            f"both {source} and --module were given; give the weights of the module as --weights"
        )
    return source if options.module is None else options.weights


def _arguments(text: str | None) -> dict[str, Any] | None:
    """Return the arguments of a module's factory."""
    if text is None:
        return None
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--args is not JSON ({error}); give an object such as {_ARGS}") from error
    if not isinstance(arguments, dict):
        raise UsageError(f"--args is {reprlib.repr(text)}; give an object such as {_ARGS}")
    return arguments


def show(built: list[Built]) -> None:
    """Print the artifacts for people."""
    for artifact in built:
        target, precision = artifact.target, artifact.spec.precision
        print(f"{artifact.path}: {target} {precision}{_verdict(artifact)}")
        print_int8_rows(artifact.spec)
        for name, value in per_frame_rows(artifact.spec).items():
            print(f"{name:>9}  {value}")


def _verdict(artifact: Built) -> str:
    """Return an artifact's form and how it was verified, or why it is a kit."""
    if artifact.status == "kit":
        fits = (artifact.spec.target or {}).get("fits")
        kit = f"kit for {fits}" if fits else "kit"
        lacks = "MindSpore Lite's converter is not here"
        if artifact.target == "mindspore":
            lacks += " (or pip install mindspore)"
        elif artifact.target == "tensorrt":
            lacks = "TensorRT or a GPU for it is not here"
        elif artifact.target == "tensorrt-rtx":
            lacks = "tensorrt_rtx is not here (pip install tensorrt-rtx-cu12)"
        elif artifact.target == "rknn":
            lacks = "RKNN-Toolkit2 is not here (R2P_RKNN_PYTHON names its Python)"
        advice = "copy the folder to where it is, and run build.py there"
        if artifact.target.startswith("ascend"):
            advice += ", or build an .om of it on the board: examples/atlas/build_om.sh"
        return f" {kit}, because {lacks}; {advice}"
    parity, form = artifact.spec.parity, f" {artifact.spec.graph}" if artifact.spec.graph else ""
    return f"{form}, {parity_text(parity)}"
