"""The twin of the compiled `_frames`, in OpenCV and NumPy: same names, results and errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from r2p_edge._optional import OPENCV
from r2p_edge.errors import MissingDependencyError
from r2p_edge.preprocess import _frames_arguments as arguments


class Resizer:
    """A bilinear resize of frames of one size, of which one crop is computed.

    Threads may share one.

    Args:
        height, width: size of the frames in pixels, 1 to 32767, as all sizes here.
        resized_height, resized_width: size of the whole resized frame.
        top, left: first row and column of the crop in the resized frame.
        crop_height, crop_width: size of the crop.

    Raises:
        TypeError: an argument is not a whole number.
        ValueError: a size is out of range, or the crop is not inside the resized frame.
    """

    def __init__(
        self,
        height: int,
        width: int,
        resized_height: int,
        resized_width: int,
        top: int,
        left: int,
        crop_height: int,
        crop_width: int,
    ) -> None:
        self._height = arguments.side(height, "height")
        self._width = arguments.side(width, "width")
        self._resized_height = arguments.side(resized_height, "resized_height")
        self._resized_width = arguments.side(resized_width, "resized_width")
        self._crop_height = arguments.side(crop_height, "crop_height")
        self._crop_width = arguments.side(crop_width, "crop_width")
        self._top, self._left = arguments.integer(top, "top"), arguments.integer(left, "left")
        inside = 0 <= self._top <= self._resized_height - self._crop_height
        if not (inside and 0 <= self._left <= self._resized_width - self._crop_width):
            raise ValueError(
                f"the crop of {self._crop_height}x{self._crop_width} at top {self._top}, left "
                f"{self._left} is not inside the resized frame of "
                f"{self._resized_height}x{self._resized_width}"
            )
        self._rows = _taps(self._height, self._resized_height, self._top, self._crop_height)
        self._columns = _taps(self._width, self._resized_width, self._left, self._crop_width)

    def resize(self, image: NDArray[np.uint8], out: NDArray[np.uint8], swap: bool) -> None:
        """Resize a frame and write the crop into `out`.

        The bytes are those of `cv2.resize(image, (resized_width, resized_height),
        interpolation=cv2.INTER_LINEAR)[top : top + crop_height, left : left + crop_width]`.

        Args:
            image: uint8 (height, width, 3), rows at any distance, pixels contiguous.
            out: uint8 (crop_height, crop_width, 3), C-contiguous, writable, apart from `image`.
            swap: reverse the channels, BGR to RGB or back.

        Raises:
            TypeError: an argument is not of the kind or dtype above.
            ValueError: a shape or stride is another.
            MissingDependencyError: OpenCV is not installed.
        """
        arguments.check_flag(swap, "swap")
        arguments.check_array(image, "image", np.uint8, (self._height, self._width, 3))
        # NumPy leaves the stride of an axis of length 1 undefined.
        if image.strides[2] != 1 or (image.shape[1] > 1 and image.strides[1] != 3):
            raise ValueError(f"image must have strides (any, 3, 1), got {image.strides}")
        self._check_out(out)
        arguments.check_apart(image, out, "image")

        try:
            import cv2
        except ImportError as error:
            raise MissingDependencyError(
                "resizing frames needs the compiled extension r2p_edge.preprocess._frames or "
                f"OpenCV, and neither is installed: {OPENCV}, or reinstall r2p_edge where there is "
                "a C++ compiler"
            ) from error
        # OpenCV wants rows that follow one another in memory without overlapping.
        source = image if image.strides[0] >= 3 * self._width else np.ascontiguousarray(image)
        size = (self._resized_width, self._resized_height)
        resized = cv2.resize(source, size, interpolation=cv2.INTER_LINEAR)
        crop = resized[self._top :, self._left :][: self._crop_height, : self._crop_width]
        out[...] = crop[..., ::-1] if swap else crop

    def resize_yuv(
        self,
        y: NDArray[np.uint8],
        u: NDArray[np.uint8],
        v: NDArray[np.uint8],
        out: NDArray[np.uint8],
        matrix: Sequence[int],
        swap: bool,
    ) -> None:
        """Resize a frame in YUV 4:2:0 and write the crop into `out`, in RGB.

        The planes are resized, and only the pixels of the crop are converted: but for rounding,
        and for colours beyond the range of RGB, which are cut off after resizing, that is
        `resize` of the converted frame. As in FFmpeg's conversion, pixels that share a sample of u
        and v have all of it, and results are one level darker in the mean than they would be if
        rounded to the nearest.

        Args:
            y: uint8 (height, width), rows at any distance, samples contiguous.
            u, v: uint8 ((height + 1) // 2, (width + 1) // 2), samples 1 or 2 bytes apart.
            out: see `resize`.
            matrix: 6 whole numbers, int16: the y of black, and in 1/8192 the factor of y - black
                and those of v - 128 in red, u - 128 and v - 128 in green, and u - 128 in blue.
            swap: write BGR.

        Raises:
            TypeError, ValueError: see `resize`.
        """
        arguments.check_flag(swap, "swap")
        black, gain, red_v, green_u, green_v, blue_u = arguments.six_integers(matrix, "matrix")
        half = ((self._height + 1) // 2, (self._width + 1) // 2)
        arguments.check_plane(y, "y", (self._height, self._width), 1)
        arguments.check_plane(u, "u", half, 2)
        arguments.check_plane(v, "v", half, 2)
        self._check_out(out)
        for plane, name in ((y, "y"), (u, "u"), (v, "v")):
            arguments.check_apart(plane, out, name)

        grays = self._samples(y, 0, black) * gain >> 16
        us, vs = self._samples(u, 1, 128), self._samples(v, 1, 128)
        colors = (
            grays + (vs * red_v >> 16),
            grays + (us * green_u >> 16) + (vs * green_v >> 16),
            grays + (us * blue_u >> 16),
        )
        for channel, color in enumerate(reversed(colors) if swap else colors):
            out[..., channel] = np.clip(color - 3 >> 3, 0, 255)

    def _check_out(self, out: NDArray[np.uint8]) -> None:
        arguments.check_out(out, np.uint8, (self._crop_height, self._crop_width, 3))

    def _samples(self, plane: NDArray[np.uint8], shift: int, zero: int) -> NDArray[np.int64]:
        """Return the crop of a plane, less `zero`, times 64: int64 (crop_height, crop_width)."""
        (upper, lower), down = self._rows[0] >> shift, self._rows[1][..., np.newaxis]
        (before, after), across = self._columns[0] >> shift, self._columns[1]
        high, low = (
            plane[at][:, before] * across[0] + plane[at][:, after] * across[1] >> 4
            for at in (upper, lower)
        )
        blended: NDArray[np.int64] = high * down[0] + low * down[1] + (1 << 11) >> 12
        return blended - 64 * zero


def _taps(
    source: int, resized: int, start: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the two source positions of `count` resized ones from `start` on, and their weights.

    Both are int64 (2, count); weights are in 1/2048. The arithmetic is OpenCV's, down to the
    rounding of a position.
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
    scales = arguments.three_floats(scale, "scale")
    biases = arguments.three_floats(bias, "bias")
    shape_in_words = "(count, height, width, 3)"
    arguments.check_array(frames, "frames", np.uint8, (-1, -1, -1, 3), shape_in_words)
    arguments.check_dense(frames, "frames")
    arguments.check_out(out, np.float32, (3, *frames.shape[:3]))
    arguments.check_apart(frames, out, "frames")

    for channel in range(3):
        plane = out[channel]
        # Without a dtype, NumPy 1 would compute uint8 * float32 scalar in float16.
        np.multiply(frames[..., channel], scales[channel], out=plane, dtype=np.float32)
        plane += biases[channel]
