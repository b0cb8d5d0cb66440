"""Teaching: a new head for the network of an artifact, from a user's own videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.open import Artifact, open_artifact
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.predictor import Predictor
from r2p_edge.spec import ModelSpec, OutputSpec
from r2p_edge.spec.checks import plain
from r2p_edge.teaching.classes import check_enough, videos_to_measure
from r2p_edge.teaching.fitting import STRENGTHS, Method
from r2p_edge.teaching.head import NONE_OF_THESE, TaughtHead
from r2p_edge.teaching.lesson import learn
from r2p_edge.teaching.material import material_of
from r2p_edge.teaching.reading import read_features
from r2p_edge.teaching.report import Taught
from r2p_edge.video.class_folders import check_names

if TYPE_CHECKING:
    from r2p_edge.export.taught import Network

TaskProgress = Callable[[str, int, int], None]
"""Called with the name of a task, and how many of how many of its steps are done."""


def teach(
    model: str | Path,
    out: str | Path,
    videos: str | Path | None = None,
    *,
    split: str | Path | None = None,
    features: str | Path | None = None,
    save_features: str | Path | None = None,
    test: str | Path | None = None,
    test_split: str | Path | None = None,
    views: int | None = None,
    method: Method | None = None,
    reject: float | None = None,
    keep_old: bool = False,
    runtime: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: Literal["fp32", "fp16", "bf16"] | None = None,
    progress: TaskProgress = lambda task, done, total: None,
) -> Taught:
    """Write a copy of an artifact that answers the classes of a folder of videos.

    The network stays as it is, in float or int8; what it makes of a clip, its features, gets a new
    head. The clips are taken and preprocessed as the artifact's contract says. The head is judged
    on videos that it was found without, and the copy is compared with it before it is written.

    Args:
        model: an ONNX or OpenVINO artifact.
        out: the file to write, of the same format.
        videos: folder with a folder of videos for each class. With `features` it may also be the
            folder of one class.
        split: list of the videos to take, such as `trainlist01.txt`; by default all.
        features: .npz file that `save_features` wrote, whose videos count too, and are not read
            again. Its features are those of `model`, or of the model that this was taught from.
        save_features: .npz file to write the features of all videos to.
        test, test_split: folder, and list, of videos to measure the result on. Without a folder
            the list is of `videos`.
        views: clips of each video, as in `Predictor.predict`; by default 1, or those of `features`.
        method: "mean" for nearest class means, "logistic" for logistic regression; by default
            means below five videos a class.
        reject: share of the videos that may be answered "none of these", an answer that is added;
            such as 0.1. By default there is no such answer.
        keep_old: keep the classes that the model has, before the new ones.
        runtime, device, threads, precision: to compute the features with, see `Predictor`.
        progress: called after each step of long work.

    Raises:
        UsageError: an argument is wrong in itself, `out` is of another format or is `model`, or
            `features` are of another model.
        VideoError: the classes or videos cannot be used: one class, a class of one video and no
            `test`, two classes of one name, a video in two classes, or too many are damaged.
        ModelNotFoundError, ModelError, SpecError: the model cannot be opened, or has no features.
        ParityError: the copy does not answer as the head does; nothing is written.
        OutputError: a file cannot be written.
        BackendError: the runtime is unavailable, or failed.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    from r2p_edge.artifact.scratch import scratch_folder
    from r2p_edge.export.taught import network_in

    artifact, out = open_artifact(model), Path(out)
    network = network_in(artifact.path, artifact.spec)
    kept_in = None if save_features is None else Path(save_features)
    _check_out(artifact, out, network.suffix, kept_in)
    _check_options(artifact, views, method, reject, keep_old=keep_old)
    material = material_of(
        artifact,
        None if videos is None else Path(videos),
        None if split is None else Path(split),
        None if features is None else Path(features),
        views,
    )
    labels = _labels(artifact, material.labels, reject, keep_old=keep_old)
    measured_in = _folder_to_measure_in(test, test_split, videos)
    # A threshold is set by videos that are left out, whatever is measured on others.
    material.check(measured=measured_in is not None and reject is None)
    spec = _planned(artifact.spec, out, labels, material.model)
    if measured_in is not None:
        material.check_apart(videos_to_measure(measured_in, labels, test_split))
    options: _Options = {
        "runtime": runtime,
        "device": device,
        "threads": threads,
        "precision": precision,
    }
    with scratch_folder(artifact.path) as scratch:
        read = None
        if material.listed:
            draft = scratch / f"features{network.suffix}"
            with Predictor(draft, spec=network.write_features(draft), **options) as predictor:
                read = read_features(
                    predictor,
                    material.listed,
                    material.views,
                    lambda done, total: progress("looking at videos", done, total),
                )
        taught = material.with_read(read)
        groups = taught.groups_by_class()
        check_enough(material.labels, groups, measured=measured_in is not None and reject is None)
        if kept_in is not None:
            taught.save(kept_in)
        lesson = learn(taught, method, reject, _own_head(network, artifact) if keep_old else None)
        assert spec.source is not None
        kept = artifact.spec.source if keep_old else None
        spec = spec.replace(source={**spec.source, "head": lesson.record(taught, kept)})
        draft = scratch / f"draft{network.suffix}"
        spec = network.write_draft(lesson.head, spec, draft)
        spec = spec.replace(parity=network.parity(draft, spec, lesson.head))
        tested = None
        if measured_in is not None:
            tested = _measured(
                draft,
                measured_in,
                test_split,
                material.views,
                options,
                lambda done, total: progress("measuring", done, total),
            )
            spec = spec.replace(accuracy=tested)
        network.write(draft, spec, out)
    failed = [] if read is None else read.failed
    return Taught(
        out,
        spec,
        Counter(video["label"] for video in taught.videos),
        lesson.left_out,
        tested,
        [{"video": name, "error": str(error)} for name, error in failed],
        _warnings(lesson.left_out, len(labels)),
    )


