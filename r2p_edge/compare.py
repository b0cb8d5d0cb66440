"""Comparison of models on the same clips, each in a process of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge import _isolated
from r2p_edge._isolated import ProcessFailedError
from r2p_edge.agreement import TOLERANCE, agreement, within_tolerance
from r2p_edge.artifact.pair_file import refuse_pair
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import (
    BackendError,
    OutputError,
    R2PError,
    SpecError,
    UsageError,
    VideoError,
    count_of,
    none_of,
)
from r2p_edge.predictor import Predictor
from r2p_edge.runtimes.base import Options
from r2p_edge.video.video_folder import videos_in

_log = logging.getLogger(__name__)

_ANSWER = f"{__name__}:answer"
_READABLE_SHARE = 1e-3  # in percent with one digit
_IDENTITY = ("path", "runtime", "device", "precision")

# Fields of a spec that two forms of one model should have in common.
_DECIDING = ("output", "clip", "resize", "crop", "scale", "mean", "std", "source")


def compare(
    reference: str | Path,
    artifacts: Sequence[str | Path],
    clips: Sequence[str | Path] | np.ndarray,
    *,
    runtime: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: Literal["fp32", "fp16", "bf16"] | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> dict[str, Any]:
    """Run models on the same clips, each in a process of its own, and compare their outputs.

    Every model reads the clips as its own spec says.

    Args:
        reference: model file that the others are compared with, on its default runtime and device.
        artifacts: the other model files; the reference itself may be among them, for another
            runtime.
        clips: video files, or uint8 clips (N, T, H, W, 3); of models of optical flow, clips in
            memory are flow as `Predictor.pixels` gives it.
        runtime, threads, precision: for the artifacts, see `Predictor`.
        device: for the artifacts, e.g. "cpu" or "cuda:1"; default: the runtime's first.
        progress: called after each clip with the model's path and the number of clips tried.

    Returns:
        {"clips", "reference": {"path", "runtime", "device", "precision"}, "results": [{"path",
        "runtime", "device", "precision", "clips", "max_abs", "max_rel", "cosine", "top1", "worst",
        "within", "tolerance", "differs"}], "failed": [{"clip", "error"}]}: the figures of
        `Agreement`, the clip of the largest difference (its path or number), the tolerance and
        whether the figures are within it, the fields of the two contracts that differ, and the
        clips that a model could not read, which the figures leave out. Of models that give values
        and no classes, `top1` is None. An artifact that cannot
        answer has {"path", "error", "exit_code"} instead, and the others go on.

    Raises:
        UsageError: there are no clips, an option is wrong in itself, or a file names two models.
        OutputError: the temporary folder cannot be written to.
        VideoError: none of the clips can be read.
        ParityError: the reference answers NaN.
        R2PError: the reference cannot answer; see `Predictor`.
    """
    Options(device, threads, precision)
    if isinstance(clips, (str, Path)) or len(clips) == 0:
        raise UsageError("clips must be video files or an array of clips, at least one")
    for model in (reference, *artifacts):
        refuse_pair(Path(model))
    failed: dict[str, str] = {}
    with scratch_folder("the clips") as folder:
        if isinstance(clips, np.ndarray):
            file = folder / "clips.npy"
            try:
                np.save(file, clips)
            except OSError as error:  # NumPy's own, which does not tell the cause
                raise OutputError(
                    f"{file} cannot be written ({error.strerror or error}); make room there, or "
                    "set TMPDIR to another folder"
                ) from error
            sources: str | list[str] = str(file)
        else:
            sources = [str(clip) for clip in clips]

        def run(model: str | Path, **options: Any) -> dict[str, Any]:
            arguments = {"model": str(model), "clips": sources, "options": options}
            report = None if progress is None else lambda done: progress(str(model), done)
            try:
                answered: dict[str, Any] = _isolated.call(_ANSWER, arguments, progress=report)
            except ProcessFailedError as error:
                _log.warning("%s could not be run: %s", model, error)
                raise BackendError(f"{model} could not be run: {error}") from error
            failed.update(answered["failed"])
            return answered

        original = run(reference)
        _check_reference(original)
        results = []
        for artifact in artifacts:
            try:
                answered = run(
                    artifact, runtime=runtime, device=device, threads=threads, precision=precision
                )
                results.append(_compared(original, answered))
            except R2PError as error:
                results.append(
                    {"path": str(artifact), "error": str(error), "exit_code": error.exit_code}
                )
    return {
        "clips": len(original["outputs"]),
        "reference": {key: original[key] for key in _IDENTITY},
        "results": results,
        "failed": [{"clip": clip, "error": error} for clip, error in failed.items()],
    }


def spread_videos(folder: str | Path, count: int | None = None) -> list[Path]:
    """Return videos of a folder to compare on, spread evenly over all that it has.

    The first files of a folder are often of one class.

    Args:
        folder: looked through with the folders in it.
        count: at most this many; None for all.

    Raises:
        UsageError: `count` is not positive.
        VideoNotFoundError: there is no such folder.
        VideoError: there is no video in it.
    """
    if count is not None and count < 1:
        raise UsageError(f"count is {count}; it must be 1 or more")
    videos = videos_in(Path(folder))
    chosen = np.linspace(0, len(videos) - 1, min(count or len(videos), len(videos)))
    return [videos[round(number)] for number in chosen]


def answer(
    report: Callable[[int], None], model: str, clips: str | list[str], options: dict[str, Any]
) -> dict[str, Any]:
    """Return the outputs of one model on the clips, as plain JSON types.

    `compare` calls it in a process of its own.
    """
    with Predictor(model, **options) as predictor:
        named: Iterable[tuple[str, Any]] = zip(clips, clips)
        if isinstance(clips, str):
            named = ((str(number), clip) for number, clip in enumerate(np.load(clips)))
        outputs, failed = {}, {}
        for done, (name, source) in enumerate(named, 1):
            try:
                outputs[name] = _outputs(predictor, source)[0].tolist()
            except VideoError as error:
                failed[name] = str(error)
            report(done)
        return {
            "path": model,
            "runtime": predictor.runtime,
            "device": predictor.device,
            "precision": predictor.precision,
            "spec": predictor.spec.to_dict(),
            "outputs": outputs,
            "failed": failed,
        }


def _outputs(predictor: Predictor, source: Any) -> npt.NDArray[Any]:
    """Return a model's outputs, (1, classes), for a video or a clip in memory."""
    # Flow in memory is no video of which flow could be made.
    if predictor.spec.flow is not None and isinstance(source, np.ndarray):
        return predictor.outputs_of(source[np.newaxis])
    return predictor.outputs(source)


