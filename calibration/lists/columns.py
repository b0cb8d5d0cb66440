"""Names of columns in the first line of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from r2p_edge.spec.class_names import fold
from r2p_edge.video.video_folder import VIDEO_SUFFIXES

COLUMNS: Mapping[str, Sequence[str]] = {
    "path": (
        "path", "videopath", "clippath", "filepath", "filename", "file", "videoname", "clipname",
        "orgvideo", "video", "clip", "name",
    ),
    "id": ("youtubeid", "youtubeidentifier", "videoid", "ytid", "id"),
    "label": (
        "labelname", "classname", "classlabel", "actionname", "label", "labels", "class", "action",
        "category", "activity", "target", "tag", "labelid", "classid", "labelindex", "classindex",
        "labelidx", "classidx", "y",
    ),
    "start": ("timestart", "starttime", "startseconds", "startsec", "starts", "start", "begin"),
    "end": ("timeend", "endtime", "endseconds", "endsec", "ends", "end", "stop"),
    "split": ("split", "subset", "partition", "set"),
}  # fmt: skip
"""By meaning, without case and punctuation; the first one that a header has is taken."""

OF_EACH_FRAME = {"frameid", "originalvidoid", "originalvideoid"}
"""Names in lists with a line for each frame."""


def is_header(cells: Sequence[str]) -> bool:
    """Return whether cells name columns: one by a name for videos, and none is a video."""
    known = {*COLUMNS["path"], *COLUMNS["id"], *OF_EACH_FRAME}
    return (
        len(cells) > 1
        and any(fold(cell) in known for cell in cells)
        and not any(cell.isdecimal() or names_a_video(cell) for cell in cells)
    )


def names_a_video(cell: str) -> bool:
    """Return whether a cell ends like the name of a video file."""
    return cell.lower().endswith(_SUFFIXES)


_SUFFIXES = tuple(VIDEO_SUFFIXES)
