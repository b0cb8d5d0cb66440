"""Clips that a model is calibrated on, and others that int8 is compared with fp32 on."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.atomic import atomic_write
from r2p_edge.calibration import motion
from r2p_edge.calibration.blank import showing
from r2p_edge.calibration.learnt import LearntVideos
from r2p_edge.calibration.manifest import Manifest, named_clips, sample_clips, stratified
from r2p_edge.calibration.matching import Video
from r2p_edge.calibration.ucf101 import list_videos, videos_beside
from r2p_edge.errors import UsageError, VideoError
from r2p_edge.spec import ModelSpec
from r2p_edge.video.clip_reader import ClipReader

_log = logging.getLogger(__name__)

Labelled = Iterator[tuple[npt.NDArray[np.uint8], str]]
"""A clip, uint8 (T, H, W, 3), and its class."""


class ClipSet(Protocol):
    """Clips for one model.

    Attributes:
        count: number of clips to calibrate on.
        held_out: whether the clips of `judged` are neither those of `calibration` nor of videos
            that the model was trained on, as far as its contract says.
        judged_count: number of clips to compare on, with those that cannot be read.
        outside: number of these whose videos the list does not name.
        trained_on: number of these whose videos the model was trained on.
        calibrated_on: whether they are those of `calibration`.
    """

    count: int
    held_out: bool
    judged_count: int
    outside: int
    trained_on: int
    calibrated_on: bool

    def calibration(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Return the clips to calibrate on, uint8 (T, H, W, 3), from the first one on."""
        ...

    def judged(self) -> Labelled:
        """Return the clips to compare on; videos that cannot be read are left out."""
        ...

    def record(self) -> dict[str, Any]:
        """Return the record of the clips of `calibration`, for a spec."""
        ...

    def store(self, folder: Path) -> list[Path]:
        """Write the manifest of the clips, if they have one, under a name made of its sha256.

        Returns:
            The files that were written.

        Raises:
            OutputError: the manifest cannot be written.
        """
        ...


def clips_for(
    spec: ModelSpec,
    folder: str | Path | None = None,
    split: str | Path | None = None,
    *,
    num_clips: int = 200,
    judged: int = 48,
    seed: int = 0,
    strict: bool = False,
    force: bool = False,
) -> ClipSet:
    """Return clips of a data set; without one, those drawn for the bundled model.

    Args:
        spec: spec of the model.
        folder, split, strict: see `list_videos`.
        num_clips, seed, force: see `sample_clips`.
        judged: number of clips to compare on.

    Raises:
        UsageError: the model is not the bundled one and has no folder, it gives values and no
            classes, a number is not positive, or the list is one of test videos.
        VideoError: the folder or the list cannot be used.

    Warns:
        CalibrationWarning: a class of the model has no clip.
    """
    if spec.output.kind in ("values", "features"):
        raise UsageError(
            "int8 is judged by the classes that it names, and this model gives "
            f"{spec.output.kind}; leave it in fp32, or export it in fp16"
        )
    for what, number in (("num_clips", num_clips), ("judged", judged)):
        if number < 1:
            raise UsageError(f"{what} is {number}; it must be 1 or more")
    if folder is not None:
        listing = list_videos(folder, spec.labels, split, subset="train", strict=strict)
        manifest = sample_clips(listing, num_clips=num_clips, seed=seed, force=force)
        sampled = {video.name for video in manifest.videos}
        # The model has learnt from a train list, so what it does not name tells more. Then come the
        # clips that a larger sample would take next.
        # Videos that it was trained on tell least, whatever list they are of.
        outside = stratified(videos_beside(folder, spec.labels, listing), seed)
        unused = [v for v in stratified(listing.videos, seed) if v.name not in sampled]
        learnt, others = LearntVideos(spec.source), [*outside, *unused]
        fresh = list(itertools.islice((video for video in others if video not in learnt), judged))
        chosen = fresh or others[:judged]
        known = 0 if fresh else len(chosen)  # else one would be fresh
        beside = len({*outside} & {*chosen})
        return _Sampled(Path(folder), spec, manifest, chosen, judged, beside, known)
    if split is not None:
        raise UsageError("a split was given without the folder of its videos; give --videos too")
    if spec.labels != motion.CLASSES:
        raise UsageError(
            "int8 needs clips to calibrate on; give --videos, a folder with one folder of videos "
            "per class such as UCF101's, and --split, its train list"
        )
    return _Drawn(spec, num_clips, judged)


