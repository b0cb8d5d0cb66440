"""Over which range a float model's activations vary: what their int8 steps are derived from.

Memory does not grow with the number of clips. In the first pass over them only smallest and largest
values leave ONNX Runtime; the methods that need a distribution count it in a second pass, in bins
over the range that the first one found. (ONNX Runtime's own histogram calibrators keep every
activation of every clip.)
"""

from __future__ import annotations

import itertools
import operator
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, OutputError, VideoError, one_line
from r2p_edge.export.verify.parity import open_session
from r2p_edge.export.verify.synthetic_clips import input_from_clips
from r2p_edge.spec import ModelSpec

try:
    import onnx
    from onnx import helper
except ImportError as error:
    raise missing("onnx", "export") from error

Method = Literal["minmax", "percentile", "entropy"]

Clips = Callable[[], Iterable[npt.NDArray[np.uint8]]]
"""Gives the same clips, uint8 (T, H, W, 3), from the first one on at each call."""

Range = tuple[float, float]

PASSES: Mapping[Method, int] = {"minmax": 1, "percentile": 2, "entropy": 2}
"""How often each method sees every clip."""

PERCENTILE = 99.999
"""Of the values, how many are within the range; half of the others are on either side. What
onnxruntime.quantization has by default."""

BINS = 2048
"""Of a histogram, half of them for negative values; as in onnxruntime.quantization by default."""

LEVELS = 256
"""Into which `entropy` divides magnitudes: what uint8 has."""

_BLOCK = 1 << 16  # values that are put into bins at a time, so that they stay in the cache


class Observed(NamedTuple):
    """What was seen of a model's activations.

    Attributes:
        ranges: (lowest, highest) of each tensor.
        clips: how many were shown.
    """

    ranges: dict[str, Range]
    clips: int


def observe(
    model: onnx.ModelProto,
    spec: ModelSpec,
    tensors: Iterable[str],
    clips: Clips,
    *,
    method: Method = "minmax",
    progress: Callable[[], None] = lambda: None,
) -> Observed:
    """The ranges of some float32 tensors of a model over clips.

    Args:
        model: that ONNX Runtime can run; it stays as it is.
        spec: says how a clip becomes the model's input.
        method: "minmax" takes the extremes; "percentile" leaves out outliers, see `PERCENTILE`;
            "entropy" takes what is within the threshold at which the int8 values tell most of the
            distribution (least Kullback-Leibler divergence; Migacz, GTC 2017).
        progress: is called after each clip of each pass.

    Raises:
        VideoError: there are no clips, or one is not what the spec describes.
        ModelError: ONNX Runtime cannot run the model, or a value in it is NaN or infinite.
    """
    names = list(dict.fromkeys(tensors))
    feed = Feed(spec, clips, progress)
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


def percentile_range(histogram: npt.NDArray[np.int64], bound: float) -> Range:
    """Where all but the outermost values are, see `PERCENTILE`.

    Args:
        histogram: counts of the values in equal bins from -bound to bound.
    """
    edges = np.linspace(-bound, bound, len(histogram) + 1)
    share = np.cumsum(histogram) / histogram.sum()
    outside = (1 - PERCENTILE / 100) / 2
    first, last = np.searchsorted(share, [outside, 1 - outside])
    return float(edges[first]), float(edges[last + 1])


def entropy_range(histogram: npt.NDArray[np.int64], bound: float, levels: int = LEVELS) -> Range:
    """The symmetric range of whose magnitudes `levels` steps tell most.

    What a rectifier cut off is zero in any steps and tells nothing of the range: magnitudes of the
    first bin count as many as those of the second. (onnxruntime.quantization counts them, and
    halves the range of most activations of a ResNet or worse.)

    Args:
        histogram: counts of the values in equal bins from -bound to bound, an even number.
    """
    half = len(histogram) // 2
    magnitudes = (histogram[half:] + histogram[:half][::-1]).astype(np.float64)
    magnitudes[0] = magnitudes[1]
    within = np.cumsum(magnitudes)
    best, least = half, np.inf
    for width in range(levels, half + 1):
        inside = magnitudes[:width]
        clipped = inside.copy()
        clipped[-1] += within[-1] - within[width - 1]
        divergence = _divergence(clipped, _in_steps(inside, clipped > 0, levels))
        if divergence < least:
            best, least = width, divergence
    threshold = bound * best / half
    return -threshold, threshold