class _Options(TypedDict):
    """Options of a `Predictor`."""

    runtime: str | None
    device: str | None
    threads: int | None
    precision: Literal["fp32", "fp16", "bf16"] | None


def _check_out(artifact: Artifact, out: Path, suffix: str, features: Path | None) -> None:
    """Make sure, before long work, that the results can be written."""
    if out.suffix.lower() != suffix:
        raise UsageError(
            f"{out} is to become a file of the format of {artifact.path}, whose name must end in "
            f"{suffix}"
        )
    check_folder(out)
    if out.exists() and out.samefile(artifact.path):
        raise UsageError(
            f"{out} is the model itself; name another file, since other classes are taught from "
            "that one"
        )
    if features is not None:
        if features.suffix.lower() != ".npz":
            raise UsageError(f"{features} is to become a file of features; let it end in .npz")
        check_folder(features)


def _check_options(
    artifact: Artifact,
    views: int | None,
    method: str | None,
    reject: float | None,
    *,
    keep_old: bool,
) -> None:
    """Raise UsageError where an option is wrong in itself, or contradicts another."""
    if views is not None and views < 1:
        raise UsageError(f"views is {views}; it must be 1 or more")
    if method is not None and method not in STRENGTHS:
        raise UsageError(f"method is {method!r}; it must be one of {', '.join(STRENGTHS)}")
    if reject is not None and not 0 < reject < 1:
        raise UsageError(
            f"reject is {reject:g}; it is the share of the videos that may be answered "
            f"{NONE_OF_THESE!r}, above 0 and below 1, such as 0.1"
        )
    if reject is not None and keep_old:
        raise UsageError(
            "reject and keep_old exclude each other: what is none of the new classes is answered "
            "as one of the old; give one of them"
        )
    if keep_old and (kind := artifact.spec.output.kind) != "logits":
        raise UsageError(
            f"{artifact.path} answers {kind}, beside which the scores of new classes cannot stand; "
            "leave keep_old (--keep-old) out"
        )


