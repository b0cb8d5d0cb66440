"""`r2p-edge compare`: compare artifacts with a reference on the same clips."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.artifact import open_artifact
from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json, progress_bars
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import ParityError, R2PError, VideoError

_GENERATED = 8  # clips


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "compare",
        run,
        "Compare the outputs of artifacts with those of a reference on the same clips.",
        "compare model-fp32.onnx model-fp16.xml",
        "compare model-fp32.onnx model-int8.xml --videos UCF-101/ --num-clips 100 --json",
    )
    verb.add_argument(
        "reference", type=Path, metavar="REFERENCE", help="model file to compare with"
    )
    verb.add_argument(
        "artifacts", type=Path, nargs="+", metavar="ARTIFACT", help="model file to compare"
    )
    shared.add_videos(verb, "folder of videos to compare on (default: generated clips)")
    shared.add_num_clips(
        verb,
        "compare on N clips in all, spread evenly over the folder (default: every video, or "
        f"{_GENERATED} generated clips)",
    )
    verb.add_former_clips(shared.VIDEOS)
    shared.add_runtime_options(verb, "the artifacts, but not the reference")


def run(options: argparse.Namespace) -> int:
    """Compare; return 0, or the exit code of the last artifact that fails or differs too much."""
    from r2p_edge.compare import compare

    shared.check_counts(options, ["num_clips"])
    clips = _clips(options)
    with progress_bars() as progress:
        for model in (options.reference, *options.artifacts):
            progress(model.name, 0, len(clips))
        report = compare(
            options.reference,
            options.artifacts,
            clips,
            **shared.runtime_options(options),
            progress=lambda model, done: progress(Path(model).name, done, len(clips)),
        )
    code = VideoError.exit_code if report["failed"] else 0
    for result in report["results"]:
        if "error" in result:
            code = result["exit_code"]
        elif not result["within"]:
            code = ParityError.exit_code
            result["first_difference"] = _first_difference(report["reference"], result, clips)
    if options.json:
        print_json(report)
    else:
        show(report)
    return code


def _clips(options: argparse.Namespace) -> list[Path] | np.ndarray:
    if options.videos is not None:
        from r2p_edge.compare import spread_videos

        return spread_videos(options.videos, options.num_clips)
    from r2p_edge.export.verify.synthetic_clips import verification_clips

    return verification_clips(
        open_artifact(options.reference).spec, options.num_clips or _GENERATED
    )


def _first_difference(reference: dict[str, Any], result: dict[str, Any], clips: Any) -> str | None:
    """Return which tensor diverges first; None where the two have none in common to compare."""
    one, two = (open_artifact(each["path"]) for each in (reference, result))
    same = one.spec.graph == two.spec.graph and one.spec.clip == two.spec.clip
    if not same or {reference["runtime"], result["runtime"]} != {"onnxruntime"}:
        return None
    worst = result["worst"] if isinstance(clips, list) else clips[int(result["worst"])]
    try:
        from r2p_edge.export.verify.first_difference import first_difference

        return first_difference(one.path, two.path, worst)
    except R2PError as error:
        return f"the first tensor that differs cannot be found: {error}"


def show(report: dict[str, Any]) -> None:
    """Print the report for people."""
    from r2p_edge.compare import print_comparison

    print_comparison(report)
