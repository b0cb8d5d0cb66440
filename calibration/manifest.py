"""The record of the clips that a model is calibrated on, from which they can be read again."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.calibration.catalogue import video_key
from r2p_edge.calibration.lists.entries import Part
from r2p_edge.calibration.matching import Video
from r2p_edge.calibration.ucf101 import Listing, check_unreadable
from r2p_edge.errors import (
    CalibrationWarning,
    UsageError,
    VideoError,
    VideoNotFoundError,
    none_of,
)
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.class_names import fold
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.flow_names import pictures_of

MANIFEST_FORMAT = 1
"""Version of the manifest's JSON."""

_log = logging.getLogger(__name__)


def _check_types(record: Any, kinds: type | tuple[type, ...], *names: str) -> None:
    """Raise VideoError where a field is of another type, such as JSON nested beyond all writing."""
    for name in names:
        if not isinstance(getattr(record, name), kinds):
            raise VideoError(f"{name} is a {type(getattr(record, name)).__name__}")


@dataclass(frozen=True)
class SampledVideo:
    """A video, and the number of clips used of it.

    Attributes:
        name: of the file or folder of frames, relative to the data set's, with forward slashes.
        label: its class in the model's spelling.
        clips: their number, as in `Predictor.predict(clips=...)`. A number of clips means the
            same frames on every machine, and for models of any clip length; times in seconds
            would not.
        sha256: of the file; of a folder, of its images' names and sha256.
        part: seconds of the file that are of this class; None for all of it.
    """

    name: str
    label: str
    clips: int
    sha256: str
    part: Part | None = None

    def __post_init__(self) -> None:
        _check_types(self, str, "name", "label", "sha256")
        if self.part is not None:  # JSON has no infinity
            start, end = self.part
            object.__setattr__(self, "part", (start, math.inf if end is None else end))
        if not isinstance(self.clips, int) or self.clips < 1:
            raise VideoError(f"clips of {self.name} is {self.clips!r}; it must be 1 or more")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise VideoError(f"sha256 of {self.name} is {self.sha256!r}; it must be 64 hex digits")


