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
    place = _Place(resized_height, resized_width, top, left, swap)
    image_is = "image must be a uint8 array of shape (height, width, 3)"
    _check_dtype(image, np.uint8, image_is)
    _check_shape(image, image.ndim == 3 and image.shape[2] == 3, image_is)
    _check_frame_size(image, "image")
    # NumPy leaves the stride of an axis of length 1 undefined.
    if image.strides[2] != 1 or (image.shape[1] > 1 and image.strides[1] != 3):
        raise ValueError(f"image must have strides (any, 3, 1), got {image.strides}")
    place.check_out(out)
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
    size = (place.resized_width, place.resized_height)
    resized = cv2.resize(source, size, interpolation=cv2.INTER_LINEAR)
    crop = resized[place.top : place.top + len(out), place.left : place.left + out.shape[1]]
    out[...] = crop[..., ::-1] if swap else crop


def resize_crop_yuv(
    y: NDArray[np.uint8],
    u: NDArray[np.uint8],
    v: NDArray[np.uint8],
    out: NDArray[np.uint8],
    resized_height: int,
    resized_width: int,
    top: int,
    left: int,
    matrix: Sequence[int],
    swap: bool,
) -> None:
    """`resize_crop` of a frame in YUV 4:2:0, of which only the crop's pixels are converted.

    The planes are resized and then converted: but for rounding, and for colours beyond the range
    of RGB, which are cut off after resizing, that is `resize_crop` of the converted frame. As in
    FFmpeg's conversion, pixels that share a sample of u and v have all of it, and results are one
    level darker in the mean than they would be if rounded to the nearest.

    Args:
        y: uint8 (H, W), rows at any distance, samples contiguous.
        u, v: uint8 ((H + 1) // 2, (W + 1) // 2), samples 1 or 2 bytes apart.
        out, resized_height, resized_width, top, left: as of `resize_crop`.
        matrix: 6 whole numbers, int16: the y of black, and in 1/8192 the factor of y - black and
            those of v - 128 in red, u - 128 and v - 128 in green, and u - 128 in blue.
        swap: write BGR.

    Raises:
        TypeError, ValueError: as of `resize_crop`.
    """
    place = _Place(resized_height, resized_width, top, left, swap)
    black, gain, red_v, green_u, green_v, blue_u = _matrix(matrix)
    _check_plane(y, "y", None, 1)
    _check_frame_size(y, "y")
    half = ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
    _check_plane(u, "u", half, 2)
    _check_plane(v, "v", half, 2)
    place.check_out(out)
    for plane, name in ((y, "y"), (u, "u"), (v, "v")):
        _check_apart(plane, out, name)

    rows = _taps(y.shape[0], place.resized_height, place.top, out.shape[0])
    columns = _taps(y.shape[1], place.resized_width, place.left, out.shape[1])

    def resized(plane: NDArray[np.uint8], shift: int, zero: int) -> NDArray[np.int64]:
        """Samples less `zero`, times 64."""
        (upper, lower), weights = (rows[0] >> shift), rows[1][..., np.newaxis]
        (before, after), across = (columns[0] >> shift), columns[1]
        high, low = (
            plane[at][:, before] * across[0] + plane[at][:, after] * across[1] >> 4
            for at in (upper, lower)
        )
        blended: NDArray[np.int64] = high * weights[0] + low * weights[1] + (1 << 11) >> 12
        return blended - 64 * zero

    grays = resized(y, 0, black) * gain >> 16
    us, vs = resized(u, 1, 128), resized(v, 1, 128)
    colors = (
        grays + (vs * red_v >> 16),
        grays + (us * green_u >> 16) + (vs * green_v >> 16),
        grays + (us * blue_u >> 16),
    )
    for channel, color in enumerate(reversed(colors) if swap else colors):
        out[..., channel] = np.clip(color - 3 >> 3, 0, 255)


def _taps(
    source: int, resized: int, start: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For `count` positions from `start` on: the two source positions and their weights in 1/2048.

    Both int64 (2, count). The arithmetic is OpenCV's, down to the rounding of a position.
    """
    step = 1.0 / (resized / source)
    at = ((np.arange(start, start + count) + 0.5) * step - 0.5).astype(np.float32)
    first = np.floor(at)
    fraction = at - first
    weights = np.rint(np.stack([np.float32(1) - fraction, fraction]) * np.float32(2048))
    positions = np.stack([first, first + 1]).astype(np.int64)
    return np.clip(positions, 0, source - 1), weights.astype(np.int64)


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


class _Place:
    """Where in the resized frame `out` is, checked."""

    def __init__(
        self, resized_height: int, resized_width: int, top: int, left: int, swap: bool
    ) -> None:
        self.resized_height = _integer(resized_height, "resized_height")
        self.resized_width = _integer(resized_width, "resized_width")
        self.top, self.left = _integer(top, "top"), _integer(left, "left")
        if not isinstance(swap, bool):
            raise TypeError(f"swap must be a bool, got {type(swap).__name__}")
        _check_side(self.resized_height, "resized_height")
        _check_side(self.resized_width, "resized_width")

    def check_out(self, out: NDArray[np.uint8]) -> None:
        """Raises TypeError or ValueError where `out` is not a crop of the resized frame."""
        out_is = "out must be a uint8 array of shape (height, width, 3)"
        _check_dtype(out, np.uint8, out_is)
        _check_shape(out, out.ndim == 3 and out.shape[2] == 3, out_is)
        _check_dense(out, "out")
        _check_writable(out, "out")
        height, width = out.shape[:2]
        inside = 0 <= self.top <= self.resized_height - height
        if not (inside and 0 <= self.left <= self.resized_width - width):
            raise ValueError(
                f"the crop of {height}x{width} at top {self.top}, left {self.left} is not inside "
                f"the resized frame of {self.resized_height}x{self.resized_width}"
            )


def _matrix(values: object) -> list[int]:
    expected = "matrix must be 6 integers from -32768 to 32767"
    if not isinstance(values, Sequence) or len(values) != 6:
        raise TypeError(f"{expected}, got {type(values).__name__}")
    numbers = [_integer(value, "each number of matrix") for value in values]
    for number in numbers:
        if not -32768 <= number <= 32767:
            raise ValueError(f"{expected}, got {number}")
    return numbers


def _check_plane(plane: object, name: str, shape: tuple[int, int] | None, widest: int) -> None:
    plane_is = f"{name} must be a uint8 array of shape {shape or '(height, width)'}"
    _check_dtype(plane, np.uint8, plane_is)
    assert isinstance(plane, np.ndarray)
    _check_shape(plane, plane.ndim == 2 and shape in (None, plane.shape), plane_is)
    if plane.shape[1] > 1 and not 1 <= plane.strides[1] <= widest:
        apart = "1 byte" if widest == 1 else "1 or 2 bytes"
        raise ValueError(f"{name} must have its samples {apart} apart, got strides {plane.strides}")


def _check_frame_size(image: NDArray[np.uint8], name: str) -> None:
    _check_side(image.shape[0], f"the height of {name}")
    _check_side(image.shape[1], f"the width of {name}")


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
