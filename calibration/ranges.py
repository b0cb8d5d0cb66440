"""Observed ranges of a float model's activations, from which their int8 steps follow.

Memory does not grow with the number of clips. In the first pass over them only smallest and largest
values leave ONNX Runtime; the methods that need a distribution count it in a second pass, in bins
over the range found in the first. (ONNX Runtime's own histogram calibrators keep every activation
of every clip.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import missing
from r2p_edge.calibration.clip_feed import CalibrationClips, ClipFeed
from r2p_edge.calibration.histograms import BINS, Range, entropy_range, percentile_range
from r2p_edge.errors import ModelError, VideoError
from r2p_edge.spec import ModelSpec

try:
    import onnx
    from onnx import helper
except ImportError as error:
    raise missing("onnx") from error

RangeMethod = Literal["minmax", "percentile", "entropy"]

PASSES: Mapping[RangeMethod, int] = {"minmax": 1, "percentile": 2, "entropy": 2}
"""Number of passes over the clips, by method."""

_BLOCK = 1 << 16  # values that are put into bins at a time, so that they stay in the cache


class Observed(NamedTuple):
    """Observations of a model's activations.

    Attributes:
        ranges: (lowest, highest) of each tensor.
        clips: number of clips shown.
    """

    ranges: dict[str, Range]
    clips: int


def observe(
    model: onnx.ModelProto,
    spec: ModelSpec,
    tensors: Iterable[str],
    clips: CalibrationClips,
    *,
    method: RangeMethod = "minmax",
    progress: Callable[[], None] = lambda: None,
) -> Observed:
    """Find the ranges of float32 tensors of a model over clips.

    Args:
        model: one that ONNX Runtime can run; it is left unchanged.
        spec: describes how a clip becomes the model's input.
        tensors: their names.
        clips: the clips to show.
        method: "minmax" takes the extremes, "percentile" leaves out outliers, and "entropy" keeps
            most of the distribution; see `percentile_range` and `entropy_range`.
        progress: called after each clip of each pass.

    Raises:
        VideoError: there are no clips, or one is not what the spec describes.
        ModelError: ONNX Runtime cannot run the model, or a value in it is NaN or infinite.
    """
    names = list(dict.fromkeys(tensors))
    feed = ClipFeed(spec, clips, progress)
    extremes, count = _extremes(model, names, feed)
    if method == "minmax":
        return Observed(extremes, count)
    histograms = _histograms(model, extremes, feed)
    choose = percentile_range if method == "percentile" else entropy_range
    ranges = {
        name: _overlap(choose(histogram, _bound(extremes[name])), extremes[name])
        for name, histogram in histograms.items()
    }
    return Observed(ranges, count)


def _extremes(
    model: onnx.ModelProto, names: Sequence[str], feed: ClipFeed
) -> tuple[dict[str, Range], int]:
    """Return the smallest and largest value of each tensor, and the number of clips."""
    nodes = [
        helper.make_node(operator, [name], [f"{name}/{operator}"], keepdims=0)
        for operator in ("ReduceMin", "ReduceMax")
        for name in names
    ]
    lowest, highest = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    count = 0
    for shown, (logits, *values) in feed.run(model, [node.output[0] for node in nodes], nodes):
        count += shown
        low, high = np.array(values, np.float64).reshape(2, -1)
        finite = np.isfinite(low) & np.isfinite(high)
        # ONNX Runtime's reductions skip most NaNs, but these reach the logits.
        if not finite.all() or not np.isfinite(logits).all():
            where = [name for name, fine in zip(names, finite) if not fine] or ["its output"]
            raise ModelError(
                f"the model computes NaN or infinity ({where[0]}, clip {count}), which no range "
                "can include; look for broken weights"
            )
        lowest, highest = np.minimum(lowest, low), np.maximum(highest, high)
    if not count:
        raise VideoError("there are no clips to calibrate on; give a folder that has some")
    return dict(zip(names, zip(lowest.tolist(), highest.tolist()))), count


def _histograms(
    model: onnx.ModelProto, extremes: Mapping[str, Range], feed: ClipFeed
) -> dict[str, npt.NDArray[np.int64]]:
    """Count each tensor's values in `BINS` equal bins, symmetric around zero."""
    histograms = {name: np.zeros(BINS, np.int64) for name in extremes}
    for _, (_, *values) in feed.run(model, list(extremes)):
        for (name, histogram), value in zip(histograms.items(), values):
            bound = np.float32(_bound(extremes[name]))
            factor = np.float32(BINS / 2) / bound
            flat = value.ravel()
            for start in range(0, len(flat), _BLOCK):
                places = ((flat[start : start + _BLOCK] + bound) * factor).astype(np.intp)
                histogram += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)
    return histograms


def _bound(extremes: Range) -> float:
    """Return the half-width of a histogram; 1.0 if every value is zero."""
    return max(abs(extremes[0]), abs(extremes[1])) or 1.0


def _overlap(one: Range, other: Range) -> Range:
    return max(one[0], other[0]), min(one[1], other[1])
