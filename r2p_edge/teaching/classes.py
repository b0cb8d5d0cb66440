"""The classes and videos of a folder that a user wants taught, and what is wrong with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from r2p_edge.errors import VideoError
from r2p_edge.spec.checks import plain, some_of
from r2p_edge.video.class_folders import check_names, class_folders, flat_videos, folders_in

if TYPE_CHECKING:
    from r2p_edge.calibration.matching import Video

_log = logging.getLogger(__name__)


class LabelledVideo(NamedTuple):
    """A video of a class.

    Attributes:
        video: where it is.
        sha256: of its bytes.
        group: name of the videos that are left out together: those of one recording.
    """

    video: Video
    sha256: str
    group: str


def labelled_videos(
    folder: Path, split: Path | None = None, *, flat: bool = False
) -> tuple[tuple[str, ...], list[LabelledVideo]]:
    """Return the classes in a folder, sorted by name, and their videos.

    Videos of one recording are a group, see `group_of`; of those of the same bytes one counts.

    Args:
        folder: with a folder for each class; or for `split` anything that it can name.
        split: list of the videos to take, see `list_videos`; by default all.
        flat: take a folder with videos beside each other for one class of the folder's name.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: there are no classes in it, two of one name, or one video in two of them.
    """
    from r2p_edge.calibration.ucf101 import list_videos

    names: Sequence[str]
    if split is not None:
        names = _classes_of_list(split)
    elif flat and (beside := flat_videos(folder)) and not folders_in(folder).names:
        return _one_class(folder.resolve().name, beside)
    else:
        names = class_folders(folder).names
    check_names(names, str(folder))
    listing = list_videos(folder, names, split, subset="train")
    found = [_labelled(video) for video in listing.videos]
    present = {each.video.label for each in found}
    return tuple(name for name in names if name in present), _without_copies(found)


def _one_class(name: str, paths: Sequence[Path]) -> tuple[tuple[str, ...], list[LabelledVideo]]:
    from r2p_edge.calibration.matching import Video

    videos = [Video(path, f"{name}/{path.name}", name) for path in paths]
    return (name,), _without_copies([_labelled(video) for video in videos])


def videos_to_measure(
    folder: Path, labels: Sequence[str], split: str | Path | None
) -> list[LabelledVideo]:
    """Return the videos of these classes in a folder, to measure a head on.

    Raises:
        VideoNotFoundError, VideoError: see `list_videos`; or a video cannot be read.
    """
    from r2p_edge.calibration.ucf101 import list_videos

    return [_labelled(video) for video in list_videos(folder, labels, split).videos]


def check_enough(labels: Sequence[str], groups: dict[str, set[str]], *, measured: bool) -> None:
    """Raise VideoError if there are too few classes, or too few videos of one.

    Args:
        labels: the classes.
        groups: the groups of each class that has one.
        measured: whether the head is measured on videos of its own.
    """
    if len(labels) < 2:
        raise VideoError(
            f"there is one class, {', '.join(map(plain, labels))}; a head tells classes apart, so "
            "give at least two, one of which may be of clips that show nothing of it"
        )
    if gone := [name for name in labels if not groups.get(name)]:
        raise VideoError(
            f"no video of {some_of([plain(name) for name in gone], 3)} can be read; copy them "
            "again, or take the folder away"
        )
    alone = [name for name in labels if len(groups[name]) == 1]
    if alone and not measured:
        raise VideoError(
            f"{some_of([plain(name) for name in alone], 3)} "
            f"{'has' if len(alone) == 1 else 'have'} one video, or videos of one recording, so "
            "that none can be left out to measure on; add videos of another, or give a folder to "
            "measure on (--test DIR)"
        )


def _classes_of_list(split: Path) -> list[str]:
    """Return the classes that a list names: by label, by folder, or by number beside their names.

    Raises:
        VideoError: it cannot be read, or names none.
    """
    from r2p_edge.calibration.lists.classes import classes_beside
    from r2p_edge.calibration.split_file import read_split

    read = read_split(split, "train")
    labels = {entry.label for entry in read.entries if isinstance(entry.label, str)}
    names = labels or {entry.folder for entry in read.entries if entry.folder}
    if not names:
        names = set(classes_beside(read.path) or ())
    if not names:
        raise VideoError(
            f"{read.name} has lines of the form {read.form}, which name no class; write the name "
            "of its class after each video"
        )
    return sorted(names)


def _labelled(video: Video) -> LabelledVideo:
    from r2p_edge.calibration.dataset.groups import group_of
    from r2p_edge.calibration.manifest import sha256_of_video

    return LabelledVideo(video, sha256_of_video(video.path), group_of(video.name))


def _without_copies(found: Sequence[LabelledVideo]) -> list[LabelledVideo]:
    """Return each video once.

    Raises:
        VideoError: the same bytes are in two classes.
    """
    kept: dict[tuple[str, object], LabelledVideo] = {}
    for each in found:
        other = kept.setdefault((each.sha256, each.video.part), each)
        if other.video.label != each.video.label:
            raise VideoError(
                f"{plain(other.video.name)} and {plain(each.video.name)} are the same file in two "
                "classes; keep it in one of them"
            )
        if other is not each:
            _log.warning(
                "%s is the same file as %s and counts once",
                *(plain(each.video.name), plain(other.video.name)),
            )
    return list(kept.values())
