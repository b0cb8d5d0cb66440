"""The frames of one video among the files of a folder."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from r2p_edge.errors import VideoError
from r2p_edge.spec.checks import some_of

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
"""Suffixes, in lower case, by which the frames in a folder are found."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")  # decimals are seconds
_LISTED = 5  # series in a message

_log = logging.getLogger(__name__)


def frames_in(folder: Path) -> list[Path]:
    """Return the frames of the video in a folder, in the order of the numbers in their names.

    Single images beside them, such as a thumbnail, are left out and named in the log.

    Raises:
        VideoError: there is no image, or there are several series of them, such as RGB frames
            beside those of optical flow.
        OSError: the folder cannot be read.
    """
    images = images_in(folder)
    if not images:
        raise VideoError(
            f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}); "
            "give a video file or a folder of frames"
        )
    found = _series_of(images)
    long = [series for series in found if len(series) > 1]
    if not long:  # nothing counts them: a, b, c
        return images
    single = [series[0] for series in found if len(series) == 1]
    if len(long) > 1 or len(single) >= len(long[0]):
        listed = some_of([_text_of_series(series) for series in found], _LISTED)
        raise VideoError(
            f"{folder} has {len(found)} series of images: {listed}; give a folder with the "
            "frames of one video only"
        )
    if single:
        names = ", ".join(path.name for path in single[:_LISTED])
        _log.warning(
            "%s: left out %d images that do not belong to %s: %s",
            folder,
            len(single),
            _text_of_series(long[0]),
            names,
        )
    return long[0]


def images_in(folder: Path) -> list[Path]:
    """Return the images in a folder that are not hidden, in the order of their numbers.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _is_image(entry)]
    return sorted((folder / name for name in names), key=_natural)


def longest_series(images: Iterable[Path]) -> list[Path]:
    """Return the images, of these, that are the longest series of frames; perhaps one, or none."""
    return max(_series_of(images), key=len, default=[])


def any_image_in(folder: Path) -> bool:
    """Return True for a folder with an image that is not hidden.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return any(map(_is_image, entries))


def _is_image(entry: os.DirEntry[str]) -> bool:
    """Return True for a file, and for a link to one that is gone: a frame is missing there."""
    if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    if entry.is_symlink():
        return os.path.isfile(entry) or not os.path.exists(entry)
    return entry.is_file()


def _series_of(images: Iterable[Path]) -> list[list[Path]]:
    """Return images in the groups that are counted each by itself."""
    by_words: dict[str, list[Path]] = {}
    for path in images:
        by_words.setdefault(_NUMBER.sub("#", path.stem.casefold()), []).append(path)
    return [series for group in by_words.values() for series in _restarts(group)]


def _restarts(images: list[Path]) -> Iterable[list[Path]]:
    """Split images with the same words in their names where several have the same number.

    `cam1_0001` and `cam2_0001` are frames of two videos, as are `0001.jpg` and `0001.png`.
    """
    rows = (_NUMBER.findall(path.stem) for path in images)
    columns = [column for column in zip(*rows) if len(set(column)) > 1]
    counter = 0 if _is_time(columns) else max(len(columns) - 1, 0)
    keys: list[tuple[str, ...]] = list(zip(*columns[:counter])) or [()] * len(images)
    counts = list(zip(*columns[counter:])) or [()] * len(images)
    if len(set(counts)) == len(images):
        return [images]
    if len(set(zip(keys, counts))) < len(images):
        keys = [(*key, path.suffix.lower()) for key, path in zip(keys, images)]
    groups: dict[tuple[str, ...], list[Path]] = {}
    for key, path in zip(keys, images):
        groups.setdefault(key, []).append(path)
    return groups.values()


def _is_time(columns: Sequence[tuple[str, ...]]) -> bool:
    """Return True for dates and times of day, in which the last number starts again too."""
    if len(columns) < 2:
        return False
    sixty = re.compile(r"[0-5]\d(\.\d+)?")
    of_day = all(sixty.fullmatch(number) for column in columns[-2:] for number in column)
    return of_day or all(len(number) == 8 for number in columns[0])


def _text_of_series(series: Sequence[Path]) -> str:
    if len(series) == 1:
        return series[0].name
    return f"{series[0].name} to {series[-1].name} ({len(series)} images)"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts frame 10 after frame 9."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
