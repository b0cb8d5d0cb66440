"""The evaluation of models on a data set: accuracy, its confidence interval, and latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration.matching import Video
from r2p_edge.calibration.tally import Tally, wilson_interval
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import BackendError, R2PError, UsageError, VideoError
from r2p_edge.prediction import Timing
from r2p_edge.predictor import Predictor
from r2p_edge.spec import ModelSpec
from r2p_edge.video.clip_reader import ClipReader

__all__ = ["evaluate", "print_evaluation", "wilson_interval"]


def evaluate(
    models: Sequence[str | Path],
    folder: str | Path,
    split: str | Path | None = None,
    *,
    views: int = 1,
    per_class: bool = False,
    runtime: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: Literal["fp32", "fp16", "bf16"] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure models on the videos of a data set, all models in one pass over it.

    A video is decoded and preprocessed once for all models whose specs ask for the same pixels.
    A video that cannot be read for one model is left out for all.

    Args:
        models: model files of the same classes, in any order.
        folder, split: see `list_videos`.
        views: clips per video, as in `Predictor.predict`; a video's probabilities are their mean.
        per_class: report the top-1 of each class too.
        runtime, device, threads, precision: see `Predictor`.
        progress: called after each video with the number done and the number of all.

    Returns:
        {"videos", "views", "classes", "subset", "split", "missing", "foreign", "left_out",
        "results": [{"path", "runtime", "device", "precision", "weights", "top1", "top1_interval",
        "top5", "top5_interval", "clip_top1", "clip_top5", "agreement", "latency_ms": {"inference",
        "total"}, "warnings"}], "failed": [{"video", "error"}]}. A model that cannot be opened with
        these options has {"path", "error", "exit_code"} instead, and the others go on. `precision`
        is that of the computation, `weights` that of the file. Shares are of the videos measured,
        which are not those that `failed`, clip_* of their single clips. Intervals are of 95 % and
        assume independent videos; the clips of one video are not, and have none. `agreement` is
        the share of videos whose top-1 class is that of the first model that could be opened.
        Latencies are {"p50", "p90", "p99"} of the milliseconds per video: for inference on all its
        views, and in `total` with decoding and preprocessing. `warnings` says where the labels are
        doubtful, see `label_order.doubt_of`. With `per_class` a result has
        "per_class": [{"label", "videos", "top1"}] too.

    Raises:
        UsageError: no model is given, `views` is not positive, or an option has no valid value.
        VideoError: the folder or list cannot be used, or none of the videos can be read.
        SpecError: the models have different classes.
        R2PError: none of the models can be opened, or one fails later; see `Predictor`.
    """
    if not models or views < 1:
        raise UsageError(f"there are {len(models)} models and {views} views; give at least one")
    failed: list[tuple[str, VideoError]] = []
    with ExitStack() as stack:
        predictors: list[Predictor] = []
        refused: list[tuple[int, R2PError]] = []
        for number, model in enumerate(models):
            try:
                predictor = Predictor(
                    model, runtime=runtime, device=device, threads=threads, precision=precision
                )
            except (BackendError, UsageError) as error:  # of an option that is not for this model
                refused.append((number, error))
            else:
                predictors.append(stack.enter_context(predictor))
        if not predictors:
            raise refused[0][1]
        labels = predictors[0].spec.labels
        tallies = [Tally(predictor, labels) for predictor in predictors]
        listing = list_videos(folder, labels, split)
        readers = {_pixel_contract(tally.spec): ClipReader(tally.spec) for tally in tallies}
        for tally in tallies:
            tally.predictor.warmup()
        for done, video in enumerate(listing.videos, 1):
            try:
                read = {key: _read(reader, video, views) for key, reader in readers.items()}
            except VideoError as error:
                failed.append((video.name, error))
            else:
                for tally in tallies:
                    tally.answer(video, *read[_pixel_contract(tally.spec)])
            if progress is not None:
                progress(done, len(listing.videos))
    if len(failed) == len(listing.videos):
        raise VideoError(f"none of the {len(failed)} videos can be read: {failed[0][1]}")
    results = [tally.result(tallies[0], per_class) for tally in tallies]
    for number, why in refused:
        failure = {"path": str(models[number]), "error": str(why), "exit_code": why.exit_code}
        results.insert(number, failure)
    return {
        "videos": len(listing.videos) - len(failed),
        "views": views,
        "classes": len(labels),
        "subset": listing.subset,
        "split": listing.split,
        "missing": len(listing.missing),
        "foreign": len(listing.foreign),
        "left_out": len(listing.left_out),
        "results": results,
        "failed": [{"video": name, "error": str(error)} for name, error in failed],
    }


def _pixel_contract(spec: ModelSpec) -> tuple[Any, ...]:
    """Return the parts of a spec that decide the pixels that a model sees."""
    return spec.clip, spec.resize, spec.crop, spec.input.color


def _read(reader: ClipReader, video: Video, views: int) -> tuple[npt.NDArray[np.uint8], Timing]:
    timing = Timing()
    return reader.read(video.path, clips=views, part=video.part, timing=timing).pixels, timing


def print_evaluation(report: dict[str, Any]) -> None:
    """Print the report of `evaluate` on stdout."""
    views = f", {report['views']} clips of each" if report["views"] > 1 else ""
    print(f"{report['videos']} videos of {report['split'] or 'the folder'}{views}")
    if report["missing"]:
        print(f"left out: {report['missing']} that the folder does not have")
    if report["foreign"]:
        print(f"left out: {report['foreign']} of classes that the model does not have")
    for failure in report["failed"]:
        print(f"left out: {failure['error']}")
    for result in report["results"]:
        if "error" in result:
            print(f"{result['path']}\n  error: {result['error']}")
    measured = [result for result in report["results"] if "error" not in result]
    for number, result in enumerate(measured):
        _print_result(result, report["views"], first=number == 0)
    if "per_class" in measured[0]:
        _print_classes([result["per_class"] for result in measured])


def _print_result(result: dict[str, Any], views: int, first: bool) -> None:
    def share(name: str) -> str:
        low, high = result[f"{name}_interval"]
        clips = f", {result[f'clip_{name}']:.1%} of single clips" if views > 1 else ""
        return f"{result[name]:.1%} (95 % interval {low:.1%} to {high:.1%}){clips}"

    def latency(name: str) -> str:
        return ", ".join(f"{key} {value:.1f}" for key, value in result["latency_ms"][name].items())

    precision, weights = result["precision"], result["weights"]
    computed = precision if precision == weights else f"{precision} from {weights} weights"
    print(
        f"{result['path']} ({result['runtime']} on {result['device']}, {computed})\n"
        f"  top-1 {share('top1')}\n"
        f"  top-5 {share('top5')}"
    )
    if not first:
        print(f"  agrees with the first model on {result['agreement']:.1%}")
    print(f"  inference {latency('inference')} ms; with decoding {latency('total')} ms")


def _print_classes(models: list[list[dict[str, Any]]]) -> None:
    print("videos  top-1 of each model")
    for rows in zip(*models):
        shares = " ".join(f"{row['top1']:6.1%}" for row in rows)
        print(f"{rows[0]['videos']:6}  {shares}  {rows[0]['label']}")
