"""From a frame to the model's pixels, and from a clip of pixels to its input tensor."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import VideoError
from r2p_edge.frame import Image, Planes
from r2p_edge.spec import LONGEST_SIDE, CropSpec, ModelSpec, ResizeSpec

if TYPE_CHECKING:
    from r2p_edge.preprocess._frames_py import Resizer

_EXTENSION = "r2p_edge.preprocess._frames"
_RESIZERS = 16  # sizes of frames whose tables a Preprocessor keeps
_log = logging.getLogger(__name__)


def _load_kernel() -> tuple[ModuleType, str | None]:
    """Return the compiled extension, or its twin with the reason."""
    try:
        return importlib.import_module(_EXTENSION), None
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == _EXTENSION
        reason = "is not installed" if absent else f"cannot be imported ({error})"
    from r2p_edge.preprocess import _frames_py

    return _frames_py, reason


kernel, _why_not_compiled = _load_kernel()
"""The compiled extension, or its slower twin in OpenCV and NumPy where it cannot be imported."""

compiled = _why_not_compiled is None
"""True if `kernel` is the compiled extension."""


class Preprocessor:
    """A model's preprocessing, as its spec says it. Safe to share between threads."""

    def __init__(self, spec: ModelSpec) -> None:
        # Not when this module is imported: programs set logging up after their imports.
        if _why_not_compiled is not None:
            _warn_of_twin(_why_not_compiled)
        self._spec = spec
        # mean and std are in the order of the model's channels, as frame() leaves the pixels.
        std = np.array(spec.std, np.float64)
        normalized = spec.input.normalized_in_graph
        channels = spec.channels
        scale = np.ones(channels) if normalized else spec.scale / std
        bias = np.zeros(channels) if normalized else -np.array(spec.mean, np.float64) / std
        self._scale, self._bias = scale.astype(np.float32), bias.astype(np.float32)
        # A cache of a method of self would refer back to self and keep it until the garbage
        # collector finds the two.
        self._resizer = functools.lru_cache(_RESIZERS)(functools.partial(_resizer, spec))

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a preprocessed frame: 3, or 2 of optical flow."""
        return self._spec.crop.height, self._spec.crop.width, self._spec.channels

    @property
    def frame_dtype(self) -> npt.DTypeLike:
        """Dtype of a preprocessed frame: uint8, or float32 for flow in pixels."""
        return np.dtype(self._spec.frame_dtype)

    def geometry(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the resized height and width of a frame, and top and left of the crop in it.

        Args:
            height, width: size of the frame in pixels.

        Raises:
            VideoError: the frame, or the resized frame, has a side longer than 32767 pixels.
        """
        return _geometry(self._spec, height, width)

    def frame(self, image: Image | Planes, out: Image, color: str = "RGB") -> None:
        """Resize and crop a frame and write it into `out`, uint8 `frame_shape`.

        A model of optical flow has other frames: see `FlowPreprocessor`, which needs the pictures.

        Args:
            image: uint8 (H, W, 3), or planes.
            out: uint8 (height, width, 3) of the crop.
            color: channel order of an array, "RGB" or "BGR"; `out` gets the model's.

        Raises:
            VideoError: see `geometry`.
        """
        resizer = self._resizer(*image.shape[:2])
        if isinstance(image, Planes):
            swap = self._spec.input.color != "RGB"
            resizer.resize_yuv(image.y, image.u, image.v, out, image.matrix, swap)
            return
        if image.strides[1:] != (3, 1):
            image = np.ascontiguousarray(image)
        resizer.resize(image, out, color != self._spec.input.color)

    def tensor(self, clip: Image) -> Image | npt.NDArray[np.float32]:
        """Return the model's input of one clip, batch axis 1 included, C-contiguous.

        Args:
            clip: `frame_dtype` (T, *frame_shape), C-contiguous.
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
        if self._spec.flow is None:
            kernel.stack(clip, planes[0], self._scale, self._bias)
        else:  # the kernel knows colours alone
            for channel, (scale, bias) in enumerate(zip(self._scale, self._bias)):
                np.multiply(clip[..., channel], scale, out=planes[0, channel])
                planes[0, channel] += bias
        return (
            planes
            if wanted.layout == "NCTHW"
            else np.ascontiguousarray(planes.transpose(0, 2, 3, 4, 1))
        )


def whole_frames(spec: ModelSpec, height: int, width: int) -> Preprocessor:
    """Return what makes whole frames in RGB, resized to that size, before any crop."""
    whole = spec.replace(
        resize=ResizeSpec("stretch", height, width),
        crop=CropSpec(height, width),
        input=dataclasses.replace(spec.input, color="RGB"),
        clip=spec.clip.of_frames(1),  # a spec limits the bytes of a clip
        per_frame=None,
    )
    return Preprocessor(whole)


def _geometry(spec: ModelSpec, height: int, width: int) -> tuple[int, int, int, int]:
    resize, crop = spec.resize, spec.crop
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


def _resizer(spec: ModelSpec, height: int, width: int) -> Resizer:
    crop = spec.crop
    place = _geometry(spec, height, width)
    resizer: Resizer = kernel.Resizer(height, width, *place, crop.height, crop.width)
    return resizer


@functools.cache  # so that a process logs it once
def _warn_of_twin(reason: str) -> None:
    _log.warning(
        "the compiled extension %s %s; frames are resized by OpenCV and NumPy, several times "
        "slower; reinstall r2p_edge where there is a C++ compiler",
        _EXTENSION,
        reason,
    )
