"""Agreement of a per-frame form with the clip model that it was made of, on streams of frames."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration import motion
from r2p_edge.calibration.tally import wilson_interval
from r2p_edge.calibration.tick_streams import (
    TickStream,
    recordings,
    scenes_with_cuts,
)
from r2p_edge.errors import ParityError, UsageError, VideoError
from r2p_edge.export.targets.base import StepProgress
from r2p_edge.export.verify.per_frame_run import Border, PerFrameRun
from r2p_edge.scores import require_scores
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.per_frame import PER_FRAME, SEMI_CAUSAL
from r2p_edge.video.video_folder import videos_in

ClipAnswer = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""Gives the clip model's answer, (classes,), for a clip (T, H, W, 3)."""


def check_least(least: float) -> None:
    """Check the share of windows that have to agree.

    Raises:
        UsageError: it is no share.
    """
    if not 0 <= least <= 1:
        raise UsageError(f"least agreement is {least}; it must be from 0 to 1")


@dataclass
class AgreementCount:
    """Windows for which a form was asked, and those with the clip model's best class."""

    windows: int = 0
    agree: int = 0

    @property
    def share(self) -> float:
        """Share of the windows that agree."""
        return self.agree / self.windows

    def record(self) -> dict[str, Any]:
        """Return the count with its 95 % interval, as plain JSON types."""
        interval = [round(bound, 4) for bound in wilson_interval(self.agree, self.windows)]
        return {"windows": self.windows, "agree": self.agree, "interval": interval}


def compare_on(
    run: PerFrameRun,
    answer: ClipAnswer,
    frames: int,
    wait: int,
    streams: Iterable[TickStream],
    progress: Callable[[int], None] = lambda _: None,
) -> dict[Border, AgreementCount]:
    """Compare a form's best classes with those of the clip model.

    Args:
        run: the form.
        answer: the clip model.
        frames: of a window.
        wait: ticks after a window's end at which the form knows all of its positions.
        streams: each after a reset.
        progress: called with the number of windows compared.
    """
    found = {border: AgreementCount() for border in run.borders}
    compared = 0
    for stream in streams:
        run.reset()
        recent: deque[npt.NDArray[np.uint8]] = deque(maxlen=frames)
        waiting: dict[int, int] = {}
        for tick, frame in enumerate(stream.frames):
            run.step(frame)
            recent.append(frame)
            if tick in stream.ends:
                wanted = int(answer(np.stack(recent)).argmax())
                waiting[tick + wait] = wanted
                _count(found, run, "flush", wanted)
                compared += 1
                progress(compared)
            if tick in waiting:
                _count(found, run, "wait", waiting.pop(tick))
    return found


_NAMES: Mapping[Border, str] = {"flush": PER_FRAME, "wait": SEMI_CAUSAL}
_ADVICE: Mapping[Border, str] = {
    "flush": "choose fewer --stages, stay with clips",
    "wait": "fit it to your recordings (r2p-edge adapt), distil it (examples/distil.py) and give "
    "the result as --form-weights, choose --form per-frame",
}
"""Advice where a form agrees too rarely, by the first of its borders."""


def _count(
    found: dict[Border, AgreementCount], run: PerFrameRun, border: Border, wanted: int
) -> None:
    if border in found:
        found[border].windows += 1
        found[border].agree += int(run.answer(border).argmax()) == wanted


@dataclass(frozen=True)
class AgreementJudge:
    """Measurement of a form's agreement, and the least that is accepted.

    Attributes:
        folder: of recordings, with or without a folder for each class; None for scenes of the
            bundled generator, for the bundled model alone.
        least: share of the windows that have to agree, with the border computed if the form can.
        windows: most that are compared.

    Raises:
        UsageError: a number is impossible.
    """

    folder: Path | None = None
    least: float = 0.97
    windows: int = 120

    def __post_init__(self) -> None:
        check_least(self.least)
        if self.windows < 1:
            raise UsageError(f"windows is {self.windows}; compare 1 or more")

    def check(self, spec: ModelSpec) -> None:
        """Check that there are streams for a model.

        Raises:
            UsageError: it is not the bundled one, and there is no folder.
            ModelError: it answers with features.
            VideoError: the folder cannot be read, or has no videos.
        """
        require_scores(spec, spec.name)
        if self.folder is None and spec.labels != motion.CLASSES:
            raise UsageError(
                "a per-frame form is compared with the clip model on recordings like those that it "
                "will see; give --videos, a folder of them"
            )
        if self.folder is not None:
            videos_in(self.folder)

    def measure(
        self,
        run: PerFrameRun,
        answer: ClipAnswer,
        spec: ModelSpec,
        wait: int,
        progress: StepProgress | None = None,
    ) -> dict[str, Any]:
        """Return the `agreement` record of a form.

        Raises:
            ParityError: it agrees too rarely.
            UsageError, VideoError: see `check`; or no recording is long enough.
        """
        self.check(spec)
        if self.folder is None:
            streams: Iterable[TickStream] = [
                scenes_with_cuts(spec, "calibration", self.windows, tail=wait + 1)
            ]
            of = "generated scenes back to back, calibration split"
        else:
            videos = videos_in(self.folder)
            random.Random(0).shuffle(videos)  # else they are of the first classes
            streams = recordings(spec, videos, late=wait, most=self.windows)
            of = f"recordings in {self.folder.name}"

        def step(done: int) -> None:
            if progress is not None:
                progress(f"comparing with the clip model, window {done}")

        found = compare_on(run, answer, spec.clip.frames, wait, streams, progress=step)
        first = run.borders[0]  # a form without it answers late, or at once
        counted = found[first]
        if not counted.windows:
            least = (spec.clip.frames + max(1, spec.clip.frames // 2) + wait) * spec.clip.tick
            raise VideoError(
                f"no recording in {self.folder} is long enough to compare a per-frame form with "
                f"the clip model; give some of {least:.1f} seconds or more"
            )
        if counted.share < self.least:
            raise ParityError(
                f"the {_NAMES[first]} form gives the clip model's answer for {counted.share:.1%} "
                f"of {counted.windows} windows ({of}), where {self.least:.1%} is the least; "
                f"{_ADVICE[first]}, or lower --min-agreement"
            )
        return {
            "on": of,
            "least": self.least,
            **{border: count.record() for border, count in found.items()},
        }
