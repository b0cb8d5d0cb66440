"""The per-frame form of an artifact: graphs with state beside it, and the rings that hold it.

The state lives in the host. A ring holds the newest slices of one tensor of the network, a slice
for each tick since the last reset; a graph reads slices of some ages and gives the newest one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from r2p_edge.errors import SpecError
from r2p_edge.spec.checks import check_record, check_text, is_number, repeated, shown
from r2p_edge.spec.parts import ClipSpec, InputSpec

PER_FRAME: Literal["per-frame"] = "per-frame"
"""Form whose stages up to k have state, while the later ones see a clip's features."""

SEMI_CAUSAL: Literal["semi-causal"] = "semi-causal"
"""Form of one graph, whose stages above k see no later frame."""

FRAME_INPUT = "frame"
"""Name of the input of `head` and `step` that takes one frame: uint8 (1, H, W, 3)."""

PARTS: Mapping[str, tuple[str, ...]] = {
    PER_FRAME: ("head", "tail", "flush"),
    SEMI_CAUSAL: ("step",),
}
"""Parts of each form: `head` and `step` run at each tick, `tail` for each answer, `flush` before a
`tail` that does not wait."""

_ZEROS = {"float32": (0, 0), "float16": (0, 0), "uint8": (0, 255), "int8": (-128, 127)}
_STAGES = 4
_MAX = 1_000_000  # ticks, or elements of an axis


