"""From a frame of video to what a model sees of it: colours, optical flow, or both."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.frame import Image, Planes
from r2p_edge.preprocess.flow import FlowPreprocessor, Grey
from r2p_edge.preprocess.preprocessor import Preprocessor, whole_frames
from r2p_edge.spec import ModelSpec, TwoStreamSpec


class MadeFrame(NamedTuple):
    """The parts of one frame of video that a model needs.

    Attributes:
        colours: the frame that a stream of colours sees, uint8 (H, W, 3); None where there is none.
        grey: the picture that flow is computed on; None where there is no flow.
    """

    colours: Image | None
    grey: Grey | None


class FrameMaker:
    """The making of a model's frames from those of a video. Safe to share between threads.

    For two streams a frame is resized once where both want the same of it: the flow of the crop,
    or of the resized frame, is computed on the picture that the colours are cut from.

    Attributes:
        frame_shape: of a frame of a clip: (H, W, 3), (H, W, 2) of flow, and () of two streams.
        frame_dtype: of a frame: uint8 or float32; of two streams a record of "rgb" and "flow".
        pairs: pictures that a clip needs beyond its frames: 1 with flow, else 0.
        has_colours: whether a model sees colours.
    """

    def __init__(self, spec: ModelSpec) -> None:
        first = Preprocessor(spec)
        self.frame_shape: tuple[int, ...] = first.frame_shape
        self.frame_dtype = np.dtype(first.frame_dtype)
        self.pairs = spec.pictures.frames - spec.clip.frames
        self.has_colours = spec.flow is None
        self._colours, self._of_flow = first, spec
        self._shared: Literal["crop", "resized"] | None = None
        if isinstance(spec, TwoStreamSpec):
            self._of_flow, self._shared = spec.of_flow, _shared(spec.rgb, spec.of_flow)
            self._whole = functools.lru_cache(16)(functools.partial(whole_frames, spec.rgb))
            second = Preprocessor(spec.of_flow)
            rgb, flow = ((each.frame_dtype, each.frame_shape) for each in (first, second))
            self.frame_shape = ()
            self.frame_dtype = np.dtype([("rgb", *rgb), ("flow", *flow)], align=True)

    @functools.cached_property
    def flow(self) -> FlowPreprocessor | None:
        """Maker of flow from pictures, None where there is none; made when it is needed first.

        Raises:
            MissingDependencyError, BackendError: see `FlowPreprocessor`.
        """
        return FlowPreprocessor(self._of_flow) if self.pairs else None

    def colours_of(self, frames: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Return the colours of frames, a view of them; None of a model of flow alone."""
        if not self.has_colours:
            return None
        return frames["rgb"] if self.pairs else frames

    def flow_of(self, frames: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Return the flow of frames, a view of them; None of a model of colours alone."""
        if not self.pairs:
            return None
        return frames["flow"] if self.has_colours else frames

    def make(
        self, image: Image | Planes, color: str = "RGB", out: Image | None = None
    ) -> MadeFrame:
        """Return what the model needs of a frame of video.

        Args:
            image: uint8 (H, W, 3), or planes.
            color: channel order of an array, "RGB" or "BGR".
            out: gets the colours; by default a new array.

        Raises:
            VideoError: see `Preprocessor.geometry`.
        """
        flow = self.flow
        if flow is not None and not self.has_colours:
            return MadeFrame(None, flow.picture(image, color))
        if out is None:
            out = np.empty(self._colours.frame_shape, np.uint8)
        if flow is not None and self._shared == "resized":
            height, width, top, left = self._colours.geometry(*image.shape[:2])
            resized = np.empty((height, width, 3), np.uint8)
            self._whole(height, width).frame(image, resized, color)
            out[...] = resized[top : top + out.shape[0], left : left + out.shape[1]]
            return MadeFrame(out, flow.grey(resized))
        self._colours.frame(image, out, color)
        if flow is None:
            return MadeFrame(out, None)
        if self._shared == "crop":
            return MadeFrame(out, flow.grey(out))
        return MadeFrame(out, flow.picture(image, color))


def _shared(rgb: ModelSpec, flow: ModelSpec) -> Literal["crop", "resized"] | None:
    """Return the picture that both streams want of a frame; None where they want different ones."""
    assert flow.flow is not None
    picture = flow.flow.picture
    alike = (rgb.resize, rgb.crop, rgb.input.color) == (flow.resize, flow.crop, flow.input.color)
    return picture if alike and picture != "full" else None
