"""Groups of videos: those that were cut from one recording, which one side of a split may have."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from r2p_edge.video.video_folder import VIDEO_SUFFIXES

_GROUP = re.compile(r"(?P<series>.*)_g(?P<number>\d{1,9})_c\d+", re.IGNORECASE | re.DOTALL)


def group_of(name: str) -> str:
    """Return a key that the videos of one recording share.

    UCF101 numbers its recordings in the names of the clips that were cut from them,
    `v_YoYo_g01_c03.avi` (https://www.crcv.ucf.edu/data/UCF101.php), and so may others: whatever
    stands before `_g<number>_c<number>` is part of the key, the folder is not, so that clips of two
    classes may come from one recording. A video of any other name is a group by itself.

    Args:
        name: `<folder>/<video>` or `<video>`, with or without a suffix.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    stem = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    if match := _GROUP.fullmatch(stem):
        return f"{match['series'].casefold()}_g{int(match['number'])}"
    return f"{path.parent.name}/{stem}"  # the other keys have no slash