@dataclass(frozen=True)
class Manifest:
    """The clips, and the videos they were chosen from; see `Listing` for the fields not named here.

    Attributes:
        videos: in the order in which they were drawn, so that the first ones are a sample too.
        seed: of the sample.
        missing, foreign: numbers of videos.
    """

    videos: tuple[SampledVideo, ...]
    seed: int
    classes: int
    missing: int
    foreign: int
    subset: str
    split: str | None
    split_sha256: str | None

    def __post_init__(self) -> None:
        _check_types(self, int, "seed", "classes", "missing", "foreign")
        _check_types(self, str, "subset")
        _check_types(self, (str, type(None)), "split", "split_sha256")

    @property
    def clips(self) -> int:
        """Number of clips."""
        return sum(video.clips for video in self.videos)

    @property
    def classes_covered(self) -> int:
        """Number of the model's classes that the clips show."""
        return len({video.label for video in self.videos})

    def to_json(self) -> str:
        """Return one JSON object in ASCII, always the same for the same manifest."""
        fields = {**asdict(self), "videos": [_as_json(video) for video in self.videos]}
        return json.dumps({"format": MANIFEST_FORMAT, **fields}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the manifest") -> Manifest:
        """Parse the text that `to_json` wrote; `where` names it in errors.

        Raises:
            VideoError: the text is not a manifest, or of another version.
        """
        try:
            data = json.loads(text)
            if data.pop("format") != MANIFEST_FORMAT:
                raise VideoError(f"this version of r2p_edge reads format {MANIFEST_FORMAT}")
            videos = tuple(SampledVideo(**video) for video in data.pop("videos"))
            return cls(videos=videos, **data)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise VideoError(
                f"{where} is not a manifest of calibration clips ({error!r:.200}); sample them "
                "again"
            ) from error

    def digest(self) -> str:
        """Return the sha256 of `to_json`, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def record(self, unreadable: int = 0) -> dict[str, Any]:
        """Return the record of the clips for a spec (`ModelSpec.calibration`), of plain JSON types.

        Args:
            unreadable: number of videos that `read_clips` had to leave out.
        """
        fields = asdict(self)
        del fields["videos"]
        return {
            **fields,
            "videos": len(self.videos),
            "clips": self.clips,
            "classes_covered": self.classes_covered,
            "unreadable": unreadable,
            "manifest_sha256": self.digest(),
        }


def sample_clips(
    listing: Listing, *, num_clips: int, seed: int = 0, force: bool = False
) -> Manifest:
    """Draw a sample of clips in which the classes take turns.

    Each video gives its centre clip; if there are fewer videos than clips, videos give several,
    spread uniformly. The sample depends on the seed and on the videos' names, not on their
    containers, the machine or the version of a random number generator.

    Args:
        listing: the videos to draw from.
        num_clips: number of clips in all.
        seed: another seed draws another sample.
        force: allow test videos.

    Raises:
        UsageError: `num_clips` is not positive, or the videos are test videos, on which accuracy
            would no longer mean anything.
        VideoError: no file can be read; single ones that cannot are left out and logged.

    Warns:
        CalibrationWarning: a class of the model has no clip.
    """
    if num_clips < 1:
        raise UsageError(f"num_clips is {num_clips}; it must be 1 or more")
    if listing.subset == "test" and not force:
        raise UsageError(
            f"{listing.split} is a test list (its name says so, or its lines have no class ids); "
            "a model calibrated on it cannot be evaluated on it, so give the train list"
        )
    drawn = _drawn(stratified(listing.videos, seed), num_clips)
    each, more = divmod(num_clips, len(drawn))
    manifest = Manifest(
        videos=tuple(
            SampledVideo(video.name, video.label, each + (number < more), digest, video.part)
            for number, (video, digest) in enumerate(drawn)
        ),
        seed=seed,
        classes=listing.classes,
        missing=len(listing.missing),
        foreign=len(listing.foreign),
        subset=listing.subset,
        split=listing.split,
        split_sha256=listing.split_sha256,
    )
    if manifest.classes_covered < manifest.classes:
        warnings.warn(
            f"the {num_clips} calibration clips show {manifest.classes_covered} of the model's "
            f"{manifest.classes} classes; int8 may clip values of the others, so use more clips or "
            "a complete folder",
            CalibrationWarning,
            stacklevel=2,
        )
    return manifest


def _drawn(order: Sequence[Video], most: int) -> list[tuple[Video, str]]:
    """Return the first videos that can be read, at most so many, with their sha256."""
    drawn: list[tuple[Video, str]] = []
    for video in order:
        if len(drawn) == most:
            break
        try:
            drawn.append((video, sha256_of_video(video.path)))
        except VideoError as error:
            _log.warning("%s; it is left out", error)
    if not drawn:
        raise VideoError(f"{none_of(len(order), 'video')} can be read; check their permissions")
    return drawn


def read_clips(
    manifest: Manifest,
    folder: str | Path,
    spec: ModelSpec,
    *,
    failed: list[tuple[str, VideoError]] | None = None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the clips as the model sees them, uint8 (T, H, W, 3), before any normalisation.

    There are `manifest.clips` of them, less those of videos that cannot be read. Only the clips
    of one video are in memory at a time.

    Args:
        manifest: names the clips.
        folder: of the data set.
        spec: of the model.
        failed: receives the name of each video that cannot be read, and its error.

    Raises:
        VideoNotFoundError: a file is missing.
        VideoError: a file is not the one that was sampled, or more than 5 % cannot be read.
    """
    for _, clip in named_clips(manifest, folder, spec, failed=failed):
        yield clip


def named_clips(
    manifest: Manifest,
    folder: str | Path,
    spec: ModelSpec,
    *,
    failed: list[tuple[str, VideoError]] | None = None,
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Yield the name of the video and the clip, for each clip of `read_clips`.

    Args:
        manifest, folder, spec, failed: see `read_clips`, and so are the errors.
    """
    reader = ClipReader(spec)
    failed = [] if failed is None else failed
    for video in manifest.videos:
        path = Path(folder) / video.name
        if sha256_of_video(path) != video.sha256:
            raise VideoError(
                f"{path} is not the file that was sampled, as its sha256 differs; use the original "
                "or sample again"
            )
        try:
            clips = reader.read(path, clips=video.clips, part=video.part).pixels
        except VideoError as error:
            failed.append((video.name, error))
            check_unreadable(failed, len(manifest.videos))
            continue
        yield from ((video.name, clip) for clip in clips)


def stratified(videos: Sequence[Video], seed: int) -> list[Video]:
    """Shuffle all videos by the seed, with the classes taking turns while they have videos."""

    def shuffled(key: str) -> bytes:
        return hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogateescape")).digest()

    by_class: dict[str, list[Video]] = {}

    def key(video: Video) -> str:
        return video_key(video.name) + ("" if video.part is None else f"@{video.part}")

    for video in sorted(videos, key=lambda video: shuffled(key(video))):
        by_class.setdefault(video.label, []).append(video)
    classes = sorted(by_class, key=lambda label: shuffled(fold(label)))
    turns = itertools.zip_longest(*(by_class[label] for label in classes))
    return [video for turn in turns for video in turn if video is not None]


def _as_json(video: SampledVideo) -> dict[str, Any]:
    """Return the fields of a video, without a part where it has none."""
    fields = asdict(video)
    part = fields.pop("part")
    if part is None:
        return fields
    return {**fields, "part": [part[0], part[1] if math.isfinite(part[1]) else None]}


def sha256_of_video(path: Path) -> str:
    """Return the sha256 of a file; of a folder, that of its pictures' names and sha256.

    Raises:
        VideoNotFoundError: there is no such file or folder.
        VideoError: it cannot be read.
    """
    try:
        if not path.is_dir():
            return sha256_of_file(path)
        lines = [
            f"{sha256_of_file(file)}  {file.relative_to(path)}\n"
            for file in sorted(pictures_of(path))
        ]
    except FileNotFoundError as error:
        raise VideoNotFoundError(f"there is no video {path}; check the folder") from error
    except OSError as error:
        raise VideoError(f"{path} cannot be read ({error.strerror}); check it") from error
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
