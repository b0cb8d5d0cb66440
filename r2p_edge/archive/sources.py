"""The videos of an archive: those behind files, folders and patterns, or those of a list."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from r2p_edge.archive.list_file import read_list
from r2p_edge.archive.listed import Listed
from r2p_edge.errors import UsageError, VideoNotFoundError, none_of
from r2p_edge.video.named import videos_of
from r2p_edge.video.source import is_url, path_of_uri

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
            f"{none_of(len(listed), 'video')} of {list_file} is there, the first of them "
            f"{listed[0].video}; paths start from {where}, so give the folder that they lie in"
        )
    return listed
