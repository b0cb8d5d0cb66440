"""The faults of a folder of labelled videos, each kind of them in one sentence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from r2p_edge.calibration.dataset.duplicates import in_two_classes
from r2p_edge.calibration.dataset.facts import VideoFacts
from r2p_edge.calibration.dataset.report import DatasetReport
from r2p_edge.calibration.ucf101 import MAX_UNREADABLE, check_unreadable
from r2p_edge.errors import SpecError, VideoError
from r2p_edge.spec.checks import check_text, some_of
from r2p_edge.video.class_folders import alike, told_alike

_LISTED = 5  # in a sentence


def errors_in(report: DatasetReport) -> Iterator[str]:
    """Yield what must be put right before the folder is of use."""
    for names in alike(report.classes):
        yield f"there are {told_alike(names)}"
    if odd := [name for name in report.classes if not _is_label(name)]:
        yield (
            f"{_some(odd)} cannot be the name of a class, which is one line of text; rename the "
            "folder"
        )
    pairs = [pair for same in report.copies if (pair := in_two_classes(same))]
    if pairs:
        listed = [f"{one_name(str(a.path))} and {one_name(str(b.path))}" for a, b in pairs]
        yield (
            f"{_counted(len(pairs), 'video is', 'videos are')} the same bytes in two classes, "
            f"{some_of(listed, _LISTED, '; ')}; delete the one in the wrong class"
        )
    good = {video.label for video in report.usable}
    if lost := [name for name in report.classes if name not in good]:
        yield (
            f"no video of {_some(lost)} can be decoded; copy or record the videos again, or "
            "remove the folder"
        )
    broken = [(video.name, video.error) for video in report.videos if video.error]
    try:
        check_unreadable(broken, len(report.videos))
    except VideoError:
        yield (
            f"{len(broken)} of {len(report.videos)} videos cannot be decoded, and no more than "
            f"{MAX_UNREADABLE:.0%} may be; copy them again, or delete them"
        )


def warnings_in(report: DatasetReport) -> Iterator[str]:
    """Yield what is odd and does no harm, or little."""
    if len(report.classes) == 1:
        yield f"{one_name(report.classes[0])} is the only class, and a model tells apart two"
    if broken := [video for video in report.videos if video.error]:
        told = some_of([one_name(video.error) for video in broken], _LISTED, "; ")
        number = _counted(len(broken), "video", "videos")
        yield f"{number} cannot be decoded and will not be used: {told}"
    if damaged := [video for video in report.videos if video.damaged]:
        listed = [_damage(video) for video in damaged]
        number = _counted(
            len(damaged),
            "damaged video is used without its",
            "damaged videos are used without their",
        )
        yield f"{number} bad frames: {some_of(listed, _LISTED, '; ')}"
    if gone := [name for name in report.left_out if not os.path.exists(report.folder / name)]:
        yield f"{_counted(len(gone), 'link leads', 'links lead')} nowhere: {_some(gone)}"
    within = [same for same in report.copies if in_two_classes(same) is None]
    if within:
        listed = [" = ".join(one_name(video.name) for video in same) for same in within]
        yield (
            f"{_counted(len(within), 'video is', 'videos are')} there more than once in one "
            f"class, {some_of(listed, _LISTED, '; ')}; keep one of each"
        )
    if report.beside:
        yield (
            f"{_counted(len(report.beside), 'video lies', 'videos lie')} in no folder of a class "
            f"and so has no label: {_some(report.beside)}"
        )
    if report.empty:
        yield f"{_some(report.empty)} has no video in it and is not counted as a class"
    groups = {(video.label, video.group) for video in report.usable}
    sizes = Counter(label for label, _ in groups)
    if alone := [label for label in report.classes if sizes[label] == 1]:
        yield (
            f"all videos of {_some(alone)} are of one group, so that none can be kept back to test "
            "on; record more"
        )


def one_name(name: str) -> str:
    """Return a name as it is, or quoted where it would break a line."""
    return name if name.isprintable() else repr(name)


def _is_label(name: str) -> bool:
    try:
        check_text("label", name)
    except SpecError:
        return False
    return True


def _damage(video: VideoFacts) -> str:
    end = ", and it ends before the end that it declares" if video.cut_off else ""
    return f"{one_name(video.name)} ({video.frames} good frames, {video.lost} damaged{end})"


def _some(names: Sequence[str]) -> str:
    return some_of([one_name(name) for name in names], _LISTED)


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
