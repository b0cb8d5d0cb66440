"""Parts of a `ModelSpec`: input, output, clip, resize and crop, each of which checks itself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from r2p_edge.errors import SpecError
from r2p_edge.spec.checks import check_text, check_whole, is_number, shown

OutputKind = Literal["logits", "probabilities", "sigmoid", "values", "features"]
"""Meaning of a model's outputs, see `OutputSpec`."""

LONGEST_SIDE = 32_767
"""Longest side of a frame in pixels; the kernels that resize, like OpenCV, count in 16 bits."""

_MAX_FRAMES = 1_000_000  # of the training video that one clip spans: more than nine hours
_FPS = (1e-3, 1e4)
_MAX_FEATURES = 1_000_000


@dataclass(frozen=True)
class InputSpec:
    """Input tensor of the model.

    Attributes:
        dtype: "uint8" (pixels, 0 to 255) or "float32".
        layout: order of the axes; N batch, T time, C channel, H height, W width.
        normalized_in_graph: the graph itself applies scale, mean and std; always true for uint8.
        modality: "rgb" for three colours, or "flow" for two channels of optical flow, horizontal
            and vertical; see `FlowSpec`.

    Raises:
        SpecError: `name` is blank, or dtype and normalized_in_graph contradict each other.
    """

    name: str = "frames"
    dtype: Literal["uint8", "float32"] = "uint8"
    layout: Literal["NTHWC", "NCTHW"] = "NTHWC"
    normalized_in_graph: bool = True
    modality: Literal["rgb", "flow"] = "rgb"
    color: Literal["RGB", "BGR"] = "RGB"

    def __post_init__(self) -> None:
        check_text("input.name", self.name)
        if self.dtype == "uint8" and not self.normalized_in_graph:
            raise SpecError(
                "input.dtype is uint8 but input.normalized_in_graph is false; pixels are only "
                "normalised by this package into float32, so set one of the two"
            )


@dataclass(frozen=True)
class OutputSpec:
    """Output tensor of the model, (N, classes) float32.

    Attributes:
        kind: "logits" if softmax is still to be applied; "probabilities", of which a clip's sum
            to 1; "sigmoid" for probabilities of classes that do not exclude each other; "values"
            for named numbers that are no classes, as of a regression; or "features" for what a
            network without a classifier ends at, (N, features).
        features: number of features; None for the other kinds, which have a label for each number.

    Raises:
        SpecError: `name` is blank, or kind and features contradict each other.
    """

    name: str = "logits"
    kind: OutputKind = "logits"
    features: int | None = None

    def __post_init__(self) -> None:
        check_text("output.name", self.name)
        if self.kind == "features":
            check_whole("output", self, _MAX_FEATURES, "features")
        elif self.features is not None:
            raise SpecError(
                f"output.features is {shown(self.features)} but output.kind is {self.kind}, whose "
                "numbers are counted by their labels; leave output.features out"
            )


@dataclass(frozen=True)
class ClipSpec:
    """Frames that make a clip.

    Attributes:
        frames: T, the clip's length in frames.
        interval: frames of the training video from one frame of the clip to the next.
        fps: rate of the training videos, in frames per second.
        sampling: "time" picks frames by presentation time, as if the source ran at `fps`;
            "index" counts the source's frames whatever their rate.
        order: "temporal", or "lexicographic": frame numbers sorted as text without leading
            zeros (0, 1, 10, 100, 101, ...), as models trained from badly numbered image files
            saw them.
        offsets: "uniform" takes every `interval`-th frame; "linspace" truncates
            linspace(0, w, w // interval) with w = min(frames * interval, length of the video),
            as mindspore-ai/models research/cv/r2plus1d/src/dataset.py does.

    Raises:
        SpecError: a number is out of range, or order and sampling contradict each other.
    """

    frames: int
    interval: int
    fps: float
    sampling: Literal["time", "index"] = "time"
    order: Literal["temporal", "lexicographic"] = "temporal"
    offsets: Literal["uniform", "linspace"] = "uniform"

    def __post_init__(self) -> None:
        check_whole("clip", self, _MAX_FRAMES, "frames", "interval")
        if self.frames * self.interval > _MAX_FRAMES:
            raise SpecError(
                f"clip.frames is {self.frames} and clip.interval is {self.interval}, a clip of "
                f"{self.frames * self.interval} frames; make it at most {_MAX_FRAMES}"
            )
        low, high = _FPS
        if not is_number(self.fps) or not low <= self.fps <= high:
            raise SpecError(
                f"clip.fps is {shown(self.fps)}; it must be a number from {low:g} to {high:g}"
            )
        if self.order == "lexicographic" and self.sampling == "time":
            raise SpecError(
                "clip.order is lexicographic but clip.sampling is time; text order is an order "
                "of frame numbers, so set clip.sampling to index or clip.order to temporal"
            )

    def of_frames(self, frames: int) -> ClipSpec:
        """Return the same sampling for clips of another length."""
        return dataclasses.replace(self, frames=frames)

    @property
    def tick(self) -> float:
        """Sampling period: seconds from one frame of the clip to the next."""
        return self.interval / self.fps

    @property
    def gap(self) -> float:
        """Half the length of the clip: longest time in seconds between two frames of one scene."""
        return self.frames * self.tick / 2


@dataclass(frozen=True)
class ResizeSpec:
    """Resize of a frame: "stretch" to height x width, or "short_side" to `size` pixels.

    With "short_side" the long side becomes floor(size * long / short), as in torchvision.

    Raises:
        SpecError: a number is out of range, missing, or has no meaning in the mode.
    """

    mode: Literal["stretch", "short_side"]
    height: int | None = None
    width: int | None = None
    size: int | None = None
    interpolation: Literal["bilinear"] = "bilinear"

    def __post_init__(self) -> None:
        wanted = ("height", "width") if self.mode == "stretch" else ("size",)
        check_whole("resize", self, LONGEST_SIDE, *wanted)
        for name in ("height", "width", "size"):
            if name not in wanted and getattr(self, name) is not None:
                raise SpecError(f"resize.{name} has no meaning in mode {self.mode}; remove it")


@dataclass(frozen=True)
class CropSpec:
    """Centre crop; `rounding` decides where an odd margin goes.

    "half_even" is Python's round() (29.5 becomes 30), "floor" cuts (29.5 becomes 29).

    Raises:
        SpecError: a number is out of range.
    """

    height: int
    width: int
    position: Literal["center"] = "center"
    rounding: Literal["half_even", "floor"] = "half_even"

    def __post_init__(self) -> None:
        check_whole("crop", self, LONGEST_SIDE, "height", "width")
