"""From a frame to the model's pixels, and from a clip of pixels to its input tensor."""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import VideoError
from r2p_edge.frame import Image, Planes
from r2p_edge.spec import LONGEST_SIDE, ModelSpec

try:
    from r2p_edge.preprocess import _frames as _kernel
except ImportError:
    from r2p_edge.preprocess import _frames_py as _kernel  # type: ignore[no-redef]

kernel: ModuleType = _kernel
"""The compiled extension, or its slower twin in OpenCV and NumPy where it could not be built."""

compiled = kernel.__name__.endswith("._frames")
"""Whether `kernel` is the compiled extension."""


class Preprocessor:
    """A model's preprocessing, as its spec says it. Safe to share between threads."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        # mean and std are in the order of the model's channels, as frame() leaves the pixels.
        std = np.array(spec.std, np.float64)
        normalized = spec.input.normalized_in_graph
        scale = np.ones(3) if normalized else spec.scale / std
        bias = np.zeros(3) if normalized else -np.array(spec.mean, np.float64) / std
        self._scale, self._bias = scale.astype(np.float32), bias.astype(np.float32)
        self.geometry = functools.lru_cache(maxsize=16)(self._geometry)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(height, width, 3) of a preprocessed frame."""
        return self._spec.crop.height, self._spec.crop.width, 3

    def _geometry(self, height: int, width: int) -> tuple[int, int, int, int]:
        """For a frame of this size: resized height and width, top and left of the crop."""
        resize, crop = self._spec.resize, self._spec.crop
        if resize.mode == "stretch":
            assert resize.height is not None
            assert resize.width is not None
            resized = resize.height, resize.width
        else:
            assert resize.size is not None
            short, long = sorted((height, width))
            longer = resize.size * long // short
            resized = (resize.size, longer) if height <= width else (longer, resize.size)
        if max(height, width, *resized) > LONGEST_SIDE:
            raise VideoError(
                f"a frame of {height}x{width} pixels would be resized to "
                f"{resized[0]}x{resized[1]}; no side may be longer than {LONGEST_SIDE}, so "
                "crop or scale the video first"
            )
        half = round if crop.rounding == "half_even" else int
        return *resized, half((resized[0] - crop.height) / 2), half((resized[1] - crop.width) / 2)

    def frame(self, image: Image | Planes, out: Image, color: str = "RGB") -> None:
        """Resizes and crops `image`, uint8 (H, W, 3) or planes, into `out`, uint8 `frame_shape`.

        Args:
            color: channel order of an array, "RGB" or "BGR"; `out` gets the model's.
        """
        if isinstance(image, Planes):
            geometry = self.geometry(*image.shape[:2])
            swap = self._spec.input.color != "RGB"
            kernel.resize_crop_yuv(image.y, image.u, image.v, out, *geometry, image.matrix, swap)
            return
        if image.strides[1:] != (3, 1):
            image = np.ascontiguousarray(image)
        geometry = self.geometry(image.shape[0], image.shape[1])
        kernel.resize_crop(image, out, *geometry, color != self._spec.input.color)

    def tensor(self, clip: Image) -> Image | npt.NDArray[np.float32]:
        """The model's input of one clip, batch axis 1 included, C-contiguous.

        Args:
            clip: uint8 (T, *frame_shape), C-contiguous.
        """
        wanted = self._spec.input
        if wanted.dtype == "uint8":
            batch = clip[np.newaxis]
            return (
                batch
                if wanted.layout == "NTHWC"
                else np.ascontiguousarray(batch.transpose(0, 4, 1, 2, 3))
            )
        frames, height, width, channels = clip.shape
        planes = np.empty((1, channels, frames, height, width), np.float32)
        kernel.stack(clip, planes[0], self._scale, self._bias)
        return (
            planes
            if wanted.layout == "NCTHW"
            else np.ascontiguousarray(planes.transpose(0, 2, 3, 4, 1))
        )
