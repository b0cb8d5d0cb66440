"""The videos of a folder, by the same rules for every verb.

Hidden files and folders do not count, links are followed, and what is left out is named in the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from r2p_edge.addresses import shortened
from r2p_edge.errors import VideoError, VideoNotFoundError
from r2p_edge.video.decoding import cause_of
from r2p_edge.video.flow_names import flow_folders
from r2p_edge.video.frame_folder import any_image_in, images_in

VIDEO_SUFFIXES = {
    ".264", ".265", ".3g2", ".3gp", ".3gpp", ".amv", ".asf", ".avc", ".avi", ".avs", ".dav",
    ".divx", ".dv", ".f4v", ".flv", ".gif", ".gxf", ".h261", ".h263", ".h264", ".h265", ".hevc",
    ".insv", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg",
    ".mk3d", ".mkv", ".mov", ".mp4", ".mp4v", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf",
    ".nsv", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".trp", ".ts", ".vc1",
    ".vob", ".vro", ".webm", ".wmv", ".wtv", ".xvid", ".y4m",
}  # fmt: skip
"""Suffixes, in lower case, by which the videos in a folder are found."""

_KINDS = 6  # in a message
_log = logging.getLogger(__name__)


def entries_of(folder: Path) -> list[Path]:
    """Return what is in a folder and not hidden, sorted by name.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VideoNotFoundError(f"there is no folder {folder}; check the path") from error
    except OSError as error:
        raise VideoError(
            f"folder {folder} cannot be read ({cause_of(error)}); check its permissions"
        ) from error
    return [folder / name for name in names]


def is_video_file(path: Path) -> bool:
    """Return True for a file whose name ends like a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(path)


def has_frames(folder: Path) -> bool:
    """Return True for a folder with images in it, or with two of stored flow in it.

    Raises:
        VideoError: the folder cannot be read.
    """
    try:
        if not os.path.isdir(folder):
            return False
        return any_image_in(folder) or flow_folders(folder) is not None
    except OSError as error:
        raise VideoError(
            f"folder {folder} cannot be read ({cause_of(error)}); check its permissions"
        ) from error


def is_video(path: Path) -> bool:
    """Return whether this is a file with a video's suffix or a folder with images.

    Raises:
        VideoError: it is a folder that cannot be read.
    """
    return is_video_file(path) or has_frames(path)


def videos_in(folder: Path) -> list[Path]:
    """Return the videos in a folder and the folders in it, sorted by path.

    A folder with images is the frames of one video, unless there are video files in it or below it,
    or as many images in a folder below it; one with two folders of stored flow is a video
    too. A folder that is reached again by a link is not read again.

    Raises:
        VideoNotFoundError: the folder does not exist.
        VideoError: the folder, or one in it, cannot be read, or has no videos.
    """
    with looking_up(folder):
        if not folder.is_dir():
            raise VideoNotFoundError(f"there is no folder {folder}; give one of video files")
    found: list[Path] = []
    left_out: list[Path] = []
    images: dict[Path, list[Path]] = {}
    flow: dict[Path, tuple[Path, Path]] = {}
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        with looking_up(here):
            status = here.stat()
            parts = flow_folders(here)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        entries = entries_of(here)
        inside = {path for path in entries if os.path.isdir(path)}
        videos = {path for path in entries if is_video_file(path)}
        images[here] = images_in(here)
        if parts is not None:
            flow[here] = parts
        found += videos
        left_out += (path for path in entries if path not in {*inside, *videos, *images[here]})
        waiting += sorted(inside, reverse=True)
    frames = _folders_of_frames(images, flow, found)
    read = frames.union(*(flow[each] for each in frames & flow.keys()))
    left_out += (path for here in images if here not in read for path in images[here])
    found += frames
    report_left_out(folder, [str(path.relative_to(folder)) for path in left_out])
    if not found:
        suffixes = ", ".join(sorted(VIDEO_SUFFIXES))
        raise VideoError(
            f"{folder} has no videos ({suffixes}) and no images; give a folder with videos"
        )
    return sorted(found)


def _folders_of_frames(
    images: Mapping[Path, list[Path]], flow: Iterable[Path], videos: Iterable[Path]
) -> set[Path]:
    """Return the folders that are the frames, or the stored flow, of one video each.

    Args:
        images: folders, with the images in them.
        flow: those that have two folders of flow.
        videos: video files.
    """
    above_videos = {parent for video in videos for parent in video.parents}
    most: dict[Path, int] = {}  # images in a folder below each
    for folder, found in images.items():
        for parent in folder.parents:
            most[parent] = max(most.get(parent, 0), len(found))
    frames = {folder for folder, found in images.items() if len(found) > most.get(folder, 0)}
    frames = frames.union(flow) - above_videos
    return {folder for folder in frames if not frames & set(folder.parents)}


def report_left_out(folder: Path, names: Sequence[str]) -> None:
    """Log what is in a folder of videos and is not read, by its suffixes."""
    if names:
        kinds = Counter(PurePath(name).suffix.lower() for name in names).most_common(_KINDS)
        listed = ", ".join(f"{count} {kind or 'without a suffix'}" for kind, count in kinds)
        _log.warning(
            "%s: left out %d files or folders that are no videos by their names, or have the name "
            "of another video (%s): %s",
            folder,
            len(names),
            listed,
            ", ".join(sorted(names)[:_KINDS]),
        )


@contextlib.contextmanager
def looking_up(path: Path) -> Iterator[None]:
    """Turn what the file system says about a path into a VideoError."""
    try:
        yield
    except VideoError:
        raise
    except (OSError, ValueError) as error:  # too long, a NUL byte in it, not permitted
        raise VideoError(
            f"{shortened(str(path), 200)} cannot be looked up ({cause_of(error)}); check the path"
        ) from error
