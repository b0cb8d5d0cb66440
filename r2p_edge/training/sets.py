"""The videos of a training: which are trained on, which are held out, and a teacher's scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration.dataset.duplicates import in_two_classes, same_videos
from r2p_edge.calibration.dataset.groups import group_of
from r2p_edge.calibration.dataset.splitting import units_held_out
from r2p_edge.calibration.matching import Video
from r2p_edge.calibration.ucf101 import list_videos
from r2p_edge.errors import UsageError, VideoError
from r2p_edge.predictor import Predictor
from r2p_edge.video.class_folders import class_names


def classes_of(folder: str | Path) -> tuple[str, ...]:
    """Return the classes that a folder has folders of.

    Raises:
        VideoError: there is no folder of a class, or only one.
    """
    names = class_names(folder)
    if len(names) < 2:
        raise VideoError(
            f"{folder} has one class, {names[0]}, and a network tells classes apart; add a folder "
            "of videos of anything else"
        )
    return names


def videos_of_classes(
    folder: str | Path,
    classes: Sequence[str],
    split: str | Path | None,
    subset: Literal["train", "test"],
) -> list[Video]:
    """Return the videos of some classes.

    Args:
        folder: a folder of videos for each class.
        classes: their names.
        split: list of those that count; by default all do.
        subset: kind of that list, see `read_split`.

    Raises:
        VideoError: a class has no video, the same bytes are in two classes, or see `list_videos`.
    """
    found = list_videos(folder, classes, split, subset=subset).videos
    if absent := sorted(set(classes) - {video.label for video in found}):
        raise VideoError(f"{split or folder} has no video of {', '.join(absent)}; add some")
    for same in same_videos(found):
        if two := in_two_classes(same):
            raise VideoError(
                f"{two[0].name} and {two[1].name} are the same bytes in two classes; remove one"
            )
    return list(found)


def held_out_videos(
    videos: Sequence[Video], share: float, seed: int
) -> tuple[list[Video], list[Video]]:
    """Return the videos to train on, and those to judge by, which share no group with them.

    Args:
        videos: all of them.
        share: of each class, that is held out; 0 holds out none.
        seed: another seed holds out others.
    """
    units: dict[str, list[Video]] = {}
    for video in videos:
        units.setdefault(group_of(video.name), []).append(video)
    labels = {unit: [video.label for video in of_unit] for unit, of_unit in units.items()}
    chosen = units_held_out(labels, share, seed) if share else []
    held_out = {video.name for unit in chosen for video in units[unit]}
    return (
        [video for video in videos if video.name not in held_out],
        [video for video in videos if video.name in held_out],
    )


def check_teacher(labels: Sequence[str], classes: Sequence[str]) -> None:
    """Check that a teacher answers with the classes that are learnt.

    Args:
        labels: of the teacher.
        classes: of the training, in any order.

    Raises:
        UsageError: it answers with others.
    """
    if set(labels) != set(classes):
        raise UsageError(
            f"the teacher has the classes {', '.join(labels[:3])}{', ...' if labels[3:] else ''}, "
            "and not those of the folders; give one of the same classes"
        )


def soft_labels(
    teacher: Predictor,
    videos: Sequence[Video],
    classes: Sequence[str],
    progress: Callable[[int, int], None],
) -> Mapping[str, npt.NDArray[np.float32]]:
    """Return a teacher's scores of videos by their names, in the order of the classes.

    Raises:
        UsageError: see `check_teacher`.
        VideoError: a video cannot be read.
    """
    labels = teacher.spec.labels
    check_teacher(labels, classes)
    order = [labels.index(label) for label in classes]
    found = {}
    for number, video in enumerate(videos):
        progress(number, len(videos))
        found[video.name] = teacher.predict(video.path).scores[order].astype(np.float32)
    progress(len(videos), len(videos))
    return found
