"""The videos that a folder has: in one folder per class, in folders of other names, or flat."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from r2p_edge.errors import VideoError
from r2p_edge.spec.class_names import class_finder, fold
from r2p_edge.video.video_folder import (
    VIDEO_SUFFIXES,
    entries_of,
    has_frames,
    is_video,
    is_video_file,
)


@dataclass(frozen=True)
class FoundVideo:
    """A video on disk.

    Attributes:
        path: the file, or the folder of its frames.
        name: `<folder>/<video>` or `<video>`, relative to the data set's folder.
    """

    path: Path
    name: str


class Catalogue:
    """The videos in a folder and in the folders in it, found by the names that lists have.

    Args:
        folder: of the data set.
        labels: the model's classes.
        any_suffix: count files whose names do not end like a video's, which a list may name.

    Attributes:
        left_out: names in the folders that are no videos by their suffix, or have the name of
            another video.

    Raises:
        VideoError: a folder cannot be listed.
    """

    def __init__(self, folder: Path, labels: Sequence[str], *, any_suffix: bool = False) -> None:
        self._begin(labels)
        entries = entries_of(folder)
        self._add_folders(entries, most=2 if any_suffix else 1)
        # Videos beside each other in the folder of one class are not a data set.
        if self._find(folder.resolve().name) is None:
            for path in filter(is_video, entries):
                self._add(FoundVideo(path, path.name))

    @classmethod
    def of_videos(cls, videos: Iterable[FoundVideo], labels: Sequence[str]) -> Catalogue:
        """Return the catalogue of videos that need not be there any longer.

        Args:
            videos: in `left_out` are those that have the name of one before.
            labels: the model's classes.
        """
        catalogue = cls.__new__(cls)
        catalogue._begin(labels)
        catalogue.left_out += [each.name for each in videos if not catalogue._add(each)]
        return catalogue

    def _begin(self, labels: Sequence[str]) -> None:
        self.left_out: list[str] = []
        self._find = class_finder(labels)
        self._by_key: dict[tuple[int | None, str], FoundVideo] = {}
        self._by_stem: dict[str, list[tuple[int | None, str]]] = {}

    def _add_folders(self, folders: Iterable[Path], most: int) -> None:
        """Add what is in folders up to a rank (see `_rank`), video files first."""
        for folder in filter(os.path.isdir, folders):
            ranks = {path: _rank(path) for path in entries_of(folder)}
            for path, rank in sorted(ranks.items(), key=lambda each: (each[1], each[0].name)):
                video = FoundVideo(path, f"{folder.name}/{path.name}")
                if rank > most or not self._add(video):
                    self.left_out.append(video.name)

    def _add(self, video: FoundVideo) -> bool:
        """Add a video; return False if there is one of its name."""
        key = self._key(video.name)
        if key in self._by_key:
            return False
        self._by_key[key] = video
        self._by_stem.setdefault(_stem(video.name), []).append(key)
        return True

    def __iter__(self) -> Iterator[FoundVideo]:
        """Give all videos, those in folders first."""
        return iter(self._by_key.values())

    def class_of(self, name: str) -> int | None:
        """Return the class that a name of a video says: its folder's, or UCF101's in its own."""
        path = PurePosixPath(name)
        index = self._find(path.parent.name)
        if index is None and (match := _UCF101.fullmatch(path.stem)):
            index = self._find(match["label"])
        return index

    def find(self, name: str, label: int | None) -> FoundVideo | None:
        """Return the video of a name in a list; None if the folder does not have it.

        A folder that the list has it in counts where the data set has it too.

        Args:
            name: `<folder>/<video>` or `<video>`.
            label: index of its class, if it is known.

        Raises:
            VideoError: there are several, and nothing tells which is meant.
        """
        if video := self._by_key.get(self._key(name)):
            return video
        keys = [
            key
            for key in self._by_stem.get(_stem(name), [])
            if label is None or key[0] in (None, label)
        ]
        if len(keys) > 1:
            one, other = (self._by_key[key].name for key in keys[:2])
            raise VideoError(
                f"the list has {name}, which may be {one} or {other}; list videos with their folder"
            )
        return self._by_key[keys[0]] if keys else None

    def _key(self, name: str) -> tuple[int | None, str]:
        """Return a key under which other spellings of a name are found.

        The text alone does not tell C from C++, the class does.
        """
        return self._find(PurePosixPath(name).parent.name), video_key(name)


_UCF101 = re.compile(r"v_(?P<label>.+)_g\d+_c\d+", re.IGNORECASE)


def _stem(name: str) -> str:
    return video_key(PurePosixPath(name).name)


def _rank(path: Path) -> int:
    """Return 0 for a video file, 1 for a folder of frames, 2 for other files, else 3."""
    if is_video_file(path):
        return 0
    return 1 if has_frames(path) else 2 if os.path.isfile(path) else 3


def video_key(name: str) -> str:
    """Return a key of a video that does not depend on its container or the case of its name.

    Args:
        name: `<Class>/<video>`, with or without a suffix.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    stem = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    return f"{fold(path.parent.name)}/{stem.casefold()}"