class _Sampled:
    """Clips of a folder of videos."""

    def __init__(
        self,
        folder: Path,
        spec: ModelSpec,
        manifest: Manifest,
        others: Sequence[Video],
        judged: int,
        outside: int,
        known: int,  # of the others, that the model was trained on
    ) -> None:
        self._folder, self._spec, self._manifest = folder, spec, manifest
        self._unreadable: set[str] = set()
        self._blank: int | None = None
        self._told: set[str] = set()
        self.count = manifest.clips
        self.calibrated_on = not others
        again = [Video(folder / v.name, v.name, v.label, v.part) for v in manifest.videos[:judged]]
        self._judged = others or again
        self.judged_count, self.outside = len(self._judged), outside
        learnt = LearntVideos(spec.source)
        self.trained_on = known if others else sum(video in learnt for video in again)
        self.held_out = not self.calibrated_on and not self.trained_on

    def calibration(self) -> Iterator[npt.NDArray[np.uint8]]:
        failed: list[tuple[str, VideoError]] = []
        clips = named_clips(self._manifest, self._folder, self._spec, failed=failed)
        try:
            self._blank = yield from showing(clips, self.count, warn=self._blank is None)
        finally:  # over all passes, as the latest need not have seen every clip
            for name, error in failed:
                self._tell(name, error)
            self._unreadable.update(name for name, _ in failed)

    def judged(self) -> Labelled:
        reader = ClipReader(self._spec)
        for video in self._judged:
            try:
                clip = reader.read(video.path, part=video.part).pixels[0]
            except VideoError as error:
                self._tell(video.name, error)
                continue
            yield clip, video.label

    def _tell(self, name: str, error: VideoError) -> None:
        """Log a video that is left out, once."""
        if name not in self._told:
            self._told.add(name)
            _log.warning("%s is left out: %s", name, error)

    def record(self) -> dict[str, Any]:
        record = self._manifest.record(unreadable=len(self._unreadable))
        return {**record, "blank": self._blank} if self._blank else record

    def store(self, folder: Path) -> list[Path]:
        path = folder / f"clips-{self._manifest.digest()[:12]}.json"
        atomic_write(path, self._manifest.to_json().encode())
        return [path]


class _Drawn:
    """Clips drawn for the bundled model."""

    held_out, outside, trained_on, calibrated_on = True, 0, 0, False

    def __init__(self, spec: ModelSpec, count: int, judged: int) -> None:
        self._spec, self._reader = spec, ClipReader(spec)
        self.count, self.judged_count = count, judged

    def calibration(self) -> Iterator[npt.NDArray[np.uint8]]:
        return (self._clip(motion.scene("calibration", number)) for number in range(self.count))

    def judged(self) -> Labelled:
        for number in range(self.judged_count):
            scene = motion.scene("test", number)
            yield self._clip(scene), scene.label

    def record(self) -> dict[str, Any]:
        return {"drawn": "motion", "subset": "calibration", "clips": self.count}

    def store(self, folder: Path) -> list[Path]:
        return []  # the scenes are in the package

    def _clip(self, scene: motion.Scene) -> npt.NDArray[np.uint8]:
        clip = self._spec.clip
        # Around the middle, as `predict` takes its centre clip; nothing is drawn before 0.
        start = max(0.0, (motion.DURATION - (clip.frames - 1) * clip.tick) / 2)
        times = start + np.arange(clip.frames) * clip.tick
        frames = np.stack([scene.draw(float(time), height=240, width=320) for time in times])
        pixels: npt.NDArray[np.uint8] = self._reader.read(frames).pixels[0]
        return pixels
