"""`r2p-edge calibrate`: turn an fp32 ONNX artifact into an int8 one."""

from __future__ import annotations

import argparse
from pathlib import Path

from r2p_edge.cli import options as shared
from r2p_edge.cli.int8 import print_int8_rows, warn_of_int8
from r2p_edge.cli.output import print_json, progress_bars
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.spec import ModelSpec


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "calibrate",
        run,
        "Turn an fp32 ONNX artifact into an int8 one.",
        "calibrate model-fp32.onnx --videos UCF-101/ --split trainlist01.txt --out model-int8.onnx",
        "calibrate r2p-edge-demo/motion-fp32.onnx --num-clips 50 --out motion-int8.onnx",
    )
    verb.add_argument("model", type=Path, metavar="MODEL.onnx", help="fp32 artifact")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="ONNX file to write")
    verb.add_argument(
        "--profile",
        choices=("cpu", "cpu-avx2", "arm", "tensorrt"),
        help="hardware that the model is for (default: the CPU of this machine)",
    )
    shared.add_calibration_options(verb, "calibration")
    verb.add_former_clips(shared.VIDEOS)


def run(options: argparse.Namespace) -> int:
    """Calibrate; return 0."""
    from r2p_edge.calibration.calibrate import Calibration, calibrate

    with progress_bars() as progress:
        spec = calibrate(
            options.model,
            options.out,
            calibration=Calibration(**shared.calibration_options(options)),
            profile=options.profile,
            progress=progress,
        )
    warn_of_int8(options.out, spec)
    if options.json:
        records = spec.to_dict()
        print_json(
            {
                "path": str(options.out),
                "calibration": records["calibration"],
                "accuracy": records["accuracy"],
            }
        )
    else:
        show(options.out, spec)
    return 0


def show(path: Path, spec: ModelSpec) -> None:
    """Print what was written, for people."""
    print(f"{path}:")
    print_int8_rows(spec)
