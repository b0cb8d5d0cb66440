"""Videos that are the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from r2p_edge.calibration.manifest import sha256_of_video
from r2p_edge.calibration.matching import Video
from r2p_edge.errors import VideoError
from r2p_edge.video.flow_names import size_in_bytes


def same_videos(videos: Iterable[Video]) -> list[tuple[Video, ...]]:
    """Return the videos that are the same bytes, each set of them in the order given.

    Of folders of frames the names of the images count too. Parts of one file are not the same
    video, and what is empty or cannot be read is the same as nothing.
    """
    by_path = {video.path: video for video in videos}
    by_size: dict[int, list[Video]] = {}
    for path, video in by_path.items():
        if size := _size(path):
            by_size.setdefault(size, []).append(video)
    by_bytes: dict[str, list[Video]] = {}
    for same_size in by_size.values():
        for video in same_size if len(same_size) > 1 else ():
            try:
                by_bytes.setdefault(sha256_of_video(video.path), []).append(video)
            except VideoError:  # whoever reads it will say so
                continue
    order = {path: number for number, path in enumerate(by_path)}
    found = [tuple(same) for same in by_bytes.values() if len(same) > 1]
    return sorted(found, key=lambda same: order[same[0].path])


def in_two_classes(same: Sequence[Video]) -> tuple[Video, Video] | None:
    """Return two of these videos that are of two classes; None if there are none."""
    other = next((video for video in same if video.label != same[0].label), None)
    return None if other is None else (same[0], other)


def _size(path: Path) -> int:
    """Return the number of bytes of a file or of the pictures in a folder; 0 if it is unknown."""
    try:
        return size_in_bytes(path)
    except OSError:
        return 0
