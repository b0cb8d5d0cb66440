"""Data sets on disk, such as UCF101: a folder per class, and lists of train and test videos.

Classes and videos are matched by name, never by id: `classInd.txt` sorts the classes ignoring
case, mindspore-ai/models (research/cv/r2plus1d) in ASCII order, and lists made by others count
from 0. Names are compared without case, because UCF101 itself spells one class both
`HandstandPushups` and `HandStandPushups`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from r2p_edge.calibration.catalogue import Catalogue, video_key
from r2p_edge.calibration.lists.entries import Subset
from r2p_edge.calibration.matching import Matched, Video, match_folder, match_list
from r2p_edge.calibration.split_file import Split, read_split
from r2p_edge.errors import VideoError, VideoNotFoundError, none_of, similar_name
from r2p_edge.spec.class_names import class_finder
from r2p_edge.video.video_folder import entries_of, is_video, report_left_out

_log = logging.getLogger(__name__)

_MISSPELT = 0.85  # likeness, from 0 to 1, of a name to the class that it is meant for
_MOST_HINTS = 3  # of a data set with many other classes

MAX_UNREADABLE = 0.05
"""Largest share of damaged videos with which the figures of the others are taken for the whole."""


@dataclass(frozen=True)
class Listing:
    """The videos that a list and a folder have in common.

    Attributes:
        videos: in the order of the list; without one, by class and name.
        missing: names in the list that the folder does not have.
        foreign: names of videos whose class the model does not have.
        classes: number of the model's classes.
        subset: "train" or "test", the kind of the list; "all" without one.
        split: file name of the list.
        split_sha256: of the list's bytes.
        left_out: names in the class folders that are no videos by their suffix, or have the name
            of another video; empty with a list, which says what it wants.
    """

    videos: tuple[Video, ...]
    missing: tuple[str, ...]
    foreign: tuple[str, ...]
    classes: int
    subset: Literal["train", "test", "all"] = "all"
    split: str | None = None
    split_sha256: str | None = None
    left_out: tuple[str, ...] = ()


def list_videos(
    folder: str | Path,
    labels: Sequence[str],
    split: str | Path | None = None,
    *,
    subset: Subset = "test",
    strict: bool = False,
) -> Listing:
    """List the videos of a folder that a list names and whose classes a model has.

    A video is `<Class>/<video>.avi`, a file of another container with the same name, or a folder
    `<Class>/<video>/` of frames; if several of these are there, the first file counts. Hidden
    files are left out, links are followed. See `read_split` for lists, and `match_list` for the
    videos and classes that they mean, which need not lie in a folder per class.

    Args:
        folder: of UCF101, or of any videos in one folder per class.
        labels: the model's classes.
        split: `trainlist01.txt`, `testlist01.txt` or another list; without it every video counts.
        subset: see `read_split`.
        strict: raise an error if the folder lacks a video of the list.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: the list cannot be read, or nothing is left of it.
    """
    folder = Path(folder)
    try:
        exists = folder.is_dir()
    except OSError:  # its name is too long, or a folder above may not be entered
        exists = False
    if not exists:
        raise VideoNotFoundError(f"there is no folder {folder}; give one with a folder per class")
    wanted = None if split is None else read_split(Path(split), subset)
    found = _match(folder, labels, wanted)
    listing = Listing(
        found.videos, found.missing, found.foreign, len(labels), left_out=found.left_out
    )
    if wanted is not None:
        listing = replace(
            listing, subset=wanted.subset, split=wanted.name, split_sha256=wanted.sha256
        )
    if not listing.videos:
        raise _nothing_left(folder, labels, wanted, listing)
    report_left_out(folder, listing.left_out)
    _report_misspelt(listing.foreign, labels, wanted)
    if strict and listing.missing:
        raise VideoError(
            f"{folder} lacks {len(listing.missing)} of the videos of {listing.split}, the first "
            f"of them {listing.missing[0]}; complete the folder, or use only the videos that are "
            "there (strict=False, no --complete)"
        )
    return listing


def videos_beside(folder: str | Path, labels: Sequence[str], listing: Listing) -> list[Video]:
    """Return the videos in the folders of classes that a list does not name.

    Args:
        folder, labels: see `list_videos`.
        listing: what that gave for the list; of a whole folder nothing is left.
    """
    if listing.split is None:
        return []
    named = {video_key(video.name) for video in listing.videos}
    try:
        found = _match(Path(folder), labels, None)
    except VideoError:  # of classes that the list alone knows
        return []
    return [video for video in found.videos if video_key(video.name) not in named]


def _report_misspelt(foreign: Sequence[str], labels: Sequence[str], split: Split | None) -> None:
    """Warn of classes that the model does not have where one of its own has almost that name.

    Args:
        foreign: see `Listing`.
        labels: the model's classes.
        split: the list that the names are from, if there is one.
    """
    entries = () if split is None else split.entries
    told = {entry.name: entry.label for entry in entries if isinstance(entry.label, str)}
    names = dict.fromkeys(told.get(name) or PurePosixPath(name).parent.name for name in foreign)
    hints = {name: similar_name(name, labels, _MISSPELT).rstrip() for name in names}
    for name in [name for name, hint in hints.items() if hint][:_MOST_HINTS]:
        text = "%s is no class of the model, and its videos are left out; %s"
        _log.warning(text, name, hints[name])


def check_unreadable(failed: Sequence[tuple[str, object]], total: int) -> None:
    """Raise VideoError if more than one and `MAX_UNREADABLE` of `total` videos cannot be read.

    Args:
        failed: names and errors of the videos.
    """
    if len(failed) > max(1, MAX_UNREADABLE * total) or len(failed) == total:
        raise VideoError(
            f"{len(failed)} of {total} videos cannot be read and no more than "
            f"{MAX_UNREADABLE:.0%} may be damaged, so copy the data set again: {failed[-1][1]}"
        )


def _match(folder: Path, labels: Sequence[str], split: Split | None) -> Matched:
    disk = Catalogue(folder, labels, any_suffix=split is not None)
    return match_folder(labels, disk) if split is None else match_list(split, labels, disk)


def _matches(folder: Path, labels: Sequence[str], split: Split | None) -> bool:
    try:
        return bool(_match(folder, labels, split).videos)
    except VideoError:
        return False


def _nothing_left(
    folder: Path, labels: Sequence[str], split: Split | None, listing: Listing
) -> VideoError:
    """Return an error that says why a folder and a list have no video in common."""
    entries = entries_of(folder)
    flat = sum(map(is_video, entries))
    whole = folder.resolve()
    if flat and class_finder(labels)(whole.name) is not None:
        return VideoError(
            f"{folder} is the folder of one class; give the one above it, {whole.parent}"
        )
    for child in filter(os.path.isdir, entries):
        if _matches(child, labels, split):
            return VideoError(f"{folder} has no folder per class, but {child} has; give that")
    known = f"{', '.join(labels[:3])}{', ...' if len(labels) > 3 else ''}"
    if listing.foreign and not listing.missing:
        first = listing.foreign[0]
        whose = f"{folder}, such as {first},"
        if split is not None:
            whose = f"{split.name}, such as {first}, read as {split.form},"
        return VideoError(
            f"{none_of(len(listing.foreign), 'video')} of {whose} is of a class that the model "
            f"has ({known}), by the name of its folder or its label; put the videos into folders "
            "named for the model's classes, or give a list with a label after each video "
            "(--split)"
        )
    if split is None:
        beside = f", but {flat} beside each other" if flat else ""
        return VideoError(
            f"{folder} has no video in a folder of a class{beside}; expected files such as "
            "<Class>/<video>.avi, or a list with a label after each video (--split)"
        )
    return VideoError(
        f"{folder} has {none_of(len(listing.missing), 'video')} that {split.name} lists, "
        f"{listing.missing[0]} and so on, read as {split.form}; give the folder of these videos"
    )
