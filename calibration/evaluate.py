"""The evaluation of models on a data set: accuracy, its confidence interval, and latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from r2p_edge.archive.results import check_results_file
from r2p_edge.calibration.answered import answered_video
from r2p_edge.calibration.evaluation_text import print_evaluation
from r2p_edge.calibration.learnt import LearntVideos
from r2p_edge.calibration.one_pass import answer_videos, open_models
from r2p_edge.calibration.report.model_answers import ModelAnswers
from r2p_edge.calibration.report.write import WORST, check_report, write_report
from r2p_edge.calibration.tally import wilson_interval
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import UsageError, VideoError, none_of

__all__ = ["evaluate", "print_evaluation", "wilson_interval"]


def evaluate(
    models: Sequence[str | Path],
    folder: str | Path,
    split: str | Path | None = None,
    *,
    views: int = 1,
    per_class: bool = False,
    out: str | Path | None = None,
    resume: bool = False,
    report: str | Path | None = None,
    worst: int = WORST,
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
        models: model files of the same classes, in any order, or JSON files of two streams.
        folder, split: see `list_videos`.
        views: clips per video, as in `Predictor.predict`; a video's probabilities are their mean.
        per_class: report the top-1 of each class too.
        out: file for a row of each video and model, .csv, .jsonl or .parquet; its columns are
            those of `evaluation_columns`. While it works, the rows are in a journal beside it.
        resume: go on with an earlier run of the same models, options and videos, if there is one.
            Videos that could not be read, or have another size by now, are tried again.
        report: page to write about the answers, .html; see `r2p_edge.calibration.report`.
        worst: number of videos of each model that it shows.
        runtime, device, threads, precision: see `Predictor`.
        progress: called with the number of videos that are done and the number of all.

    Returns:
        {"videos", "views", "classes", "subset", "split", "missing", "foreign", "left_out",
        "results": [{"path", "runtime", "device", "precision", "weights", "top1", "top1_interval",
        "top5", "top5_interval", "clip_top1", "clip_top5", "agreement", "ece", "latency_ms":
        {"inference", "total"}, "warnings"}], "failed": [{"video", "error"}]}. A model that cannot
        be opened with these options has {"path", "error", "exit_code"} instead, and the others go
        on. `precision` is that of the computation, `weights` that of the file. Shares are of the
        videos measured, which are not those that `failed`, clip_* of their single clips. Intervals
        are of 95 % and assume independent videos; the clips of one video are not, and have none.
        `agreement` is the share of videos whose top-1 class is that of the first model that could
        be opened, `ece` the expected calibration error, see `Tally.reliability`. Latencies are
        {"p50", "p90", "p99"} of the milliseconds per video: for inference on all its views, and in
        `total` with decoding and preprocessing. `warnings` says where the labels are doubtful, see
        `label_order.doubt_of`, and how many videos the model was trained on, as far as its contract
        says. A model of two streams has "streams": {"rgb" and "flow": {"top1", "top1_interval"}}
        too, their own answers to the same videos. With `per_class` a result has
        "per_class": [{"label", "videos", "top1", "top1_interval", "instead"}] too, where `instead`
        is the class that most of the others were answered as, or None.

    Raises:
        UsageError: no model is given, `views` is not positive, an option has no valid value, `out`
            exists without `resume`, or an earlier run was another.
        OutputError: the rows or the page cannot be written.
        MissingDependencyError: Parquet needs pyarrow.
        VideoError: the folder or list cannot be used, or none of the videos can be read.
        SpecError: the models have different classes.
        R2PError: none of the models can be opened, or one fails later; see `Predictor`.
    """
    if not models or views < 1:
        raise UsageError(f"there are {len(models)} models and {views} views; give at least one")
    if resume and out is None:
        raise UsageError("only a run whose rows are kept can be gone on with; give out (--out) too")
    if out is not None:
        check_results_file(Path(out))
    if report is not None:
        check_report(Path(report), worst)
    with ExitStack() as stack:
        opened, refused = open_models(
            models, stack, runtime=runtime, device=device, threads=threads, precision=precision
        )
        labels = next(iter(opened.values())).labels
        listing = list_videos(folder, labels, split)
        rows = answer_videos(
            listing,
            opened,
            views=views,
            out=None if out is None else Path(out),
            resume=resume,
            progress=progress,
        )
    failed = [
        {"video": video.name, "error": first["error"]}
        for video, (first, *_) in zip(listing.videos, rows)
        if first.get("error") is not None
    ]
    if len(failed) == len(listing.videos):
        raise VideoError(f"{none_of(len(failed), 'video')} can be read: {failed[0]['error']}")
    judged = [
        ModelAnswers(
            identity=model.identity,
            views=views,
            labels=model.labels,
            spec=model.spec,
            answers=[answered_video([row]) for row in own],
        )
        for own, model in zip(zip(*rows), opened.values())
    ]
    read = [video for video, (row, *_) in zip(listing.videos, rows) if row.get("error") is None]
    doubts = [LearntVideos(model.spec.source).doubt_of(read) for model in opened.values()]
    if report is not None:
        notes = [f"{models[number]} has no answers: {why}" for number, why in refused.items()]
        notes += [f"{models[number]}: {doubt}" for number, doubt in zip(opened, doubts) if doubt]
        source = listing.split or "its folder"
        write_report(judged, Path(report), truth=source, notes=notes, worst=worst)
    results = [each.figures(judged[0], per_class=per_class) for each in judged]
    for result, doubt in zip(results, doubts):
        result["warnings"] = [*result["warnings"], *filter(None, [doubt])]
    for number, why in sorted(refused.items()):
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
        "failed": failed,
    }
