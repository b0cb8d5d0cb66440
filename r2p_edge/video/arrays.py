"""Arrays and tensors of any library as frames: uint8, with the channels in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import shortened
from r2p_edge.errors import VideoError, one_line
from r2p_edge.frame import Image

_EITHER = "(T, H, W, 3) or (T, 3, H, W)"


def is_array(source: Any) -> bool:
    """Return True for arrays and tensors, of whatever library."""
    return hasattr(source, "__array__") or hasattr(source, "asnumpy")


def frames_from_array(frames: Any) -> Image:
    """Return `frames` as an array uint8 (n, H, W, 3), a view where that is possible.

    Args:
        frames: uint8 (n, H, W, 3) or (n, 3, H, W), of any library whose arrays NumPy or decord
            can convert. The two are told apart by their shapes.

    Raises:
        VideoError: it is something else, or could be both; the message says what was found.
    """
    return _checked(_as_array(frames), frames=True)


def frame_from_item(item: Any) -> Image:
    """Return one item of an iterable as a frame uint8 (H, W, 3).

    Args:
        item: uint8 (H, W, 3) or (3, H, W); see `frames_from_array`.

    Raises:
        VideoError: it is something else, or could be both; the message says what was found.
    """
    if not is_array(item) and not isinstance(item, (list, tuple)):
        raise VideoError(
            f"an item of the iterable is {shortened(item)}; expected frames: uint8 arrays or "
            "tensors (H, W, 3), PIL images, or PyAV's frames"
        )
    frame: Image = _checked(_as_array(item)[np.newaxis], frames=False)[0]
    return frame


def _as_array(frames: Any) -> npt.NDArray[Any]:
    """Return what is given for frames as an array, after any conversion of its own."""
    try:
        # decord's arrays have no other way; NumPy would take one for a single object.
        return np.asarray(frames.asnumpy() if hasattr(frames, "asnumpy") else frames)
    except Exception as error:  # tensors raise what they like
        raise VideoError(
            f"a {type(frames).__name__} cannot be converted to an array ({one_line(error)}); "
            "expected uint8 (T, H, W, 3) in the memory of the host"
        ) from error


def _checked(array: npt.NDArray[Any], *, frames: bool) -> Image:
    """Return frames with their channels last, after checking shape and dtype.

    Args:
        array: with an axis of frames.
        frames: whether the caller gave that axis; else messages leave it out.
    """
    shape = array.shape if frames else array.shape[1:]
    what, expected = ("frames have", _EITHER)
    if not frames:
        what, expected = "a frame has", _EITHER.replace("T, ", "")
    last = array.ndim == 4 and array.shape[-1] == 3
    first = array.ndim == 4 and array.shape[1] == 3
    # Three frames of (T, 3, H, W) look like three channels of (3, T, H, W).
    if first and (last or (frames and array.shape[0] == 3)):
        raise VideoError(
            f"{what} shape {shape}, of which more than one axis may be that of the channels; give "
            "them as (T, H, W, 3), with pictures more than 3 pixels high and wide"
        )
    if not (last or first):
        raise VideoError(f"{what} shape {shape}; expected {expected}: channels last or first")
    if array.dtype != np.uint8:
        raise VideoError(
            f"{what} dtype {array.dtype}; expected uint8 with values from 0 to 255, so scale and "
            "round them first"
        )
    if array.size == 0:
        raise VideoError(f"{what} shape {shape}; expected at least one frame and pixel")
    return array if last else np.moveaxis(array, 1, -1)
