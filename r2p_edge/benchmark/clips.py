"""The clips that a benchmark asks for: labelled videos, other videos, or generated clips."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import OPENCV, import_library
from r2p_edge.errors import VideoError, VideoNotFoundError, none_of
from r2p_edge.spec import ModelSpec, TwoStreamSpec
from r2p_edge.video.clip_reader import ClipReader

_log = logging.getLogger(__name__)
_CALIBRATED = 50  # most clips to calibrate on
_SEED = 0  # of `Calibration`


@dataclass(frozen=True)
class _Source:
    """A video to take a clip from: its file or folder, the part that counts, and its class."""

    path: Path
    part: tuple[float, float] | None = None
    label: str | None = None


@dataclass
class ClipSource:
    """Clips for the models of one spec; iterating reads or draws them, one after another.

    Attributes:
        spec: the spec.
        count: number of clips, with those that will turn out to be unreadable.
        labelled: whether their classes are known.
        origin: where they come from, for people.
        calibrated: number of clips that int8 is to be calibrated on; 0 where there are none.
        held_out: whether int8 is calibrated on others.
        unlabelled_because: why the classes of videos are not known.
        doubt: why accuracy on these videos is doubtful, in a sentence.
        failed: videos that could not be read, and their errors.
    """

    spec: ModelSpec
    count: int
    labelled: bool
    origin: str
    calibrated: int = 0
    held_out: bool = True
    unlabelled_because: str | None = None
    doubt: str | None = None
    failed: list[tuple[Path, VideoError]] = field(default_factory=list)
    _videos: Sequence[_Source] = ()

    def __iter__(self) -> Iterator[tuple[npt.NDArray[np.uint8], str | None]]:
        """Yield each clip, as `Predictor.pixels` gives it, and its class.

        Raises:
            VideoError: none of the videos can be read.
        """
        if self._videos:
            yield from self._read()
        elif self.labelled:
            from r2p_edge.calibration.clipset import clips_for

            yield from clips_for(self.spec, judged=self.count).judged()
        else:
            from r2p_edge.export.verify.synthetic_clips import verification_clips

            for number in range(self.count):
                if not isinstance(self.spec, TwoStreamSpec):
                    yield verification_clips(self.spec, 1, seed=number)[0], None
                    continue
                clips = ClipReader(self.spec).blank(1)
                for name, each in self.spec.streams.items():
                    clips[name] = verification_clips(each, 1, seed=number)
                yield clips[0], None

    def _read(self) -> Iterator[tuple[npt.NDArray[np.uint8], str | None]]:
        reader = ClipReader(self.spec)
        self.failed.clear()
        for video in self._videos:
            try:
                clip = reader.read(video.path, part=video.part).pixels[0]
            except VideoError as error:
                _log.warning("%s is left out: %s", video.path, error)
                self.failed.append((video.path, error))
                continue
            yield clip, video.label
        if len(self.failed) == self.count:
            raise VideoError(f"{none_of(self.count, 'video')} can be read: {self.failed[0][1]}")


def clips_of(
    spec: ModelSpec, videos: str | Path | None, num_clips: int, *, calibrating: bool
) -> ClipSource:
    """Return the clips to ask the models of a spec.

    Args:
        spec: the spec.
        videos: folder of videos, by choice with a folder for each class; None for generated clips.
        num_clips: most clips.
        calibrating: whether int8 is calibrated on some of the videos, which are then left out.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: there is no video in it.
        MissingDependencyError: OpenCV is missing, with which the bundled model's clips are drawn.
    """
    from r2p_edge.calibration import motion

    if videos is not None:
        return _of_folder(spec, Path(videos), num_clips, calibrating)
    if spec.labels == motion.CLASSES:
        import_library("cv2", f"the clips of the bundled model are drawn with it: {OPENCV}")
        return ClipSource(spec, num_clips, True, "generated clips of its classes", _CALIBRATED)
    return ClipSource(spec, num_clips, False, "generated clips")


def _of_folder(spec: ModelSpec, folder: Path, num_clips: int, calibrating: bool) -> ClipSource:
    from r2p_edge.calibration.learnt import LearntVideos
    from r2p_edge.calibration.manifest import stratified
    from r2p_edge.calibration.ucf101 import list_videos
    from r2p_edge.compare import spread_videos

    origin = f"videos of {folder}"
    try:
        if spec.output.kind == "values":
            raise VideoError("the model gives values and no classes")
        listing = list_videos(folder, spec.labels)
    except VideoNotFoundError:
        raise
    except VideoError as error:
        found = [_Source(path) for path in spread_videos(folder, num_clips)]
        return ClipSource(
            spec, len(found), False, origin, unlabelled_because=str(error), _videos=found
        )
    # As a calibration draws them: it takes the first ones.
    every = stratified(listing.videos, _SEED)
    calibrated = min(_CALIBRATED, max(1, len(every) // 2)) if calibrating else 0
    chosen = (every[calibrated:] or every)[:num_clips]
    return ClipSource(
        spec,
        len(chosen),
        True,
        origin,
        calibrated,
        held_out=len(every) > calibrated,
        doubt=LearntVideos(spec.source).doubt_of(chosen),
        _videos=[_Source(video.path, video.part, video.label) for video in chosen],
    )