def _labels(
    artifact: Artifact, classes: tuple[str, ...], reject: float | None, *, keep_old: bool
) -> tuple[str, ...]:
    """Return the labels of the new artifact, in the order of its outputs."""
    if keep_old:
        labels = (*artifact.spec.labels, *classes)
        if shared := set(artifact.spec.labels) & set(classes):
            one = len(shared) == 1
            raise UsageError(
                f"{', '.join(map(plain, sorted(shared)))} {'is a class' if one else 'are classes'} "
                f"of {artifact.path} already; name the {'folder' if one else 'folders'} otherwise, "
                "or leave keep_old (--keep-old) out"
            )
        check_names(labels, f"{artifact.path}, with the new ones,")
        return labels
    if reject is None:
        return classes
    if NONE_OF_THESE in classes:
        raise UsageError(
            f"there is a class of the name {NONE_OF_THESE!r}, which reject (--reject) adds; leave "
            "that out and the class is taught from its videos, or name its folder otherwise"
        )
    return (*classes, NONE_OF_THESE)


def _folder_to_measure_in(
    test: str | Path | None, test_split: str | Path | None, videos: str | Path | None
) -> Path | None:
    if test is None and test_split is None:
        return None
    folder = videos if test is None else test
    if folder is None:
        raise UsageError(
            "a list to measure on needs the folder of its videos; give it (--test DIR)"
        )
    return Path(folder)


def _planned(
    parent: ModelSpec, out: Path, labels: tuple[str, ...], model: Mapping[str, str]
) -> ModelSpec:
    """Return the contract of the new artifact, without what is known only later.

    Raises:
        SpecError: a label cannot be one.
    """
    from r2p_edge.export.targets.base import fresh_spec

    name = out.stem
    for end in ("-conv2d", f"-{parent.precision}"):
        name = name.removesuffix(end)
    warnings = (parent.checks or {}).get("warnings")
    return fresh_spec(
        parent,
        name=name or "taught",
        labels=labels,
        output=OutputSpec(parent.output.name, "logits"),
        source={
            **(parent.source or {}),
            "parent": {**model, "contract": parent.contract_digest()},
        },
        # A golden pair was of the former answers.
        checks={"warnings": warnings} if warnings else None,
    )


def _own_head(network: Network, artifact: Artifact) -> TaughtHead:
    found = network.head()
    if found is None:
        raise ModelError(
            f"the head of {artifact.path} is more than one linear layer, so that its classes "
            "cannot stand beside others; leave keep_old (--keep-old) out"
        )
    return TaughtHead(*found)


def _measured(
    draft: Path,
    folder: Path,
    split: str | Path | None,
    views: int,
    options: _Options,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure the accuracy of a draft as `evaluate` does, and so as `r2p-edge eval` prints it."""
    from r2p_edge.calibration.evaluate import evaluate
    from r2p_edge.calibration.ucf101 import check_unreadable

    report = evaluate([draft], folder, split, views=views, **options, progress=progress)
    failed = [(each["video"], each["error"]) for each in report["failed"]]
    check_unreadable(failed, report["videos"] + len(failed))
    (result,) = report["results"]
    return {
        "videos": report["videos"],
        "views": views,
        "split": report["split"],
        "top1": round(result["top1"], 4),
        "top1_interval": [round(each, 4) for each in result["top1_interval"]],
        "runtime": result["runtime"],
        "unreadable": len(failed),
    }


def _warnings(left_out: Mapping[str, Any] | None, classes: int) -> list[str]:
    if left_out is None or left_out["interval"][0] > 1 / classes:
        return []
    return [
        f"of {left_out['videos']} videos that were left out {left_out['right']} are answered "
        f"rightly, which may be chance (1 in {classes}); look whether the folders are of the "
        "right classes, add videos, or fine-tune the network"
    ]
