"""`r2p-edge eval`: how often models are right on a data set, how sure that is, and how fast."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration.ucf101 import Video, check_unreadable, class_finder, list_videos
from r2p_edge.errors import SpecError, UsageError, VideoError
from r2p_edge.prediction import Timing
from r2p_edge.predictor import Predictor
from r2p_edge.spec import ModelSpec
from r2p_edge.video.clip_reader import ClipReader

_PERCENTILES = (50, 90, 99)


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
    """Measures models on the videos of a data set, all of them in one pass over it.

    A video is decoded and preprocessed once for all models whose specs ask for the same pixels.
    One that a model cannot read is left out for every model.

    Args:
        models: model files of the same classes, in any order.
        folder, split: see `list_videos`.
        views: clips per video, as in `Predictor.predict`; a video's probabilities are their mean.
        per_class: tell the top-1 of each class too.
        runtime, device, threads, precision: see `Predictor`.
        progress: is called after each video with how many are done and how many there are.

    Returns:
        {"videos", "views", "classes", "subset", "split", "missing", "foreign", "results": [{"path",
        "runtime", "device", "precision", "top1", "top1_interval", "top5", "top5_interval",
        "clip_top1", "clip_top5", "agreement", "latency_ms": {"inference", "total"}}], "failed":
        [{"video", "error"}]}. Shares are of the videos measured, clip_* of their single clips.
        Intervals are of 95 % and take videos for independent; the clips of one video are not,
        and have none. `agreement` is the share of videos whose top-1 class is that of the first
        model. Latencies are {"p50", "p90", "p99"} of the milliseconds per video: for inference on
        all its views, and in `total` with decoding and preprocessing. With `per_class` a result
        has "per_class": [{"label", "videos", "top1"}] too.

    Raises:
        UsageError: there is no model, `views` is not positive, or an option is wrong in itself.
        VideoError: the folder or list cannot be used, or more than 5 % of the videos are damaged.
        SpecError: the models have different classes.
        R2PError: a model cannot answer, as `Predictor` says.
    """
    if not models or views < 1:
        raise UsageError(f"there are {len(models)} models and {views} views; give at least one")
    failed: list[tuple[str, VideoError]] = []
    with ExitStack() as stack:
        predictors = [
            stack.enter_context(
                Predictor(
                    model, runtime=runtime, device=device, threads=threads, precision=precision
                )
            )
            for model in models
        ]
        labels = predictors[0].spec.labels
        runs = [_Run(predictor, labels) for predictor in predictors]
        listing = list_videos(folder, labels, split)
        readers = {_pixel_contract(run.spec): ClipReader(run.spec) for run in runs}
        for run in runs:
            run.predictor.warmup()
        for done, video in enumerate(listing.videos, 1):
            try:
                read = {key: _read(reader, video, views) for key, reader in readers.items()}
            except VideoError as error:
                failed.append((video.name, error))
                check_unreadable(failed, len(listing.videos))
            else:
                for run in runs:
                    run.answer(video, *read[_pixel_contract(run.spec)])
            if progress is not None:
                progress(done, len(listing.videos))
    return {
        "videos": len(listing.videos) - len(failed),
        "views": views,
        "classes": len(labels),
        "subset": listing.subset,
        "split": listing.split,
        "missing": len(listing.missing),
        "foreign": len(listing.foreign),
        "results": [run.result(runs[0], per_class) for run in runs],
        "failed": [{"video": name, "error": str(error)} for name, error in failed],
    }


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `right` of `total` were seen.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22 (1927), 209-212. Unlike the textbook's share plus or
    minus 1.96 standard errors it holds near 0 and 1 and for few videos.
    """
    z = NormalDist().inv_cdf(0.975)
    share = right / total
    centre = share + z**2 / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _pixel_contract(spec: ModelSpec) -> tuple[Any, ...]:
    """What decides the pixels that a model is shown."""
    return spec.clip, spec.resize, spec.crop, spec.input.color


def _read(reader: ClipReader, video: Video, views: int) -> tuple[npt.NDArray[np.uint8], Timing]:
    timing = Timing()
    return reader.read(video.path, clips=views, timing=timing).pixels, timing


