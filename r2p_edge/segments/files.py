"""Files that timelines are written to: the suffix of each chooses its format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from r2p_edge.addresses import without_password
from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.errors import OutputError, UsageError
from r2p_edge.segments.lettering import import_opencv
from r2p_edge.segments.picture import draw_timeline
from r2p_edge.segments.png import png_of
from r2p_edge.segments.svg import svg_of
from r2p_edge.segments.texts import csv_of, json_of, jsonl_of, srt_of, vtt_of
from r2p_edge.segments.timelines import Timeline
from r2p_edge.video.named import NamedVideo

TABLES: dict[str, Callable[[Sequence[Timeline]], bytes]] = {".csv": csv_of, ".jsonl": jsonl_of}
"""Formats of any number of videos, by suffix."""

_SINGLE: dict[str, Callable[[Timeline, Path], bytes]] = {
    ".json": lambda timeline, _: json_of(timeline),
    ".srt": lambda timeline, _: srt_of(timeline),
    ".vtt": lambda timeline, _: vtt_of(timeline),
    ".svg": lambda timeline, path: svg_of(draw_timeline(timeline), _link(timeline.video, path)),
    ".png": lambda timeline, _: png_of(draw_timeline(timeline)),
}

TIMELINE_FORMATS = (*TABLES, *_SINGLE)
"""Suffixes of the files that timelines can be written to; the rest are of one video each."""


def check_format(name: str) -> None:
    """Check that a file's name ends in a format of timelines.

    Raises:
        UsageError: it does not.
    """
    if not name.lower().endswith(TIMELINE_FORMATS):
        raise UsageError(
            f"{name} is of no format of timelines; end its name in one of "
            f"{', '.join(TIMELINE_FORMATS)}, or for files in a folder of that name say what to "
            "write there (--format csv)"
        )


def check_output(path: str | Path, videos: int = 1) -> None:
    """Make sure, before long work, that the timelines of so many videos can be written to a file.

    Raises:
        UsageError: its suffix is none of `TIMELINE_FORMATS`, or of a format of one video where
            there are several.
        OutputError: it cannot be written there.
        MissingDependencyError: OpenCV, which draws .png, is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_format(path.name)
    if videos > 1 and suffix not in TABLES:
        raise UsageError(
            f"{path} holds one video and there are {videos}; give a folder, which gets a file for "
            f"each of them (--out DIR --format {suffix[1:]}), or a file of {', '.join(TABLES)}"
        )
    if suffix == ".png":
        import_opencv("a timeline in .png")
    check_folder(path)


def write_timelines(timelines: Sequence[Timeline], path: str | Path) -> None:
    """Write the timelines of one video, or of several, to a file; its suffix chooses the format.

    Args:
        timelines: of one video, unless the suffix is one of `TABLES`.
        path: the file; a former one is replaced.

    Raises:
        UsageError, OutputError, MissingDependencyError: see `check_output`.
    """
    path = Path(path)
    check_output(path, len(timelines))
    suffix = path.suffix.lower()
    if suffix in TABLES:
        atomic_write(path, TABLES[suffix](timelines))
    else:
        (timeline,) = timelines
        atomic_write(path, _SINGLE[suffix](timeline, path))


def _link(video: str, path: Path) -> str | None:
    """Return the path of a video from a file's folder; None for one that is no file."""
    if not os.path.isfile(video):
        return None
    return os.path.relpath(os.path.realpath(video), os.path.realpath(path.parent))


def output_paths(videos: Sequence[NamedVideo], folder: Path, suffix: str) -> list[Path]:
    """Return the file in a folder for each video, in their order, and make the folders for them.

    Raises:
        UsageError: two videos would get the same file.
        OutputError: a folder cannot be made.
    """
    paths = [folder / f"{video.name}{suffix}" for video in videos]
    for path, count in Counter(paths).items():
        if count > 1:
            one, two, *_ = (v.source for v, each in zip(videos, paths) if each == path)
            raise UsageError(
                f"{without_password(one)} and {without_password(two)} would both be written to "
                f"{path}; give the folder above them as one VIDEO, or run the command for each"
            )
    for parent in dict.fromkeys(path.parent for path in paths):
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"folder {parent} cannot be made ({error.strerror}); choose another --out"
            ) from error
    return paths
