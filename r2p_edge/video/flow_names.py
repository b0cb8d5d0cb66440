"""Names of the folders in which the two directions of stored optical flow lie beside each other."""

from __future__ import annotations

import os
from pathlib import Path

from r2p_edge.video.frame_folder import any_image_in, images_in

_FOLDERS = (("flow_x", "flow_y"), ("flow_u", "flow_v"), ("x", "y"), ("u", "v"))


def flow_folders(folder: Path) -> tuple[Path, Path] | None:
    """Return the folders of horizontal and of vertical flow in a folder; None without images there.

    One of them may be without: what reads the flow says which pictures are missing.

    Raises:
        OSError: a folder cannot be read.
    """
    for names in _FOLDERS:
        across, down = (folder / name for name in names)
        both_there = os.path.isdir(across) and os.path.isdir(down)
        if both_there and (any_image_in(across) or any_image_in(down)):
            return across, down
    return None


def pictures_of(folder: Path) -> list[Path]:
    """Return the pictures of the video that a folder is: its images, or those of its flow.

    Raises:
        OSError: a folder cannot be read.
    """
    if (images := images_in(folder)) or (parts := flow_folders(folder)) is None:
        return images
    return [picture for part in parts for picture in images_in(part)]


def size_in_bytes(video: Path) -> int:
    """Return the number of bytes of a video file, or of the pictures of a folder.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: no file can have that name.
    """
    files = pictures_of(video) if os.path.isdir(video) else [video]
    return sum(file.stat().st_size for file in files)