def _in_steps(
    counts: npt.NDArray[np.float64], occupied: npt.NDArray[np.bool_], levels: int
) -> npt.NDArray[np.float64]:
    """What is left of a histogram in `levels` steps: the occupied bins of each hold their mean."""
    starts = np.arange(levels) * len(counts) // levels
    means = np.add.reduceat(counts, starts) / np.maximum(
        np.add.reduceat(occupied.astype(np.int64), starts), 1
    )
    return np.where(occupied, np.repeat(means, np.diff([*starts, len(counts)])), 0)


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """Kullback-Leibler divergence of two histograms, in which no bin counts as impossible."""
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def _extremes(
    model: onnx.ModelProto, names: Sequence[str], feed: Feed
) -> tuple[dict[str, Range], int]:
    """Smallest and largest value of each tensor, and the number of clips."""
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
        # ONNX Runtime's reductions pass over most NaNs, but these reach the logits.
        if not finite.all() or not np.isfinite(logits).all():
            where = [name for name, fine in zip(names, finite) if not fine] or ["its output"]
            raise ModelError(
                f"the model computes NaN or infinity ({where[0]}, clip {count}), and no range "
                "holds these; look for broken weights"
            )
        lowest, highest = np.minimum(lowest, low), np.maximum(highest, high)
    if not count:
        raise VideoError("there are no clips to calibrate on; give a folder that has some")
    return dict(zip(names, zip(lowest.tolist(), highest.tolist()))), count


def _histograms(
    model: onnx.ModelProto, extremes: Mapping[str, Range], feed: Feed
) -> dict[str, npt.NDArray[np.int64]]:
    """Counts of each tensor's values in `BINS` equal bins, symmetric around zero."""
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
    """Of a histogram; one of zeros alone has to have a width too."""
    return max(abs(extremes[0]), abs(extremes[1])) or 1.0


def _overlap(one: Range, other: Range) -> Range:
    return max(one[0], other[0]), min(one[1], other[1])


class Feed:
    """The clips, as often as they are wanted."""

    def __init__(
        self, spec: ModelSpec, clips: Clips, progress: Callable[[], None] = lambda: None
    ) -> None:
        self._spec, self._clips, self._progress = spec, clips, progress

    def run(
        self,
        model: onnx.ModelProto,
        outputs: Iterable[str],
        nodes: Iterable[onnx.NodeProto] = (),
        constants: Iterable[onnx.TensorProto] = (),
    ) -> Iterator[tuple[int, list[npt.NDArray[Any]]]]:
        """Of each batch the number of clips, and the model's output and these further ones.

        Args:
            outputs: names of tensors.
            nodes, constants: to add to the model.
        """
        session = _session(model, outputs, nodes, constants)
        (entry,) = session.get_inputs()
        size = entry.shape[0]
        clips = enumerate(self._clips(), 1)
        while batch := [self._pixels(*clip) for clip in itertools.islice(clips, size)]:
            # A copy changes no extreme, and hardly a distribution.
            filled = np.stack(batch + batch[-1:] * (size - len(batch)))
            try:
                values = session.run(None, {entry.name: input_from_clips(filled, self._spec)})
            except Exception as error:  # the library's exceptions have no common public base
                raise ModelError(
                    f"ONNX Runtime cannot run the model ({one_line(error)}); check that its spec "
                    "describes it"
                ) from error
            for _ in batch:
                self._progress()
            yield len(batch), values

    def _pixels(self, number: int, clip: Any) -> npt.NDArray[np.uint8]:
        crop = self._spec.crop
        shape = (self._spec.clip.frames, crop.height, crop.width, 3)
        found = getattr(clip, "dtype", type(clip).__name__), getattr(clip, "shape", "of no shape")
        if found != (np.uint8, shape):
            raise VideoError(
                f"clip {number} is {found[0]} {found[1]}, but the model is shown uint8 {shape}; "
                "read the clips as the model's spec says"
            )
        return np.asarray(clip)


def _session(
    model: onnx.ModelProto,
    outputs: Iterable[str],
    nodes: Iterable[onnx.NodeProto],
    constants: Iterable[onnx.TensorProto],
) -> Any:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.node[:]
    probe.graph.node.extend(_as_early_as_can_be(model.graph.node, nodes))
    probe.graph.initializer.extend(constants)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "probe.onnx")
            onnx.save_model(probe, path)
            del probe
            return open_session(path, probe=True)
    except OSError as error:
        raise OutputError(
            f"a copy of the model cannot be written to the temporary folder ({error}); make room "
            "there, or name another folder in TMPDIR"
        ) from error


def _as_early_as_can_be(
    nodes: Iterable[onnx.NodeProto], added: Iterable[onnx.NodeProto]
) -> list[onnx.NodeProto]:
    """All of them, each added one as soon as there is what it reads, so that this can be freed.

    Both are in an order in which they can run.
    """
    listed = list(enumerate(nodes))
    places = {name: place for place, node in listed for name in node.output}
    for node in added:
        place = max((places[name] for name in node.input if name in places), default=-1)
        places |= dict.fromkeys(node.output, place)
        listed.append((place, node))
    return [node for _, node in sorted(listed, key=operator.itemgetter(0))]
