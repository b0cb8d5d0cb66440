"""The classes of listed videos, by what the list or the folder says; never by a guess."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.calibration.catalogue import Catalogue
from r2p_edge.calibration.lists.classes import LABEL_FILES, classes_beside
from r2p_edge.calibration.lists.entries import Entry, Part
from r2p_edge.calibration.split_file import Split
from r2p_edge.errors import VideoError
from r2p_edge.spec.class_names import class_finder

_log = logging.getLogger(__name__)

_UNKNOWN = -1  # class of a video that the folder lacks, where folders tell the class


@dataclass(frozen=True)
class Video:
    """One video.

    Attributes:
        path: the file, or the folder of its frames.
        name: `<folder>/<video>` or `<video>`, relative to the data set's folder.
        label: its class in the model's spelling.
        part: seconds of the file that are of this class; None for all of it.
    """

    path: Path
    name: str
    label: str
    part: Part | None = None


@dataclass(frozen=True)
class Matched:
    """The videos of a folder that a list names; see `Listing`."""

    videos: tuple[Video, ...]
    missing: tuple[str, ...]
    foreign: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def match_folder(labels: Sequence[str], disk: Catalogue) -> Matched:
    """Match every video in a folder of a class, or with a name of UCF101, with its class."""
    videos, foreign = [], []
    for video in disk:
        index = disk.class_of(video.name)
        if index is not None:
            videos.append(Video(video.path, video.name, labels[index]))
        elif "/" in video.name:
            foreign.append(video.name)
    return Matched(tuple(videos), (), tuple(foreign), tuple(disk.left_out))


def match_list(split: Split, labels: Sequence[str], disk: Catalogue) -> Matched:
    """Match the videos of a list with files and classes.

    The class is the name in the list, or else that of the folder which the list or the data set
    has the video in, or else the number in the list, which counts the labels beside it.

    Raises:
        VideoError: the class of a video is in doubt.
    """
    videos: dict[tuple[Path, Part | None], Video] = {}
    missing: dict[str, None] = {}
    foreign: dict[str, None] = {}
    for entry, index in zip(split.entries, _classes(split, labels, disk)):
        if index is None:
            foreign[entry.name] = None
            continue
        for name, part in entry.names:
            if found := disk.find(name, None if index == _UNKNOWN else index):
                video = Video(found.path, found.name, labels[index], part)
                known = videos.setdefault((found.path, part), video)
                if known.label != video.label:
                    raise VideoError(
                        f"line {entry.line} of {split.name} has {name} as {video.label}, which is "
                        f"{known.label} in a line before; list each video once"
                    )
                break
        else:
            missing[entry.name] = None
    return Matched(tuple(videos.values()), tuple(missing), tuple(foreign))


def _classes(split: Split, labels: Sequence[str], disk: Catalogue) -> list[int | None]:
    """Return the class of each entry, None for one that the model does not have."""
    entries = split.entries
    named = [disk.class_of(entry.name) for entry in entries]
    if any(isinstance(entry.label, str) for entry in entries):
        return _by_label(split, labels, named)
    if any(index is not None for index in named):
        _check_numbers(split, labels, named, strict=False)
        return named
    if _has_folders_of_classes(entries):
        return [None] * len(entries)
    on_disk = [_class_on_disk(entry, disk) for entry in entries]
    if any(index not in (None, _UNKNOWN) for index in on_disk):
        _check_numbers(split, labels, on_disk, strict=True)
        return on_disk
    if entries[0].label is None:
        raise VideoError(
            f"{split.name} has lines of the form {split.form} and no folder of theirs is a class "
            "of the model, so that their classes are unknown; write a label after each video"
        )
    return _by_number(split, labels)


def _by_label(split: Split, labels: Sequence[str], named: Sequence[int | None]) -> list[int | None]:
    find = class_finder(labels)
    indices = [find(str(entry.label)) for entry in split.entries]
    for entry, index, folder in zip(split.entries, indices, named):
        if None not in (index, folder) and index != folder:
            raise VideoError(
                f"line {entry.line} of {split.name} has the label {entry.label} for {entry.name}, "
                "whose name is of another class; correct one of them"
            )
    return indices


def _class_on_disk(entry: Entry, disk: Catalogue) -> int | None:
    found = next((video for name, _ in entry.names if (video := disk.find(name, None))), None)
    return _UNKNOWN if found is None else disk.class_of(found.name)


def _has_folders_of_classes(entries: Sequence[Entry]) -> bool:
    """Return whether each folder of a list has its own number, so that it is that of a class.

    The model does not have these classes, since none of their names is known.
    """
    if not all(entry.folder for entry in entries):
        return False
    pairs = {(entry.folder, entry.label) for entry in entries}
    folders, numbers = ({pair[side] for pair in pairs} for side in (0, 1))
    return entries[0].label is None or len(folders) == len(pairs) == len(numbers)


def _check_numbers(
    split: Split, labels: Sequence[str], indices: Sequence[int | None], *, strict: bool
) -> None:
    """Check that numbers beside videos whose classes are known by name can be those of classes.

    Lists of UCF101 number its classes in several ways, which does not matter. But 1 and 2 for
    videos of the same class are HMDB51's for train and test, not to be overlooked.

    Args:
        strict: whether any disagreement counts, and not only such numbers.
    """
    numbers: dict[int, set[int]] = {}
    for entry, index in zip(split.entries, indices):
        if index not in (None, _UNKNOWN) and isinstance(entry.label, int):
            numbers.setdefault(index, set()).add(entry.label)
    every = [number for found in numbers.values() for number in found]
    several = next((index for index, found in numbers.items() if len(found) > 1), None)
    shared = len(set(every)) < len(every)
    if (several is not None and set(every) <= {0, 1, 2}) or (
        strict and (several is not None or shared)
    ):
        raise VideoError(
            f"{split.name} has lines of the form {split.form}, whose numbers are not those of the "
            "classes in which its videos lie; a split file of HMDB51 is named for its class, such "
            "as brush_hair_test_split1.txt, and other lists need a class's name or its number"
        )


def _by_number(split: Split, labels: Sequence[str]) -> list[int | None]:
    """Return the classes of videos by the numbers in the list.

    The model's labels are in the order of its outputs, which need not be that of the list: UCF101
    alone is counted in two orders, which differ in four classes.
    """
    numbers = [entry.label for entry in split.entries if isinstance(entry.label, int)]
    find = class_finder(labels)
    if all(find(str(number)) is not None for number in numbers):  # classes named by numbers
        return [find(str(number)) for number in numbers]
    seen = f"{split.name} has lines of the form {split.form} with classes by number"
    classes = classes_beside(split.path)
    if classes is None:
        raise VideoError(
            f"{seen}, and nothing says which class a number is; put the names of the classes in "
            f"their order, one a line, into {split.path.with_name(LABEL_FILES[-1])}, or write them "
            "in place of the numbers"
        )
    low, high = min(numbers), max(numbers)
    if high - min(low, 1) >= len(classes):
        raise VideoError(
            f"{seen}, one of them {high}, but the labels beside it are {len(classes)}; give the "
            "list and the labels of one data set"
        )
    if low > 0 and high < len(classes):
        raise VideoError(
            f"{seen} from {low} to {high}, which may count the {len(classes)} labels beside it "
            "from 0 or from 1; write names in place of the numbers, or list a video of the first "
            "class or of the last one too"
        )
    first = 0 if low == 0 else 1
    _log.info("%s counts the labels beside it from %d on (%s)", split.name, first, classes[0])
    return [find(classes[number - first]) for number in numbers]
