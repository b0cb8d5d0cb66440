"""One look of a model at a video: its frames, its answer, and what each position says for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import BackendError, ModelError, UsageError, VideoError, similar_name
from r2p_edge.features import Features
from r2p_edge.frame import Image, Planes
from r2p_edge.predictor import Predictor
from r2p_edge.preprocess.preprocessor import Preprocessor, whole_frames
from r2p_edge.scores import require_scores, scores_of_outputs
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.flow import require_colours
from r2p_edge.spec.further import CLASS_ACTIVATION
from r2p_edge.spec.two_streams import require_one_model
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.folder_rate import warn_of_unknown_rate
from r2p_edge.video.sampling import ShorterThanDeclaredError, Times
from r2p_edge.video.source import Source, open_source

_MOST_TILES = 1024  # some 40 MB of picture
_CLOSE, _COARSE = 1e-3, 5e-2  # share of the largest output; the latter where floats have 16 bits


@dataclass(frozen=True, eq=False)
class Tile:
    """One frame as the model gets it, with what is cropped away around it.

    Attributes:
        image: uint8 (H, W, 3), RGB, resized; rows from `top` and columns from `left` on are the
            model's pixels.
        top, left: corner of the crop.
        time: seconds from the video's first frame.
    """

    image: Image
    top: int
    left: int
    time: float


@dataclass(frozen=True, eq=False)
class ClassActivation:
    """The share of each position of the features in the output for one class.

    Attributes:
        label: the class.
        values: float32 (clips, T', H', W'), whose mean over a clip is its output for the class.
        outputs: float32 (clips,).
    """

    label: str
    values: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SeenVideo:
    """The clips of a video as a model sees them, and its answer.

    Attributes:
        video: path or address.
        model: what ran, for people.
        clips: T tiles for each clip.
        crop: height and width of the crop.
        coverage: share of the frames that are real.
        top: labels and scores, the best first, as `Prediction.top` gives them.
        kind: meaning of the scores, see `Prediction.kind`.
        activation: None where it was not asked for.
    """

    video: str
    model: str
    clips: list[list[Tile]]
    crop: tuple[int, int]
    coverage: float
    top: list[tuple[str, float]]
    kind: str
    activation: ClassActivation | None = None


def look_at(
    predictor: Predictor,
    video: str | Path,
    *,
    clips: int = 1,
    fps: float | None = None,
    cam: bool = False,
    label: str | None = None,
) -> SeenVideo:
    """Return what a model sees of a video.

    Args:
        predictor: the model.
        video: path or URL of a file, or folder of images.
        clips, fps: see `Predictor.predict`.
        cam: also return the class activation, for which the model must have been exported with
            further outputs, and end in an average pool and one linear layer.
        label: class of the activation; by default the best.

    Raises:
        UsageError: the model has no such class, `label` is given without `cam`, or there are too
            many clips for a picture.
        ModelError: the model has no class activation.
        BackendError: the runtime gives answers alone, or its class activation is not what its
            answer comes from.
        VideoError: the video cannot be read, or changes while it is; see `Predictor.predict`.
    """
    spec = predictor.spec
    require_scores(spec, predictor.artifact.path)
    require_colours(spec.flow, spec.name, "a sheet shows the colours that a model sees")
    require_one_model(spec, "a sheet shows what one model sees")
    _check_label(spec, label, cam=cam)
    if cam:
        _check_activation(predictor)
    if clips * spec.clip.frames > _MOST_TILES:
        raise UsageError(
            f"{clips} clips of {spec.clip.frames} frames were asked for, and a contact sheet has "
            f"room for {_MOST_TILES} frames; ask for fewer clips (clips, --views)"
        )
    warn_of_unknown_rate(video, fps, spec.clip)
    reader = ClipReader(spec)
    shown = reader.read(video, clips=clips, fps=fps)
    times = np.stack([plan.times for plan in shown.plans])
    tiles = _tiles(video, fps, times, reader.in_rgb(shown.pixels), spec)
    features = predictor.features_of(shown.pixels) if cam else None
    if features is None:
        scores = predictor.scores(shown.pixels)
    else:
        path, kind = predictor.artifact.path, spec.output.kind
        scores = scores_of_outputs(features.outputs, kind, path, predictor.runtime)
    mean = scores.mean(axis=0)
    best = np.argsort(-mean, kind="stable")
    wanted = spec.labels[best[0]] if label is None else label
    return SeenVideo(
        video=str(video),
        model=f"{spec.name} {predictor.precision}, {predictor.runtime} on {predictor.device}",
        clips=tiles,
        crop=(spec.crop.height, spec.crop.width),
        coverage=shown.coverage,
        top=[(spec.labels[i], float(mean[i])) for i in best],
        kind=spec.output.kind,
        activation=None if features is None else _activation(features, predictor, wanted),
    )


def _check_label(spec: ModelSpec, label: str | None, *, cam: bool) -> None:
    if label is not None and not cam:
        raise UsageError("a label is that of a class activation; ask for that too (cam, --cam)")
    if label is not None and label not in spec.labels:
        hint = similar_name(label, spec.labels)
        raise UsageError(
            f"{spec.name} has no class {label!r}; {hint}r2p-edge info --json lists its classes"
        )


def _check_activation(predictor: Predictor) -> None:
    record = predictor.spec.feature_outputs
    if record is not None and CLASS_ACTIVATION not in record:
        raise ModelError(
            f"{predictor.artifact.path} has features and no class activation, as its head is more "
            "than one linear layer behind an average pool; leave --cam out"
        )


def _activation(features: Features, predictor: Predictor, label: str) -> ClassActivation:
    """Return the activation of one class, after a comparison of all with the answer."""
    values = features.class_activation
    assert values is not None  # the spec has it
    difference = np.abs(values.mean(axis=(2, 3, 4)) - features.outputs).max()
    coarse = any(each in predictor.precision for each in ("16", "tf32"))
    allowed = (_COARSE if coarse else _CLOSE) * max(float(np.abs(features.outputs).max()), 1.0)
    if not difference <= allowed:
        raise BackendError(
            f"the class activation of {predictor.artifact.path} differs from its answer by "
            f"{difference:.3g} on {predictor.runtime}; export the model again, or choose another "
            "runtime or precision"
        )
    number = predictor.spec.labels.index(label)
    return ClassActivation(label, values[:, number], features.outputs[:, number])


def _tiles(
    video: str | Path, fps: float | None, times: Times, pixels: Image, spec: ModelSpec
) -> list[list[Tile]]:
    """Return whole frames for clips that were read before, whose pixels they must contain."""
    moments, places = np.unique(times, return_inverse=True)
    with contextlib.closing(open_source(video, fps or spec.clip.fps, planes=True)) as source:
        try:
            found = list(_whole_frames(source, moments, spec))
        except ShorterThanDeclaredError:  # now its frames have been counted
            found = list(_whole_frames(source, moments, spec))
    tiles = [found[place] for place in places.ravel()]
    height, width = spec.crop.height, spec.crop.width
    for tile, seen in zip(tiles, pixels.reshape(-1, height, width, 3)):
        part = tile.image[tile.top : tile.top + height, tile.left : tile.left + width]
        if not np.array_equal(part, seen):
            raise VideoError(
                f"{video} gave other frames when it was read again; make the sheet again once "
                "nothing writes to it"
            )
    count = times.shape[1]
    return [tiles[first : first + count] for first in range(0, len(tiles), count)]


def _whole_frames(source: Source, moments: Times, spec: ModelSpec) -> Iterator[Tile]:
    preprocessor = Preprocessor(spec)
    for moment, image in zip(moments, source.read(moments)):
        height, width, top, left = preprocessor.geometry(*image.shape[:2])
        yield Tile(_resized(image, spec, height, width), top, left, float(moment))


def _resized(image: Image | Planes, spec: ModelSpec, height: int, width: int) -> Image:
    """Return a frame in RGB as it is before the crop."""
    out = np.empty((height, width, 3), np.uint8)
    whole_frames(spec, height, width).frame(image, out)
    return out