class _Run:
    """One model and how it did so far."""

    def __init__(self, predictor: Predictor, labels: Sequence[str]) -> None:
        self.predictor, self.spec = predictor, predictor.spec
        find = class_finder(self.spec.labels)
        # Models of different families order and spell the same classes differently.
        indices = [index for label in labels if (index := find(label)) is not None]
        if not len(set(indices)) == len(labels) == len(self.spec.labels):
            raise SpecError(
                f"{predictor.artifact.path} has other classes than the first model; measure models "
                "of the same classes together"
            )
        self._index = dict(zip(labels, indices))
        self._label = {index: label for label, index in self._index.items()}
        self._truths: list[str] = []
        self._labels: list[str] = []
        self._ranks: list[int] = []
        self._clip_ranks: list[int] = []
        self._inference: list[float] = []
        self._total: list[float] = []

    def answer(self, video: Video, pixels: npt.NDArray[np.uint8], spent: Timing) -> None:
        """Answers one video; `spent` is what its pixels took."""
        timing = dataclasses.replace(spent)
        scores = self.predictor.scores(pixels, timing=timing)
        # As Prediction holds them, so that ties fall as in predict.
        mean = scores.mean(axis=0).astype(np.float32)
        truth = self._index[video.label]
        self._truths.append(video.label)
        self._labels.append(self._label[int(mean.argmax())])
        self._ranks.append(_rank(mean, truth))
        self._clip_ranks.extend(_rank(clip, truth) for clip in scores)
        self._inference.append(timing.inference)
        self._total.append(timing.total)

    def result(self, reference: _Run, per_class: bool) -> dict[str, Any]:
        ranks, clip_ranks = np.array(self._ranks), np.array(self._clip_ranks)
        result: dict[str, Any] = {
            "path": str(self.predictor.artifact.path),
            "runtime": self.predictor.runtime,
            "device": self.predictor.device,
            "precision": self.predictor.precision,
        }
        for name, depth in (("top1", 1), ("top5", 5)):
            right = int((ranks < depth).sum())
            result[name] = right / len(ranks)
            result[f"{name}_interval"] = wilson_interval(right, len(ranks))
            result[f"clip_{name}"] = float((clip_ranks < depth).mean())
        pairs = zip(self._labels, reference._labels)
        result["agreement"] = float(np.mean([mine == other for mine, other in pairs]))
        result["latency_ms"] = {
            "inference": _percentiles(self._inference),
            "total": _percentiles(self._total),
        }
        if per_class:
            result["per_class"] = self._per_class()
        return result

    def _per_class(self) -> list[dict[str, Any]]:
        right: dict[str, list[bool]] = {}
        for truth, rank in zip(self._truths, self._ranks):
            right.setdefault(truth, []).append(rank == 0)
        return [
            {"label": label, "videos": len(right[label]), "top1": float(np.mean(right[label]))}
            for label in self._index
            if label in right
        ]


def _rank(scores: npt.NDArray[Any], truth: int) -> int:
    """How many classes come before the true one; of equal ones the first, as in `Prediction`."""
    order = np.argsort(-scores.astype(np.float32), kind="stable")
    return int(np.flatnonzero(order == truth)[0])


def _percentiles(milliseconds: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(milliseconds, q)), 2) for q in _PERCENTILES}


def print_evaluation(report: dict[str, Any]) -> None:
    """The report of `evaluate` as text on stdout."""
    views = f", {report['views']} clips of each" if report["views"] > 1 else ""
    print(f"{report['videos']} videos of {report['split'] or 'the folder'}{views}")
    if report["missing"]:
        print(f"left out: {report['missing']} that the folder does not have")
    if report["foreign"]:
        print(f"left out: {report['foreign']} of classes that the model does not have")
    for failure in report["failed"]:
        print(f"left out: {failure['error']}")
    for number, result in enumerate(report["results"]):
        _print_result(result, report["views"], first=number == 0)
    if "per_class" in report["results"][0]:
        _print_classes([result["per_class"] for result in report["results"]])


def _print_result(result: dict[str, Any], views: int, first: bool) -> None:
    def share(name: str) -> str:
        low, high = result[f"{name}_interval"]
        clips = f", {result[f'clip_{name}']:.1%} of single clips" if views > 1 else ""
        return f"{result[name]:.1%} (95 % interval {low:.1%} to {high:.1%}){clips}"

    def latency(name: str) -> str:
        return ", ".join(f"{key} {value:.1f}" for key, value in result["latency_ms"][name].items())

    print(
        f"{result['path']} ({result['runtime']} on {result['device']}, {result['precision']})\n"
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
