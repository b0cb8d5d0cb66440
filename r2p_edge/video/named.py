"""The videos that somebody means by files, folders, and patterns such as `**/*.mp4`."""

from __future__ import annotations

import glob
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.frame_folder import IMAGE_SUFFIXES, images_in, longest_series
from r2p_edge.video.source import is_url, path_of_uri
from r2p_edge.video.video_folder import entries_of, has_frames, is_video_file, videos_in


class NamedVideo(NamedTuple):
    """A video, and the name of what is written about it.

    Attributes:
        source: path or URL.
        name: relative path without a suffix.
    """

    source: str
    name: PurePath


def named_videos(sources: Sequence[str]) -> list[NamedVideo]:
    """Return the videos behind paths, URLs, folders and patterns, each with a name of its own.

    A name is that of the file without its suffix, with the folders below the one that was given, or
    that the pattern begins with; where two would be the same, the suffix stays.

    Raises:
        VideoNotFoundError, VideoError: see `videos_of`.
    """
    found = [(each, _name_below(source, each)) for source in sources for each in videos_of(source)]
    bare = Counter(name.with_suffix("") for _, name in found)
    return [
        NamedVideo(video, name.with_suffix("") if bare[name.with_suffix("")] == 1 else name)
        for video, name in found
    ]


def _name_below(source: str, video: str) -> PurePath:
    """Return the path of a video from what it was found by: its folder, or a pattern's."""
    start = path_of_uri(source)
    if is_url(start):
        last = PurePath(urllib.parse.urlsplit(start).path).name
    elif os.path.isdir(start) or video != start:
        name = PurePath(video).relative_to(_without_pattern(start))
        if name.parts and ".." not in name.parts:
            return name
        last = Path(video).resolve().name  # of a folder of images, such as "."
    else:
        last = PurePath(video).name
    return PurePath("video" if last in ("", "..") else last)


def _without_pattern(name: str) -> PurePath:
    """Return the folders before the first one that is a pattern; all of an existing folder."""
    if os.path.isdir(name):
        return PurePath(name)
    parts = PurePath(name).parts
    return PurePath(*parts[: next(n for n, part in enumerate(parts) if glob.has_magic(part))])


def videos_of(source: str | Path) -> list[str]:
    """Return the videos that one source means, sorted.

    A folder means the videos in it and below it, by the rules of `videos_in`; one that has the
    images of one video alone is that video. A pattern means what a shell would make of it, and
    `**` any folders. Everything else means itself, even if it does not exist.

    Raises:
        VideoNotFoundError: nothing fits the pattern.
        VideoError: a folder has no video, mixes video files and the images of a video, or cannot
            be read.
    """
    name = path_of_uri(os.fspath(source))
    if is_url(name):
        return [name]
    if os.path.isdir(name):
        found = _videos_of_folder(Path(name))
        return [name] if found == [str(Path(name))] else found
    if os.path.lexists(name) or not glob.has_magic(name):
        return [name]
    # Path.glob would find hidden files too.
    matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    if not matches:
        raise VideoNotFoundError(
            f"no file fits {name}; check the pattern, in which ** stands for any folders"
        )
    # Of `**/*`, folders are what leads to the files that fit as well.
    files = [match for match in matches if not os.path.isdir(match)]
    images = [Path(file) for file in files if Path(file).suffix.lower() in IMAGE_SUFFIXES]
    if len(series := longest_series(images)) > 1:
        raise VideoError(
            f"{name} fits {len(series)} images, {series[0].name} to {series[-1].name}, which may "
            f"be one video; give their folder {series[0].parent}"
        )
    if files:
        return files
    return sorted({video for match in matches for video in _videos_of_folder(Path(match))})


def _videos_of_folder(folder: Path) -> list[str]:
    if has_frames(folder) and not any(
        os.path.isdir(entry) or is_video_file(entry) for entry in entries_of(folder)
    ):
        return [str(folder)]  # and whatever else is in there is left to the reader of frames
    found = videos_in(folder)
    for parent in dict.fromkeys(video.parent for video in found if is_video_file(video)):
        _check_not_mixed(parent, found)
    return [str(video) for video in found]


def _check_not_mixed(folder: Path, videos: Iterable[Path]) -> None:
    """Refuse a folder with video files and the numbered images of another video.

    Pictures named like the videos are their thumbnails.
    """
    names = {video.stem for video in videos if video.parent == folder}
    series = longest_series([path for path in images_in(folder) if path.stem not in names])
    if len(series) > 1:
        raise VideoError(
            f"{folder} has video files and the {len(series)} images {series[0].name} to "
            f"{series[-1].name}, which may be one more video; move either into a folder of its "
            f"own, or name what you mean, such as '{folder}/*{min(videos).suffix}'"
        )
