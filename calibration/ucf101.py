"""UCF101 on disk: a folder per class, and the official lists of train and test videos.

Classes and videos are matched by name, never by id: `classInd.txt` sorts the classes ignoring
case, mindspore-ai/models (research/cv/r2plus1d) in ASCII order, and lists made by others count
from 0. Names are compared without case, because UCF101 itself spells one class both
`HandstandPushups` and `HandStandPushups`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from r2p_edge.calibration.class_names import class_finder, video_key
from r2p_edge.calibration.split_file import Split, read_split
from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.video_folder import entries_of, has_frames, is_video_file, report_left_out

MAX_UNREADABLE = 0.05
"""Largest share of damaged videos with which the figures of the others are taken for the whole."""


@dataclass(frozen=True)
class Video:
    """One video.

    Attributes:
        path: the file, or the folder of its frames.
        name: `<Class>/<video>`, relative to the data set's folder, with forward slashes.
        label: its class in the model's spelling.
    """

    path: Path
    name: str
    label: str


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
    strict: bool = False,
) -> Listing:
    """List the videos of a folder that a list names and whose classes a model has.

    A video is `<Class>/<video>.avi`, a file of another container with the same name, or a folder
    `<Class>/<video>/` of frames; if several of these are there, the first file counts. Hidden
    files are left out, links are followed. See `read_split` for train and test lists.

    Args:
        folder: of UCF101, or of any videos in one folder per class.
        labels: the model's classes.
        split: `trainlist01.txt`, `testlist01.txt` or a list like them; without it every video
            counts.
        strict: raise an error if the folder lacks a video of the list.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: the list cannot be read, or nothing is left of it.
    """
    folder = Path(folder)
    try:
        found = folder.is_dir()
    except OSError:  # its name is too long, or a folder above may not be entered
        found = False
    if not found:
        raise VideoNotFoundError(f"there is no folder {folder}; give one with a folder per class")
    wanted = None if split is None else read_split(Path(split))
    listing = _match(entries_of(folder), labels, wanted)
    if not listing.videos:
        raise _nothing_left(folder, labels, wanted, listing)
    report_left_out(folder, listing.left_out)
    if strict and listing.missing:
        raise VideoError(
            f"{folder} lacks {len(listing.missing)} of the videos of {listing.split}, the first "
            f"of them {listing.missing[0]}; complete the folder, or use only the videos that are "
            "there (strict=False, no --complete)"
        )
    return listing


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


def _match(classes: Iterable[Path], labels: Sequence[str], split: Split | None) -> Listing:
    """Match the videos of class folders with a list; files among the folders do not count."""
    find = class_finder(labels)

    def by_key(names: Iterable[str]) -> dict[tuple[int | None, str], str]:
        # The key alone does not tell C from C++, the class does.
        found: dict[tuple[int | None, str], str] = {}
        for name in names:
            index = find(PurePosixPath(name).parent.name)
            found.setdefault((index, video_key(name)), name)
        return found

    ranks = dict(_ranked(classes))
    paths = {f"{path.parent.name}/{path.name}": path for path in ranks}
    most = 1 if split is None else 2  # a list may name what does not end like a video
    present = by_key(name for name in paths if ranks[paths[name]] <= most)
    videos, missing, foreign = [], [], []
    for key, name in (present if split is None else by_key(split.names)).items():
        index, _ = key
        if index is None:
            foreign.append(name)
        elif key not in present:
            missing.append(name)
        else:
            videos.append(Video(paths[present[key]], present[key], labels[index]))
    found = tuple(videos), tuple(missing), tuple(foreign), len(labels)
    if split is None:
        return Listing(*found, left_out=tuple(paths.keys() - present.values()))
    return Listing(*found, split.subset, split.name, split.sha256)


def _ranked(classes: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Yield what is in class folders, video files first, with its rank (see `_rank`)."""
    for folder in filter(os.path.isdir, classes):
        ranks = {path: _rank(path) for path in entries_of(folder)}
        yield from sorted(ranks.items(), key=lambda each: (each[1], each[0].name))


def _rank(path: Path) -> int:
    """Return 0 for a video file, 1 for a folder of frames, 2 for other files, else 3."""
    if is_video_file(path):
        return 0
    return 1 if has_frames(path) else 2 if os.path.isfile(path) else 3


def _nothing_left(
    folder: Path, labels: Sequence[str], split: Split | None, listing: Listing
) -> VideoError:
    """Return an error that says why a folder and a list have no video in common."""
    if _match([folder.resolve()], labels, split).videos:
        above = folder.resolve().parent
        return VideoError(f"{folder} is the folder of one class; give the one above it, {above}")
    for child in filter(os.path.isdir, entries_of(folder)):
        if _match(entries_of(child), labels, split).videos:
            return VideoError(f"{folder} has no folder per class, but {child} has; give that")
    known = f"{', '.join(labels[:3])}{', ...' if len(labels) > 3 else ''}"
    if listing.foreign and not listing.missing:
        whose = folder if split is None else split.name
        return VideoError(
            f"none of the {len(listing.foreign)} videos of {whose} is of a class that the model "
            f"has ({known}); it is of another data set, so give the model's data set"
        )
    if split is None:
        return VideoError(
            f"{folder} has no video in a folder of a class; expected files such as "
            "<Class>/<video>.avi"
        )
    return VideoError(
        f"{folder} has none of the {len(listing.missing)} videos that {split.name} lists, "
        f"{listing.missing[0]} and so on; give the folder that has one folder per class"
    )