def _check_reference(answered: dict[str, Any]) -> None:
    """Make sure that the reference answered a clip, with finite numbers."""
    if not answered["outputs"]:
        first = next(iter(answered["failed"].values()))
        raise VideoError(f"{none_of(len(answered['failed']), 'clip')} can be read: {first}")
    outputs = np.array(list(answered["outputs"].values()))
    agreement(outputs, outputs)


def _compared(reference: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the result of one artifact, from what `answer` returned for both."""
    mine, theirs = other["spec"], reference["spec"]
    if mine["labels"] != theirs["labels"]:
        raise SpecError(
            f"{other['path']} has other labels than {reference['path']}; compare models of the "
            "same classes"
        )
    clips = [clip for clip in reference["outputs"] if clip in other["outputs"]]
    if not clips:
        raise VideoError(f"{other['path']} can read none of the clips that the reference read")
    expected = np.array([reference["outputs"][clip] for clip in clips])
    outputs = np.array([other["outputs"][clip] for clip in clips])
    found = agreement(expected, outputs)
    # Weights of fewer bits make a model coarse even where fp32 computes with them.
    involved = "".join(each["precision"] for each in (reference, other, mine, theirs))
    precision = next(name for name in ("int8", "bf16", "fp16", "fp32") if name in involved)
    return {
        **{key: other[key] for key in _IDENTITY},
        **asdict(found),
        **({"top1": None} if theirs["output"]["kind"] in ("values", "features") else {}),
        "worst": clips[int(np.abs(outputs - expected).max(axis=1).argmax())],
        "within": within_tolerance(found, precision),
        "tolerance": dict([TOLERANCE[precision]]) if precision in TOLERANCE else None,
        "differs": [name for name in _DECIDING if mine[name] != theirs[name]],
    }


def _verdict(result: dict[str, Any]) -> str:
    """Return whether the outputs are as close as the precision allows, for people."""
    if result["tolerance"] is None:
        return "no verdict, as int8 may differ by any amount; r2p-edge eval tells what it costs"
    ((figure, limit),) = result["tolerance"].items()
    wanted = f"{limit:g} of the largest or less" if figure == "max_rel" else f"{limit:g} or more"
    name = "a difference" if figure == "max_rel" else "a cosine"
    verdict = "close enough" if result["within"] else "NOT CLOSE ENOUGH"
    return f"{verdict}: {name} of {wanted} is allowed"


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= _READABLE_SHARE else f"{share:.1e}"


def print_comparison(report: dict[str, Any]) -> None:
    """Print the report of `compare` as text on stdout."""
    reference = report["reference"]
    print(
        f"{count_of(report['clips'], 'clip')}, against {reference['path']} "
        f"({reference['runtime']} on {reference['device']}, {reference['precision']})"
    )
    for failure in report["failed"]:
        print(f"left out: {failure['error']}")
    for result in report["results"]:
        if "error" in result:
            print(f"{result['path']}\n  error: {result['error']}")
            continue
        same = "" if result["top1"] is None else f"best class equal on {result['top1']:.1%}, "
        print(
            f"{result['path']} ({result['runtime']} on {result['device']}, {result['precision']})\n"
            f"  {same}outputs differ by at most {result['max_abs']:.3g}, which is "
            f"{_share(result['max_rel'])} of the largest; least cosine {result['cosine']:.6f}\n"
            f"  {_verdict(result)}"
        )
        if result["differs"]:
            print(f"  its contract differs in {', '.join(result['differs'])}")
        if result.get("first_difference"):
            print(f"  {result['first_difference']}")
