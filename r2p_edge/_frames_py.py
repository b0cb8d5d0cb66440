"""The twin of the compiled `_frames`, in OpenCV and NumPy: same functions, results and errors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r2p_edge.errors import MissingDependencyError

_MAX_SIDE = 32767


def resize_crop(
    image: NDArray[np.uint8],
    out: NDArray[np.uint8],
    resized_height: int,
    resized_width: int,
    top: int,
    left: int,
    swap: bool,
) -> None:
    """Resize a frame bilinearly and write one crop of the result into `out`.

    The bytes are those of `cv2.resize(image, (resized_width, resized_height),
    interpolation=cv2.INTER_LINEAR)[top : top + h, left : left + w]`.

    Args:
        image: uint8 (H, W, 3), rows at any distance, pixels contiguous.
        out: uint8 (h, w, 3), C-contiguous and writable, apart from `image`.
        resized_height: height of the whole resized frame in pixels, 1 to 32767.
        resized_width: width of the whole resized frame in pixels, 1 to 32767.
        top: first row of the crop in the resized frame.
        left: first column of the crop in the resized frame.
        swap: reverse the channels, BGR to RGB or back.

    Raises:
        TypeError: an argument is not of the kind or dtype above.
        ValueError: a shape, stride or number is outside the limits above, or the crop is not
            inside the resized frame.
        MissingDependencyError: OpenCV is not installed.
    """
    resized_height = _integer(resized_height, "resized_height")
    resized_width = _integer(resized_width, "resized_width")
    top, left = _integer(top, "top"), _integer(left, "left")
    if not isinstance(swap, bool):
        raise TypeError(f"swap must be a bool, got {type(swap).__name__}")
    _check_side(resized_height, "resized_height")
    _check_side(resized_width, "resized_width")

    image_is = "image must be a uint8 array of shape (height, width, 3)"
    out_is = "out must be a uint8 array of shape (height, width, 3)"
    _check_dtype(image, np.uint8, image_is)
    _check_dtype(out, np.uint8, out_is)
    _check_shape(image, image.ndim == 3 and image.shape[2] == 3, image_is)
    _check_shape(out, out.ndim == 3 and out.shape[2] == 3, out_is)
    _check_side(image.shape[0], "the height of image")
    _check_side(image.shape[1], "the width of image")
    # NumPy leaves the stride of an axis of length 1 undefined.
    if image.strides[2] != 1 or (image.shape[1] > 1 and image.strides[1] != 3):
        raise ValueError(f"image must have strides (any, 3, 1), got {image.strides}")
    _check_dense(out, "out")
    _check_writable(out, "out")
    height, width = out.shape[:2]
    if not (0 <= top <= resized_height - height and 0 <= left <= resized_width - width):
        raise ValueError(
            f"the crop of {height}x{width} at top {top}, left {left} is not inside "
            f"the resized frame of {resized_height}x{resized_width}"
        )
    _check_apart(image, out, "image")

    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError(
            "resizing frames needs the compiled extension r2p_edge._frames or OpenCV, and neither "
            'is installed: pip install "r2p_edge[opencv]", or reinstall r2p_edge where there is '
            "a C++ compiler"
        ) from error
    # OpenCV wants rows that follow one another in memory without overlapping.
    source = image if image.strides[0] >= 3 * image.shape[1] else np.ascontiguousarray(image)
    size = (resized_width, resized_height)
    resized = cv2.resize(source, size, interpolation=cv2.INTER_LINEAR)
    crop = resized[top : top + height, left : left + width]
    out[...] = crop[..., ::-1] if swap else crop


def stack(
    frames: NDArray[np.uint8],
    out: NDArray[np.float32],
    scale: Sequence[float] | NDArray[np.float32],
    bias: Sequence[float] | NDArray[np.float32],
) -> None:
    """Turn the frames of a clip into normalised planes.

    `out[c, t, y, x] = frames[t, y, x, c] * scale[c] + bias[c]`, in float32.

    Args:
        frames: uint8 (T, H, W, 3), C-contiguous.
        out: float32 (3, T, H, W), C-contiguous and writable, apart from `frames`.
        scale: 3 finite numbers, taken as float32.
        bias: 3 finite numbers, taken as float32.

    Raises:
        TypeError: an argument is not of the kind or dtype above.
        ValueError: a shape or number is outside the limits above.
    """
    scales = _three_floats(scale, "scale")
    biases = _three_floats(bias, "bias")

    frames_is = "frames must be a uint8 array of shape (count, height, width, 3)"
    _check_dtype(frames, np.uint8, frames_is)
    _check_shape(frames, frames.ndim == 4 and frames.shape[3] == 3, frames_is)
    _check_dense(frames, "frames")
    shape = (3, *frames.shape[:3])
    out_is = f"out must be a float32 array of shape {shape}"
    _check_dtype(out, np.float32, out_is)
    _check_shape(out, out.shape == shape, out_is)
    _check_dense(out, "out")
    _check_writable(out, "out")
    _check_apart(frames, out, "frames")

    for channel in range(3):
        plane = out[channel]
        # Without a dtype, NumPy 1 would compute uint8 * float32 scalar in float16.
        np.multiply(frames[..., channel], scales[channel], out=plane, dtype=np.float32)
        plane += biases[channel]


def _describe(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.dtype} array of shape {value.shape}"


def _check_dtype(array: object, dtype: type[np.generic], expected: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(f"{expected}, got {_describe(array)}")


def _check_shape(array: NDArray[Any], matches: bool, expected: str) -> None:
    if not matches or array.size == 0:
        raise ValueError(f"{expected}, got {_describe(array)}")


def _check_dense(array: NDArray[Any], name: str) -> None:
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} must be C-contiguous and aligned")


def _check_writable(array: NDArray[Any], name: str) -> None:
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writable")


def _check_apart(source: NDArray[Any], out: NDArray[Any], name: str) -> None:
    if np.may_share_memory(source, out):
        raise ValueError(f"out must not share memory with {name}")


def _check_side(side: int, name: str) -> None:
    if not 1 <= side <= _MAX_SIDE:
        raise ValueError(f"{name} must be from 1 to {_MAX_SIDE}, got {side}")


def _integer(value: object, name: str) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None


def _three_floats(values: object, name: str) -> NDArray[np.float32]:
    expected = f"{name} must be 3 finite numbers"
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise TypeError(f"{expected}, got {_describe(values)}") from None
    if array.shape != (3,):
        raise ValueError(f"{expected}, got {_describe(array)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{expected}, got {array[~np.isfinite(array)][0]}")
    return array
