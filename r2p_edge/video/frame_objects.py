"""Frames that other libraries hold: images of PIL, frames of PyAV, and captures of OpenCV.

None of these libraries is imported here: an object of theirs can only be given once it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from r2p_edge.errors import VideoError, one_line
from r2p_edge.frame import Image, Planes, picture_of
from r2p_edge.video.arrays import frame_from_item
from r2p_edge.video.sampling import Times

_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # of 8 bits a channel
_ORIENTATION = 0x0112  # tag of EXIF
_POS_MSEC, _POS_FRAMES, _FPS, _FRAME_COUNT = 0, 1, 5, 7  # of OpenCV's VideoCaptureProperties


class Item(NamedTuple):
    """A frame that an iterable gave.

    Attributes:
        image: uint8 (H, W, 3), or planes.
        time: seconds on the clock of its video; None if it has none.
        color: channel order of the image where the object itself knows it, or None.
    """

    image: Image | Planes
    time: float | None = None
    color: str | None = None


def items_of(frames: Iterable[Any]) -> Iterator[Item]:
    """Give the frames of an iterable: arrays, tensors, PIL images, or frames of PyAV.

    Raises:
        VideoError: one of them is something else, or cannot be converted.
    """
    for frame in frames:
        if _is_a(frame, "PIL.Image", "Image"):
            yield Item(_from_pil(frame), color="RGB")
        elif _is_a(frame, "av", "VideoFrame"):
            yield Item(picture_of(frame, "a frame of PyAV"), frame.time, "RGB")
        else:
            yield Item(frame_from_item(frame))


def is_capture(source: Any) -> bool:
    """Return True for OpenCV's `VideoCapture`."""
    return _is_a(source, "cv2", "VideoCapture")


def rate_of_capture(capture: Any) -> float | None:
    """Return the frames per second that an OpenCV capture declares; None if it declares none.

    Raises:
        VideoError: the capture is not open, or has no end.
    """
    if not capture.isOpened():
        raise VideoError(
            "the cv2.VideoCapture is not open; give the path of the video instead, whose error "
            "says what is wrong with it"
        )
    if capture.get(_FRAME_COUNT) <= 0:
        raise VideoError(
            "the cv2.VideoCapture does not say how many frames it has, as cameras and network "
            "streams do not; give stream() the camera's number or address, or predict() a file"
        )
    rate = float(capture.get(_FPS))
    return rate if rate > 0 else None


def items_of_capture(capture: Any) -> Iterator[Item]:
    """Give the frames of an OpenCV capture, from where it stands to its end."""
    while True:
        good, image = capture.read()
        if not good:
            return
        yield Item(frame_from_item(image), capture.get(_POS_MSEC) / 1e3, "BGR")


def broke_off(capture: Any) -> bool:
    """Return whether an OpenCV capture that gives no more frames stands well before its end.

    OpenCV tells an error from the end by nothing else; `VideoFile` allows the same difference.
    """
    declared, missing = capture.get(_FRAME_COUNT), 0.5 * capture.get(_FPS)
    return bool(capture.get(_POS_FRAMES) < declared - max(missing, 0.05 * declared))


def times_of_stamps(
    stamps: Sequence[float | None], fps: float | None, declared: float | None = None
) -> Times | None:
    """Return the times of frames in seconds from the first one on, or None if nobody knows them.

    Args:
        stamps: time of each frame on the clock of its video.
        fps: frames per second that the caller gives, which win over the stamps.
        declared: frames per second to take where the stamps do not ascend.

    Raises:
        VideoError: some frames have no time, or one earlier than the frame before.
    """
    if fps is not None:
        return np.arange(len(stamps)) / fps
    known = [stamp for stamp in stamps if stamp is not None]
    if not known:
        return None
    if len(known) < len(stamps):
        raise VideoError(
            f"{len(stamps) - len(known)} of {len(stamps)} frames have no time; give fps="
        )
    times: Times = np.array(known) - known[0]
    if np.all(np.diff(times) > 0):
        return times
    if declared is not None:
        return np.arange(len(stamps)) / declared
    late = int(np.argmax(np.diff(times) <= 0))
    raise VideoError(
        f"frame {late + 1} is of {known[late + 1]:g} s, but the frame before it of "
        f"{known[late]:g} s, as in AVI files, whose times are guessed; give the frames in order "
        "and fps=, or the path of the file"
    )


def what_to_give(source: Any) -> str:
    """Return what to give instead of an object that is no source of frames."""
    if _is_a(source, "PIL.Image", "Image") or _is_a(source, "av", "VideoFrame"):
        return "it is one frame, so give a list of them"
    if hasattr(source, "get_batch") and hasattr(source, "get_avg_fps"):  # decord's VideoReader
        return (
            "give the path that it reads, or reader.get_batch(range(len(reader))) with "
            "fps=reader.get_avg_fps()"
        )
    return "give a path, the bytes of a file, an array or tensor (T, H, W, 3), or a list of frames"


def _is_a(item: Any, module: str, name: str) -> bool:
    """Return whether an object is of a class of a module, which it cannot be before its import."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(item, kind)


def _from_pil(image: Any) -> Image:
    if image.mode not in _MODES:
        raise VideoError(
            f"a PIL image has the mode {image.mode}; expected 8 bits a channel, so scale it to 0 "
            "to 255 first"
        )
    try:
        turned = image.getexif().get(_ORIENTATION, 1)
        rgb = image.convert("RGB")
    except Exception as error:  # closed, cut off, or of a damaged file
        raise VideoError(f"a PIL image cannot be read ({one_line(error)}); check it") from error
    if turned not in (0, 1):
        # Whoever turned the pixels by hand has this tag still.
        raise VideoError(
            f"a PIL image has the EXIF orientation {turned}, and may be turned already or not; "
            "give PIL.ImageOps.exif_transpose(image), or remove the tag"
        )
    return frame_from_item(np.asarray(rgb))