@dataclass(frozen=True)
class RingSpec:
    """State of one tensor: its slices (N, C, H, W) at the newest ticks.

    Attributes:
        name: of the output that gives the newest slice; `NAME.agoJ` are the inputs that take the
            slice of J ticks before.
        shape: (C, H, W).
        dtype: of the values.
        zero: value that stands for zero.
        scale: of quantised values: value v means (v - zero) * scale.
        gate: first tick after a reset whose slice counts; the ones before are of frames before
            the first, and the host writes `zero` in their place.
        delays: ages J in ticks that each part reads. Those of `tail` are of the clip's positions
            in turn, when the answer waits.

    Raises:
        SpecError: a field is out of range, or contradicts another.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: Literal["float32", "float16", "uint8", "int8"]
    zero: int
    scale: float | None
    gate: int
    delays: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        check_text("per_frame.rings.name", self.name)
        where = f"per_frame.rings {self.name}"
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "delays", {k: tuple(v) for k, v in self.delays.items()})
        if len(self.shape) != 3 or not all(_whole(size, 1) for size in self.shape):
            raise SpecError(
                f"{where}: shape is {shown(self.shape)}; it must be three sizes of 1 or more"
            )
        low, high = _ZEROS[self.dtype]
        if type(self.zero) is not int or not low <= self.zero <= high:
            raise SpecError(
                f"{where}: zero is {shown(self.zero)}; it must be a value of {self.dtype}, and 0 "
                "of floats"
            )
        quantised = self.dtype in ("uint8", "int8")
        if quantised != (self.scale is not None) or (
            self.scale is not None and not (is_number(self.scale) and self.scale > 0)
        ):
            raise SpecError(
                f"{where}: scale is {shown(self.scale)}; it must be a positive number for uint8 "
                "and int8, and null for floats"
            )
        if not _whole(self.gate):
            raise SpecError(f"{where}: gate is {shown(self.gate)}; it must be 0 or more ticks")
        ages = [age for each in self.delays.values() for age in each]
        if not ages or not all(map(_whole, ages)):
            raise SpecError(
                f"{where}: delays are {shown(self.delays)}; they must be ages of 0 or more ticks"
            )
        if 0 in self.delays.get("head", ()) or 0 in self.delays.get("step", ()):
            raise SpecError(f"{where}: delays have 0 for a graph that gives that slice; remove it")

    @property
    def depth(self) -> int:
        """Age in ticks of the oldest slice that a part reads."""
        return max(age for each in self.delays.values() for age in each)

    @property
    def slots(self) -> int:
        """Number of slices to keep so that no graph writes a slice that it, or another, reads."""
        return self.depth + 1

    @property
    def kept(self) -> int:
        """Number of slices to keep from tick to tick; a step writes one beside what it reads."""
        after = [age for part in ("flush", "tail") for age in self.delays.get(part, ())]
        before = [age for part in ("head", "step") for age in self.delays.get(part, ())]
        return max(max(before, default=0), max(after, default=-1) + 1)


@dataclass(frozen=True)
class PartSpec:
    """A file of the form, in the artifact's folder.

    Attributes:
        file: its name.
        sha256: of its bytes.
        weights_sha256: of the second file of an OpenVINO model, named like it with .bin.

    Raises:
        SpecError: the name has a folder, or a sha256 is not one.
    """

    file: str
    sha256: str
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        check_text("per_frame.parts.file", self.file)
        if re.search(r"[/\\]", self.file) or self.file in (".", ".."):
            raise SpecError(
                f"per_frame.parts has the file {shown(self.file)}; it must be a name without "
                "folders"
            )
        for value in (self.sha256, self.weights_sha256):
            if value is not None and not re.fullmatch("[0-9a-f]{64}", value):
                raise SpecError(
                    f"per_frame.parts has the sha256 {shown(value)} of {self.file}; it must be 64 "
                    "hex digits"
                )


@dataclass(frozen=True)
class PerFrameSpec:
    """Per-frame form of an artifact, bound to it by the fingerprints of its parts.

    A tick's newest slice of a tensor is centred some ticks before it: the tensor's delay.

    Attributes:
        form: PER_FRAME or SEMI_CAUSAL.
        stages: k, the last stage that is as it was trained; 0 is the stem.
        delay: ticks from a frame to the feature that is centred on it.
        wait: ticks from a window's last frame to its answer, unless `flush` computes what is
            missing.
        step: ticks from one of the tail's positions to the next.
        positions: number of them; position i of the window that begins at tick w is centred at
            w + i * step.
        feature: name of the ring that `tail` reads; None without one.
        rings: the state of one camera.
        missing: positions that the features have not reached at a window's last frame, which
            `flush` computes.
        parts: the files by name, see `PARTS`; `flush` is there if something is missing.
        agreement: record of how often the form gave the clip model's answer; see
            `r2p_edge.calibration`.

    Raises:
        SpecError: a field is missing or out of range, or contradicts another.
    """

    form: Literal["per-frame", "semi-causal"]
    stages: int
    delay: int
    wait: int
    step: int
    positions: int
    feature: str | None
    rings: tuple[RingSpec, ...]
    missing: tuple[int, ...]
    parts: Mapping[str, PartSpec]
    agreement: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rings", tuple(self.rings))
        object.__setattr__(self, "missing", tuple(self.missing))
        for name, least in {"stages": 0, "delay": 0, "wait": 0, "step": 1, "positions": 1}.items():
            value = getattr(self, name)
            if not _whole(value, least, _STAGES if name == "stages" else _MAX):
                raise SpecError(
                    f"per_frame.{name} is {shown(value)}; it must be a whole number of {least} or "
                    f"more{f', and {_STAGES} at most' if name == 'stages' else ''}"
                )
        names = [ring.name for ring in self.rings]
        if twice := repeated(names):
            raise SpecError(f"per_frame.rings has {twice} more than once; names must differ")
        if (self.form == PER_FRAME) != (self.feature is not None) or (
            self.feature is not None and self.feature not in names
        ):
            raise SpecError(
                f"per_frame.feature is {shown(self.feature)}; it must be the name of a ring in "
                f"the form {PER_FRAME}, and null in the form {SEMI_CAUSAL}"
            )
        wanted = set(PARTS[self.form]) - (set() if self.missing else {"flush"})
        if set(self.parts) != wanted:
            raise SpecError(
                f"per_frame.parts has {', '.join(map(str, self.parts)) or 'nothing'}; it must "
                f"have {', '.join(name for name in PARTS[self.form] if name in wanted)}"
            )
        for ring in self.rings:
            if stray := set(ring.delays) - wanted:
                raise SpecError(
                    f"per_frame.rings {ring.name}: delays are of {', '.join(sorted(stray))}, which "
                    "is no part; name one of parts"
                )
        if self.agreement is not None:
            check_record("per_frame.agreement", self.agreement)

    def ring(self, name: str) -> RingSpec:
        """Return the ring of that name.

        Raises:
            KeyError: there is none.
        """
        for ring in self.rings:
            if ring.name == name:
                return ring
        raise KeyError(name)

    def known(self, frames: int) -> dict[int, int]:
        """Return the features that are there at the last frame of a window of `frames` frames.

        Returns:
            The age in ticks of each position's slice in the ring of features.
        """
        found = {i: frames - 1 - self.delay - i * self.step for i in range(self.positions)}
        return {i: age for i, age in found.items() if i not in self.missing}


class WindowPositions(NamedTuple):
    """Features of a window, and how they are had.

    Attributes:
        positions, wait, missing: see `PerFrameSpec`.
        tail: age in ticks of each position's slice, when the answer waits.
    """

    positions: int
    wait: int
    missing: tuple[int, ...]
    tail: tuple[int, ...]


def window_positions(frames: int, delay: int, step: int) -> WindowPositions:
    """Return the positions of a window's features.

    Args:
        frames: of the window.
        delay, step: see `PerFrameSpec`.
    """
    newest = frames - 1 - delay  # centre of the newest feature at the window's last frame
    centres = range(0, frames, step)
    wait = max(0, centres[-1] - newest)
    return WindowPositions(
        len(centres),
        wait,
        tuple(i for i, centre in enumerate(centres) if centre > newest),
        tuple(newest + wait - centre for centre in centres),
    )


def check_per_frame(form: PerFrameSpec, clip: ClipSpec) -> None:
    """Check that the numbers of a per-frame form are those of its artifact's clips.

    Raises:
        SpecError: they are not.
    """
    if form.form != PER_FRAME:
        return
    assert form.feature is not None
    wanted = window_positions(clip.frames, form.delay, form.step)._asdict()
    found = {
        "positions": form.positions,
        "wait": form.wait,
        "missing": form.missing,
        "tail": form.ring(form.feature).delays.get("tail"),
    }
    for name, value in wanted.items():
        if found[name] != value:
            raise SpecError(
                f"per_frame says {name} {shown(found[name])} for clips of {clip.frames} frames, "
                f"which need {shown(value)}; export the per-frame form again"
            )


def check_per_frame_clip(clip: ClipSpec, taken: InputSpec, graph: str | None) -> None:
    """Check that a model with these clips can have a per-frame form.

    Raises:
        SpecError: it cannot, because of how its clips are sampled, its input or its graph.
    """
    problems = {
        "it takes optical flow, of which each frame has two pictures; leave the per-frame form "
        "out": taken.modality != "rgb",
        "clip.sampling is index, so its frames have no constant rate; export the model with "
        "--sampling time": clip.sampling != "time",
        f"clip.order is {clip.order}; export the model with --order temporal": clip.order
        != "temporal",
        f"clip.offsets is {clip.offsets}, whose frames are at uneven distances; export the model "
        "with a spec of uniform offsets": clip.offsets != "uniform",
        f"the input is {taken.dtype} {taken.layout}, and one frame is added at a time as uint8 "
        "pixels; export the model with --input uint8": (taken.dtype, taken.layout)
        != ("uint8", "NTHWC"),
        f"the graph is {graph or 'of unknown form'}; export the model with --graph conv3d": graph
        != "conv3d",
    }
    for problem, found in problems.items():
        if found:
            raise SpecError(f"the model cannot have a per-frame form: {problem}")


def _whole(value: object, least: int = 0, most: int = _MAX) -> bool:
    return type(value) is int and least <= value <= most
