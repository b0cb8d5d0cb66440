"""UCF101 as it lies on disk: a folder per class, and the official lists of which videos are whose.

Classes and videos are matched by name, never by id: `classInd.txt` sorts the classes ignoring
case, mindspore-ai/models (research/cv/r2plus1d) in ASCII order, and lists made by others count
from 0. Names are compared without case, because UCF101 itself spells one class both
`HandstandPushups` and `HandStandPushups`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.source import IMAGE_SUFFIXES, VIDEO_SUFFIXES

MAX_UNREADABLE = 0.05
"""Share of the videos that may be damaged before figures made from the others mean too little."""


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
        subset: "train" or "test", what kind of list it is; "all" without one.
        split: file name of the list.
        split_sha256: of the list's bytes.
    """

    videos: tuple[Video, ...]
    missing: tuple[str, ...]
    foreign: tuple[str, ...]
    classes: int
    subset: Literal["train", "test", "all"] = "all"
    split: str | None = None
    split_sha256: str | None = None


@dataclass(frozen=True)
class _Split:
    """A list file: the names of its videos, and what the listing says of it."""

    names: tuple[str, ...]
    subset: Literal["train", "test"]
    name: str
    sha256: str


def list_videos(
    folder: str | Path,
    labels: Sequence[str],
    split: str | Path | None = None,
    *,
    strict: bool = False,
) -> Listing:
    """The videos of a folder that a list names and whose classes a model has.

    A video is `<Class>/<video>.avi`, a file of another container with the same name, or a folder
    `<Class>/<video>/` of frames; where several of these are there, the first file counts. Hidden
    files are left out, links are followed.

    A list is taken for one of test videos where none of its lines ends with a class id, which is
    how `testlist01.txt` differs from `trainlist01.txt`, or where its name says test or val.

    Args:
        folder: of UCF101, or of any videos in one folder per class.
        labels: the model's classes.
        split: `trainlist01.txt`, `testlist01.txt` or one like them; without it every video counts.
        strict: a video of the list that the folder lacks is an error.

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
    wanted = None if split is None else _read_split(Path(split))
    listing = _match(_entries(folder), labels, wanted)
    if not listing.videos:
        raise _nothing_left(folder, labels, wanted, listing)
    if strict and listing.missing:
        raise VideoError(
            f"{folder} lacks {len(listing.missing)} of the videos of {listing.split}, the first "
            f"of them {listing.missing[0]}; complete the folder, or be content with what is there "
            "(strict=False, no --complete)"
        )
    return listing


def check_unreadable(failed: Sequence[tuple[str, VideoError]], total: int) -> None:
    """Raises VideoError where more than `MAX_UNREADABLE` of `total` videos cannot be read."""
    if len(failed) > MAX_UNREADABLE * total:
        raise VideoError(
            f"{len(failed)} of {total} videos cannot be read and no more than "
            f"{MAX_UNREADABLE:.0%} may be damaged, so copy the data set again: {failed[-1][1]}"
        )


def class_finder(labels: Sequence[str]) -> Callable[[str], int | None]:
    """A function from a class's name, in any spelling, to its index in `labels`.

    Case, spaces and punctuation do not count, unless two of the labels differ in nothing else.
    """
    exact = {label: index for index, label in enumerate(labels)}
    folded: dict[str, list[int]] = {}
    for label, index in exact.items():
        folded.setdefault(fold(label), []).append(index)

    def find(name: str) -> int | None:
        if name in exact:
            return exact[name]
        like = folded.get(fold(name), [])
        return like[0] if len(like) == 1 else None

    return find


def fold(name: str) -> str:
    """A class's name as it is compared: letters and digits only, without case."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


def video_key(name: str) -> str:
    """What a video is known by, whatever its container and the case of its name.

    Args:
        name: `<Class>/<video>`, with or without a suffix.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    stem = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    return f"{fold(path.parent.name)}/{stem.casefold()}"


def _read_split(path: Path) -> _Split:
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VideoError(f"list {path} cannot be read as UTF-8 text ({error})") from error
    names, with_id = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = re.sub(r"\s+\d+$", "", line.strip())
        with_id.append(name != line.strip())
        parts = PurePosixPath(name.replace("\\", "/")).parts[-2:]
        if len(parts) != 2 or with_id[-1] != with_id[0]:
            raise VideoError(
                f"line {number} of {path} is {line.strip()!r:.200}; expected <Class>/<video>, with "
                "a class id behind it in all lines or in none, as in trainlist01.txt"
            )
        names.append("/".join(parts))
    if not names:
        raise VideoError(f"list {path} names no video; expected lines as in trainlist01.txt")
    says_test = re.search(r"(?<![a-z])(test|val)", path.stem, re.IGNORECASE)
    subset: Literal["train", "test"] = "test" if says_test or not with_id[0] else "train"
    # Specs quote it in UTF-8, in which not every file's name can be written.
    quoted = path.name.encode(errors="replace").decode()
    return _Split(tuple(names), subset, quoted, hashlib.sha256(data).hexdigest())


def _match(classes: Iterable[Path], labels: Sequence[str], split: _Split | None) -> Listing:
    """The listing of these class folders; files among them do not count."""
    find = class_finder(labels)

    def by_key(names: Iterable[str]) -> dict[tuple[int | None, str], str]:
        # The class counts beside the key, which does not tell C from C++.
        found: dict[tuple[int | None, str], str] = {}
        for name in names:
            index = find(PurePosixPath(name).parent.name)
            found.setdefault((index, video_key(name)), name)
        return found

    paths = {f"{path.parent.name}/{path.name}": path for path in _videos_in(classes)}
    present = by_key(paths)
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
        return Listing(*found)
    return Listing(*found, split.subset, split.name, split.sha256)


def _videos_in(classes: Iterable[Path]) -> Iterator[Path]:
    """The videos in class folders, files before folders of frames."""
    for folder in filter(Path.is_dir, classes):
        entries = sorted(_entries(folder), key=lambda path: (path.is_dir(), path.name))
        yield from filter(_is_video, entries)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, sorted by name."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise VideoError(f"{folder} cannot be listed ({error.strerror}); check it") from error


def _is_video(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in IMAGE_SUFFIXES for file in _entries(path))
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _nothing_left(
    folder: Path, labels: Sequence[str], split: _Split | None, listing: Listing
) -> VideoError:
    """Why a folder and a list have no video in common, and what to give instead."""
    if _match([folder.resolve()], labels, split).videos:
        above = folder.resolve().parent
        return VideoError(f"{folder} is the folder of one class; give the one above it, {above}")
    for child in filter(Path.is_dir, _entries(folder)):
        if _match(_entries(child), labels, split).videos:
            return VideoError(f"{folder} has no folder per class, but {child} has; give that")
    known = f"{', '.join(labels[:3])}{', ...' if len(labels) > 3 else ''}"
    if listing.foreign and not listing.missing:
        whose = folder if split is None else split.name
        return VideoError(
            f"none of the {len(listing.foreign)} videos of {whose} is of a class that the model "
            f"has ({known}); it is of another data set, so give that of the model"
        )
    if split is None:
        return VideoError(
            f"{folder} holds no video in a folder of a class; expected <Class>/<video>.avi or so"
        )
    return VideoError(
        f"{folder} has none of the {len(listing.missing)} videos that {split.name} lists, "
        f"{listing.missing[0]} and so on; give the folder that has one folder per class"
    )
