"""`FlowSpec`: how the optical flow that a model takes in place of colours is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from r2p_edge.errors import SpecError, UsageError
from r2p_edge.spec.checks import is_number, plain, shown
from r2p_edge.spec.parts import ClipSpec, InputSpec

FlowMethod = Literal["farneback", "tvl1", "dis"]
"""Algorithm of OpenCV that computes flow, see `FlowSpec`."""

FLOW_PARAMETERS: Mapping[FlowMethod, Mapping[str, float]] = {
    "farneback": {
        "pyr_scale": 2**0.5 / 2,
        "levels": 5,
        "winsize": 10,
        "iterations": 2,
        "poly_n": 7,
        "poly_sigma": 1.5,
        "flags": 256,
    },
    "tvl1": {
        "tau": 0.25,
        "lambda": 0.15,
        "theta": 0.3,
        "nscales": 5,
        "warps": 5,
        "epsilon": 0.01,
        "innerIterations": 30,
        "outerIterations": 10,
        "scaleStep": 0.8,
        "gamma": 0.0,
        "medianFiltering": 5,
        "useInitialFlow": 0,
    },
    "dis": {"preset": 2},
}
"""Parameters of each method where a spec gives no others, by OpenCV's names.

Farneback's are those of pytorch/pytorch `caffe2/video/optical_flow.cc`, with which the networks of
the R(2+1)D paper were trained (256 is OPTFLOW_FARNEBACK_GAUSSIAN); TV-L1's and DIS's (preset 2 is
medium) are OpenCV's own.
"""

_WHOLE = frozenset(
    ("levels", "winsize", "iterations", "poly_n", "flags", "nscales", "warps", "innerIterations",
     "outerIterations", "medianFiltering", "useInitialFlow", "preset")
)  # fmt: skip


@dataclass(frozen=True)
class FlowSpec:
    """Optical flow from each picture of a clip to the next, (x, y) in pixels.

    A clip of T frames of flow is made of T + 1 pictures, which are `clip.interval` frames of the
    training video apart. They are made grey as OpenCV's COLOR_RGB2GRAY does.

    Attributes:
        method: "farneback", "tvl1" (of OpenCV's contrib build) or "dis".
        picture: picture that the flow is computed on: the "crop" that the model sees, the
            "resized" frame, of which the flow is cropped, or the "full" frame, of which the flow
            is resized and cropped. Displacements are those in that picture; they are not scaled
            when the flow is resized.
        bound: displacements are cut off at plus and minus as many pixels; None for no limit.
        levels: "float32" for displacements as they are, or "uint8" for them rounded to 256 grey
            levels: 0 is -bound and 255 is +bound, as in flow stored as pictures. Those are what is
            resized, and what `scale`, `mean` and `std` of the spec normalise.
        parameters: of the method, by OpenCV's names; those left out are of `FLOW_PARAMETERS`.

    Raises:
        SpecError: a parameter is unknown or no number, the bound is not positive, or levels of 8
            bits have none.
    """

    method: FlowMethod
    picture: Literal["crop", "resized", "full"] = "crop"
    bound: float | None = None
    levels: Literal["float32", "uint8"] = "float32"
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = FLOW_PARAMETERS.get(self.method)
        if known is None:
            raise SpecError(
                f"flow.method is {shown(self.method)}; it must be one of "
                f"{', '.join(FLOW_PARAMETERS)}"
            )
        if unknown := [plain(str(name)) for name in self.parameters if name not in known]:
            raise SpecError(
                f"flow.parameters has {', '.join(unknown)}; those of {self.method} are "
                f"{', '.join(known)}"
            )
        for name, value in self.parameters.items():
            if not is_number(value) or (name in _WHOLE and value != int(value)):
                kind = "a whole number" if name in _WHOLE else "a finite number"
                raise SpecError(f"flow.parameters.{name} is {shown(value)}; it must be {kind}")
        given = {name: float(value) for name, value in {**known, **self.parameters}.items()}
        object.__setattr__(self, "parameters", given)
        if self.bound is not None and not (is_number(self.bound) and self.bound > 0):
            raise SpecError(f"flow.bound is {shown(self.bound)}; it must be a number above 0")
        if self.levels == "uint8" and self.bound is None:
            raise SpecError(
                "flow.levels is uint8 and flow.bound is null; 256 levels have to end somewhere, so "
                "set flow.bound to the pixels that training cut displacements off at"
            )

    @property
    def numbers(self) -> dict[str, float | int]:
        """The parameters, those that OpenCV takes as whole numbers as such."""
        return {
            name: int(value) if name in _WHOLE else value for name, value in self.parameters.items()
        }


FLOW_RECIPES: Mapping[str, FlowSpec] = {
    "r2plus1d": FlowSpec("farneback", "crop"),
    "i3d": FlowSpec("tvl1", "resized", bound=20.0, levels="uint8"),
}
"""Published recipes of flow.

"r2plus1d" is that of pytorch/pytorch `caffe2/video/optical_flow.cc` and `customized_video_io.cc`:
on the crop, in pixels, without a limit. "i3d" is that of google-deepmind/kinetics-i3d: its README
(frames resized first, then grey, then TV-L1, cut off at 20 pixels) and its issue 24 (quantised to
256 levels, before they are scaled to -1..1).
"""


def require_colours(flow: FlowSpec | None, name: str, what: str) -> None:
    """Refuse a model of optical flow where frames of colours are needed.

    Args:
        flow: of the model's spec.
        name: of the model.
        what: subject of the sentence, and what it does with colours.

    Raises:
        UsageError: the model takes flow.
    """
    if flow is not None:
        raise UsageError(
            f"{name} takes optical flow, and {what}; use predict, stream, eval or compare for it"
        )


def check_flow(flow: FlowSpec | None, taken: InputSpec, clip: ClipSpec) -> None:
    """Check that a spec's parts agree on whether, and of what, there is flow.

    Raises:
        SpecError: two of them contradict each other.
    """
    if (flow is not None) != (taken.modality == "flow"):
        has = "is missing" if flow is None else "is given"
        raise SpecError(
            f"input.modality is {taken.modality} but flow {has}; a model of optical flow has both, "
            "and one of colours neither"
        )
    if flow is None:
        return
    problems = {
        "input.color is BGR, and flow has no colours; set it to RGB": taken.color != "RGB",
        "flow.levels is float32 but input.dtype is uint8, which has no fractions of pixels; set "
        "input.dtype to float32": flow.levels == "float32" and taken.dtype == "uint8",
        f"clip.order is {clip.order}, and flow goes from a picture to the one after it; set it to "
        "temporal": clip.order != "temporal",
        f"clip.offsets is {clip.offsets}, and all pairs of flow are as far apart; set it to "
        "uniform": clip.offsets != "uniform",
    }
    for problem, found in problems.items():
        if found:
            raise SpecError(problem)
