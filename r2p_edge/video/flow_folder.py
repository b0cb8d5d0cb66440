"""Optical flow stored as grey pictures, two for each pair of frames: a source without frames."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from r2p_edge._optional import OPENCV, import_library
from r2p_edge.errors import VideoError
from r2p_edge.frame import Image
from r2p_edge.spec import ModelSpec
from r2p_edge.video.flow_names import flow_folders
from r2p_edge.video.frame_folder import any_image_in, images_in
from r2p_edge.video.sampling import Times, nearest
from r2p_edge.video.source import is_folder, is_path, path_of_uri
from r2p_edge.video.video_folder import looking_up

_NAMED = re.compile(r"(?:flow[_-]?)?([xyuv])[_-]?(\d+)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_PAIRS = (("x", "y"), ("u", "v"))

WAYS = "flow_x_00001.jpg and flow_y_00001.jpg, x_00001.jpg and y_00001.jpg, or folders u and v"
"""Names that stored flow may have, for a message."""


class _Pair(NamedTuple):
    """Files of the horizontal and the vertical part of one frame of flow."""

    x: Path
    y: Path


def open_flow(source: Any, fps: float, spec: ModelSpec) -> FlowFolder | None:
    """Open a folder of stored flow for a model of flow; return None for any other source.

    Args:
        source: path or anything else that holds a video.
        fps: frames of flow per second.
        spec: contract of the model.

    Raises:
        VideoError: the folder cannot be read, its pictures make no pairs, or the spec does not say
            what their grey levels mean.
    """
    if not is_path(source) or not is_folder(source):
        return None
    folder = Path(path_of_uri(os.fsdecode(source)))
    with looking_up(folder):
        if not any(_found(folder)):
            return None
        assert spec.flow is not None
        if spec.flow.bound is None:
            raise VideoError(
                f"{folder} has flow as grey levels, and {spec.name} takes flow in pixels without a "
                "bound, so nobody knows how far a level moves; give the video itself"
            )
        if spec.clip.interval > 1:
            raise VideoError(
                f"{folder} has flow from each frame to the next, and the pairs of {spec.name} are "
                f"{spec.clip.interval} frames apart; give the video itself"
            )
        return FlowFolder(folder, fps)


def is_flow(folder: Path) -> bool:
    """Return whether the pictures of a folder are stored flow, and no frames that it may lie by.

    Raises:
        VideoError: see `FlowFolder`.
        OSError: the folder cannot be read.
    """
    across, down = _found(folder)
    if not (across and down):  # frames may be named v_0001 too
        return False
    return next(iter(across.values())).parent == folder or not any_image_in(folder)


class FlowFolder:
    """Flow pictures in a folder, in the order of their numbers, `fps` of them a second.

    They are named by horizontal and vertical: `flow_x_00001.jpg` and `flow_y_00001.jpg`, the same
    without `flow_`, with u and v for x and y, or in folders called `u` and `v`, `x` and `y`, or
    `flow_x` and `flow_y`.

    Raises:
        VideoError: pictures of one direction have no partners, or a number stands twice.
        OSError: the folder cannot be read.
    """

    truncated = False
    lost: Times = np.empty(0)

    def __init__(self, folder: Path, fps: float) -> None:
        self.name = str(folder)
        across, down = _found(folder)
        if across.keys() != down.keys():
            number = min(across.keys() ^ down.keys())
            has, lacks = ("x", "y") if number in across else ("y", "x")
            raise VideoError(
                f"{folder} has flow picture {number} of direction {has} and none of {lacks}; give "
                f"both of each pair of frames ({WAYS})"
            )
        self._pairs = [_Pair(across[number], down[number]) for number in sorted(across)]
        self.times = np.arange(len(self._pairs)) / fps

    def read(self, times: Times) -> Iterator[Image]:
        """Give the frame nearest to each of the ascending moments: uint8 (H, W, 2).

        Raises:
            VideoError: a picture cannot be decoded, or the two of a pair have other sizes.
        """
        shown, levels = -1, np.empty(0, np.uint8)
        for index in nearest(self.times, times):
            if index != shown:
                shown, levels = index, _levels(self._pairs[index])
            yield levels

    def close(self) -> None:
        """Do nothing: each picture is closed once it is read."""


def _found(folder: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """Return the horizontal and the vertical pictures of a folder by their numbers."""
    parts: dict[str, dict[int, Path]] = {}
    for path in images_in(folder):
        if match := _NAMED.fullmatch(path.stem):
            _add(parts.setdefault(match[1].lower(), {}), int(match[2]), path)
    for x, y in _PAIRS:
        if x in parts or y in parts:
            return parts.get(x, {}), parts.get(y, {})
    if (both := flow_folders(folder)) is not None:
        across, down = both
        return _numbered(across), _numbered(down)
    return {}, {}


def _numbered(folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in images_in(folder):
        if match := _LAST_NUMBER.search(path.stem):
            _add(found, int(match[1]), path)
    return found


def _add(found: dict[int, Path], number: int, path: Path) -> None:
    if number in found:
        raise VideoError(
            f"{path.parent} has two flow pictures {number}: {found[number].name} and {path.name}; "
            "give a folder with the flow of one video only"
        )
    found[number] = path


def _levels(pair: _Pair) -> Image:
    """Return the two pictures of a pair as one, uint8 (H, W, 2)."""
    cv2 = import_library("cv2", f"stored flow is read with it: {OPENCV}")
    channels = []
    for path in pair:
        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise VideoError(f"{path} cannot be read ({error.strerror}); check it") from error
        # It raises for no bytes at all, and returns None for those of no picture.
        channel = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
        if channel is None:
            raise VideoError(f"{path} cannot be decoded; copy it again, or remove its pair")
        channels.append(channel)
    if channels[0].shape != channels[1].shape:
        sizes = " and ".join(f"{each.shape[1]}x{each.shape[0]}" for each in channels)
        raise VideoError(
            f"{pair.x} and {pair.y} are {sizes} pixels; the two pictures of a pair have one size"
        )
    return np.stack(channels, axis=-1)
