"""The classes of answered videos, from a list of labels or the folders that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r2p_edge.calibration.answered import AnsweredVideo
from r2p_edge.calibration.catalogue import Catalogue, FoundVideo
from r2p_edge.calibration.lists.classes import classes_beside
from r2p_edge.calibration.lists.entries import Part, short_name
from r2p_edge.calibration.matching import match_list
from r2p_edge.calibration.split_file import Split, read_split
from r2p_edge.errors import VideoError, none_of
from r2p_edge.spec.class_names import class_finder

_Truths = dict[tuple[str, "Part | None"], str]


class Truth:
    """The classes of videos.

    Args:
        by_video: classes by path or address and part.
        labels: the classes of the models, in one spelling.
        source: where they come from, for people.
    """

    def __init__(self, by_video: _Truths, labels: Sequence[str], source: str) -> None:
        self._by_video = by_video
        self.labels, self.source = tuple(labels), source

    def of(self, answer: AnsweredVideo) -> str | None:
        """Return the class of a video; None if it is not known."""
        whole = self._by_video.get((answer.video, None))
        return self._by_video.get((answer.video, answer.part), whole)


def truth_of_folders(videos: Sequence[str], labels: Sequence[str]) -> Truth:
    """Return the classes that the folders of videos, or names as UCF101's, say.

    Args:
        videos: paths and addresses.
        labels: the classes of the models.
    """
    disk = Catalogue.of_videos((), labels)
    found = {video: disk.class_of(short_name(video)) for video in videos}
    by_video: _Truths = {
        (video, None): labels[index] for video, index in found.items() if index is not None
    }
    return Truth(by_video, labels, "the names of their folders")


def truth_of_list(
    path: Path, videos: Sequence[str], labels: Sequence[str], *, all_known: bool
) -> Truth:
    """Return the classes that a list says.

    Args:
        path: the list, in any form that `read_split` reads.
        videos: paths and addresses.
        labels: the classes of the models.
        all_known: these are all; otherwise they are those that answers name, and the list may
            have others.

    Raises:
        VideoError: the list cannot be read, or names none of the videos or no classes; or several
            videos have the name that it has.
    """
    split = read_split(path)
    labels = tuple(labels) if all_known else _with_more(labels, split)
    paths = {Path(video): video for video in videos}
    names = [FoundVideo(each, short_name(video)) for each, video in paths.items()]
    disk = Catalogue.of_videos(names, labels)
    if disk.left_out:
        raise VideoError(
            f"the results have several videos that end in {disk.left_out[0]}, and {split.name} "
            "does not tell which of them it means; make a report of each folder"
        )
    matched = match_list(split, labels, disk)
    if not matched.videos:
        raise VideoError(
            f"{split.name}, read as {split.form}, names {none_of(len(videos), 'video')} of the "
            f"results with a class of the model, the first of them {videos[0]}; give the list of "
            "these videos"
        )
    by_video = {(paths[each.path], each.part): each.label for each in matched.videos}
    return Truth(by_video, labels, f"list {split.name}")


def _with_more(labels: Sequence[str], split: Split) -> tuple[str, ...]:
    """Return labels and those that a list has besides, in alphabetical order."""
    find = class_finder(labels)
    said = [entry.folder if entry.label is None else entry.label for entry in split.entries]
    if any(isinstance(each, int) for each in said):
        said = [*(classes_beside(split.path) or ())]
    new = {each for each in said if isinstance(each, str) and each and find(each) is None}
    return tuple(sorted({*labels, *new}))
