"""The videos that somebody means by files, folders, patterns such as `**/*.mp4`, and lists."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from r2p_edge.archive.list_file import read_list
from r2p_edge.archive.listed import Listed
from r2p_edge.errors import UsageError, VideoError, VideoNotFoundError
from r2p_edge.video.frame_folder import IMAGE_SUFFIXES, images_in, longest_series
from r2p_edge.video.source import is_url, path_of_uri
from r2p_edge.video.video_folder import entries_of, has_frames, is_video_file, videos_in

_log = logging.getLogger(__name__)


def list_archive(
    sources: Sequence[str | Path] = (),
    list_file: str | Path | None = None,
    shard: tuple[int, int] | None = None,
) -> list[Listed]:
    """Return the videos of an archive, each once, in an order that is the same each time.

    Args:
        sources: video files, addresses, folders and patterns, see `videos_of`; with a list, the
            one folder that its relative paths start from, by default the current one.
        list_file: list of videos and parts of them, see `read_list`.
        shard: (3, 20) for the third of 20 shares, every 20th video from the third on.

    Raises:
        UsageError: there is no source, more than one folder for a list, or no such shard.
        VideoNotFoundError: there is no such folder, nothing fits a pattern, or none of the videos
            of a list is there.
        VideoError: a folder or list cannot be used.
    """
    if list_file is None:
        if not sources:
            raise UsageError("there is no video to look at; give videos, a folder or a list")
        found = [Listed(video) for source in sources for video in videos_of(source)]
    else:
        found = _in_folder(read_list(list_file), sources, list_file)
    once = list(dict.fromkeys(found))
    if len(once) < len(found):
        _log.warning("%d videos are named twice, and answered once", len(found) - len(once))
    if shard is None:
        return once
    number, count = shard
    if not 1 <= number <= count:
        raise UsageError(f"shard {number}/{count} does not exist; the first is 1/{count}")
    return once[number - 1 :: count]


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
    name = os.fspath(source)
    if is_url(name):
        return [name]
    name = path_of_uri(name)
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


def _in_folder(
    listed: list[Listed], sources: Sequence[str | Path], list_file: str | Path
) -> list[Listed]:
    """Return listed videos with their paths from the folder that they lie in."""
    if len(sources) > 1 or not all(os.path.isdir(source) for source in sources):
        raise UsageError(
            f"with a list of videos {', '.join(map(str, sources))} can only be the folder that its "
            "paths start from; give one folder, or none"
        )
    for folder in sources:
        listed = [
            each if is_url(each.video) else each._replace(video=str(Path(folder) / each.video))
            for each in listed
        ]
    if not any(is_url(each.video) or os.path.exists(path_of_uri(each.video)) for each in listed):
        where = sources[0] if sources else "the current folder"
        raise VideoNotFoundError(
            f"none of the {len(listed)} videos of {list_file} is there, the first of them "
            f"{listed[0].video}; paths start from {where}, so give the folder that they lie in"
        )
    return listed
