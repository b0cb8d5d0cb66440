"""The classes of a data set that has a folder of videos for each."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.spec.checks import plain, some_of
from r2p_edge.video.video_folder import entries_of, is_video, looking_up

_LISTED = 5  # names in a message
_NUMBER_AT_END = re.compile(r"[\W_]*\d+$")


@dataclass(frozen=True)
class ClassFolders:
    """The folders of a data set, hidden ones left out, in the order of `sorted`.

    Attributes:
        names: names of those with videos in them, which are the classes.
        empty: names of those without, which are none.
    """

    names: tuple[str, ...]
    empty: tuple[str, ...]


def class_folders(folder: str | Path) -> ClassFolders:
    """Return the folders of a data set; links are followed.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: it cannot be read, or no folder in it has a video.
    """
    folder = Path(folder)
    with looking_up(folder):
        if not folder.is_dir():
            raise VideoNotFoundError(
                f"there is no folder {folder}; give one with a folder of videos for each class"
            )
    found = folders_in(folder)
    if not found.names:
        raise _no_class(folder)
    return found


def folders_in(folder: Path) -> ClassFolders:
    """Return the folders in a folder, which may have none.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: it cannot be read.
    """
    names: list[str] = []
    empty: list[str] = []
    for inside in filter(os.path.isdir, entries_of(folder)):
        (names if flat_videos(inside) else empty).append(inside.name)
    return ClassFolders(tuple(names), tuple(empty))


def flat_videos(folder: Path) -> list[Path]:
    """Return the videos that lie in a folder, beside each other."""
    return [path for path in entries_of(folder) if is_video(path)]


def class_names(folder: str | Path) -> tuple[str, ...]:
    """Return the names of the classes of a data set, in the order of `sorted`.

    That is the order of PyTorch's `ImageFolder` and of `LC_ALL=C ls`: capitals come before small
    letters.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: it cannot be read, has no class or a folder without videos, or has two classes
            of one name (see `alike`).
    """
    found = class_folders(folder)
    if found.empty:
        listed = some_of(list(map(repr, found.empty)), _LISTED)
        raise VideoError(
            f"{folder} has folders without a video in them: {listed}; move them elsewhere, or put "
            "videos into those that are classes"
        )
    check_names(found.names, str(folder))
    return found.names


def check_names(names: Iterable[str], where: str) -> None:
    """Raise VideoError if classes are alike, see `alike`.

    Args:
        names: of the classes; one that stands twice is one class.
        where: what has them, for the error.
    """
    for same in alike(list(dict.fromkeys(names))):
        raise VideoError(f"{where} has {told_alike(same)}")


def alike(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the names that differ in nothing but case, spaces and the form of Unicode, together.

    Lists and models cannot tell them apart, nor can the file systems of Windows and macOS.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        found.setdefault(" ".join(text.split()), []).append(name)
    return [tuple(same) for same in found.values() if len(same) > 1]


def told_alike(names: Sequence[str]) -> str:
    """Return the sentence about classes of one name, without its subject."""
    return (
        f"the classes {' and '.join(map(repr, names))}, which are one name but for case, spaces or "
        "Unicode's form; rename them, or put their videos into one"
    )


def _no_class(folder: Path) -> VideoError:
    """Return an error that says where videos lie instead."""
    if beside := flat_videos(folder):
        begins = Counter(_NUMBER_AT_END.sub("", path.stem) for path in beside)
        classes = sorted(name for name, count in begins.items() if name and count > 1)
        found = "one video" if len(beside) == 1 else f"{len(beside)} videos beside each other"
        has = f"{folder} has no folder for each class, but {found}, such as {beside[0].name!r}"
        if len(classes) > 1:
            return VideoError(
                f"{has}, whose names begin with {some_of(list(map(plain, classes)), _LISTED)}; put "
                "each into a folder that is named for its class, or write a list with the class "
                "after each video"
            )
        return VideoError(
            f"{has}; put each into a folder that is named for its class, or, if this is the folder "
            f"of one class, give the one above it, {folder.resolve().parent}"
        )
    for child in filter(os.path.isdir, entries_of(folder)):
        if folders_in(child).names:
            return VideoError(f"{folder} has no folder for each class, but {child} has; give that")
    return VideoError(
        f"{folder} has no video in a folder of a class; expected files such as "
        "<Class>/<video>.avi, or folders of frames, <Class>/<video>/0001.jpg"
    )
