"""Golden pairs: clips, and what the user's own framework answered for them.

Every other check compares this package with itself: weights do not say which epsilon, stride,
normalisation or order of labels they were trained with. A pair comes from outside, and shows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.agreement import TOLERANCE, Agreement, agreement, within_tolerance
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.errors import ModelError, ParityError, VideoError, similar_name
from r2p_edge.export.npz_file import read_arrays
from r2p_edge.export.verify.golden_frames import FramesAgreement, compare_frames
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.preprocess import Preprocessor
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.class_names import class_finder
from r2p_edge.spec.flow import require_colours

_ARRAYS = ("logits", "input", "frames", "label")
_PIXELS = 20.0  # no recipe's normalised numbers are that far from 0; pixels are up to 255


class GoldenPair(NamedTuple):
    """Clips, and the answers of another framework for them.

    Attributes:
        path, sha256: the file.
        logits: float64 (N, classes).
        input: (N, ...), as the network takes it.
        frames: uint8 (N, T, H, W, 3) before any preprocessing; None where there are none.
        names: the class that the framework names for each clip; None where there are none.
    """

    path: Path
    sha256: str
    logits: npt.NDArray[np.float64]
    input: npt.NDArray[Any]
    frames: npt.NDArray[np.uint8] | None
    names: list[str] | None


def read_golden(path: str | Path) -> GoldenPair:
    """Read a golden pair from an .npz file, in which nothing is executed.

    It has `logits`, (classes,) or (N, classes); `input`, one clip or N as the network takes them;
    and, if the recipe is to be proven too, `frames`, uint8 (T, H, W, 3) or (N, T, H, W, 3), and
    `label`, one name or N.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: it is no such file, or its arrays do not go together.
    """
    path = Path(path)
    arrays = read_arrays(
        path, "golden pair", "write it with numpy.savez(path, logits=..., input=...)"
    )
    try:
        return _pair(path, arrays)
    except ModelError as error:
        raise ModelError(f"golden pair {path}: {error}") from error


def _pair(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> GoldenPair:
    unknown = [name for name in arrays if name not in _ARRAYS]
    if unknown or not {"logits", "input"} <= arrays.keys():
        raise ModelError(
            f"it has {', '.join(arrays) or 'no array'}; it must have logits and input, and may "
            "have frames and label"
        )
    logits, clips = arrays["logits"], arrays["input"]
    for name in ("logits", "input"):
        if arrays[name].dtype.kind not in "fiu":
            raise ModelError(f"{name} is {arrays[name].dtype}; it must be real numbers")
    if logits.ndim == 1:
        logits = logits[None]
    if clips.ndim == 4:
        clips = clips[None]
    if logits.ndim != 2 or clips.ndim != 5 or len(logits) != len(clips) or not logits.size:
        raise ModelError(
            f"logits is {arrays['logits'].shape} and input is {arrays['input'].shape}; they must "
            "be (N, classes) and (N, 3, T, H, W), of the same clips"
        )
    frames = arrays.get("frames")
    if frames is not None:
        if frames.ndim == 4:
            frames = frames[None]
        if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[-1] != 3:
            raise ModelError(
                f"frames is {frames.dtype} {arrays['frames'].shape}; it must be uint8 "
                "(T, H, W, 3), as decoded, in RGB"
            )
    names = arrays.get("label")
    if names is not None and names.dtype.kind != "U":
        raise ModelError(f"label is {names.dtype}; it must be the name of the best class, as text")
    listed = None if names is None else [str(name) for name in np.atleast_1d(names)]
    for name, part in (("frames", frames), ("label", listed)):
        if part is not None and len(part) != len(logits):
            raise ModelError(f"{name} has {len(part)} clips and logits {len(logits)}")
    return GoldenPair(path, sha256_of_file(path), logits.astype(np.float64), clips, frames, listed)


def check_golden(pair: GoldenPair, model: Path, spec: ModelSpec) -> dict[str, Any]:
    """Compare a model with a golden pair.

    Args:
        pair: the clips and answers.
        model: an ONNX file that takes the network's own input.
        spec: its contract.

    Returns:
        {"file", "sha256", "clips", "weights": {"max_abs", "max_rel", "cosine", "top1"}}; with
        frames, "preprocessing": {"levels"} and "normalisation": {"levels"}, mean and largest
        differences in levels of 255; with names, "labels": {"outputs": those that they prove}.

    Raises:
        ModelError: the pair is of other clips or classes than the model, or too dark or even to
            prove anything; or the model is int8, which answers otherwise.
        ParityError: the model, the preprocessing or the labels are others than the pair's.
    """
    if spec.precision not in TOLERANCE:
        raise ModelError(
            f"a golden pair proves nothing of an {spec.precision} model, whose answers are near "
            "those of the trained one and not the same; give the model that it was made from"
        )
    tensor = _taken(pair, spec)
    outputs = run_session(open_session(model), tensor)
    if outputs.shape != pair.logits.shape:
        raise ModelError(
            f"{pair.path.name} has logits {pair.logits.shape} and the model answers "
            f"{outputs.shape}; make the pair with the network that is exported"
        )
    found = agreement(pair.logits, outputs)
    if not within_tolerance(found, spec.precision):
        raise ParityError(_other_network(pair, found, spec))
    record: dict[str, Any] = {
        "file": pair.path.name,
        "sha256": pair.sha256,
        "clips": found.clips,
        "weights": {
            "max_abs": float(f"{found.max_abs:.3g}"),
            "max_rel": float(f"{found.max_rel:.3g}"),
            "cosine": round(found.cosine, 6),
            "top1": round(found.top1, 4),
        },
    }
    if pair.frames is not None:
        frames = _compared(pair, pair.frames, tensor, spec)
        record["preprocessing"] = {"levels": round(frames.residual, 2)}
        record["normalisation"] = {"levels": round(frames.shift, 2)}
    if pair.names is not None:
        record["labels"] = {"outputs": _proven_outputs(pair, pair.names, spec)}
    return record


def _taken(pair: GoldenPair, spec: ModelSpec) -> npt.NDArray[Any]:
    """Return the pair's input in the shape and dtype that the model takes."""
    one, stored = spec.input_shape[1:], pair.input
    channels_last = stored.shape[-1] == 3 != stored.shape[1]
    if channels_last != (spec.input.layout == "NTHWC"):
        stored = stored.transpose((0, 4, 1, 2, 3) if channels_last else (0, 2, 3, 4, 1))
    if stored.shape[1:] != one:
        raise ModelError(
            f"{pair.path.name} has input {pair.input.shape} and the model takes clips of {one}; "
            "make the pair with clips of that size, or give --frames and --size"
        )
    taken = np.ascontiguousarray(stored, spec.input.dtype)
    if spec.input.normalized_in_graph and not np.array_equal(taken, stored):
        raise ModelError(
            f"{pair.path.name} has an input of fractions, and the model takes pixels and "
            "normalises them itself; store the pixels that it takes"
        )
    return taken


def _other_network(pair: GoldenPair, found: Agreement, spec: ModelSpec) -> str:
    figure, limit = TOLERANCE[spec.precision]
    hint = (
        "another epsilon, stride, pool or file of weights, or one that was computed in TF32 or "
        "half precision or in training mode: make it on the CPU, in float32, after model.eval()"
    )
    largest = float(np.abs(pair.input).max())
    if not spec.input.normalized_in_graph and largest > _PIXELS:
        hint = f"an input of pixels (up to {largest:.0f}) that nobody had normalised"
    return (
        f"the model does not answer as {pair.path.name} says: over {found.clips} clips the logits "
        f"differ by up to {found.max_abs:.3g}, {found.max_rel:.3g} of the largest (cosine "
        f"{found.cosine:.6f}), where {figure} {limit:g} is allowed; the pair is of a network with "
        f"{hint}"
    )


def _compared(
    pair: GoldenPair,
    frames: npt.NDArray[np.uint8],
    tensor: npt.NDArray[Any],
    spec: ModelSpec,
) -> FramesAgreement:
    """Compare the pair's input with what this package makes of its frames."""
    require_colours(spec.flow, spec.name, "a golden pair's frames prove the recipe of colours")
    if frames.shape[1] != spec.clip.frames:
        raise ModelError(
            f"{pair.path.name} has {frames.shape[1]} frames in a clip and the model takes "
            f"{spec.clip.frames}; store those that the network was given, in its order"
        )
    clips = np.empty((*frames.shape[:2], spec.crop.height, spec.crop.width, 3), np.uint8)
    preprocessor = Preprocessor(spec)
    try:
        for clip, images in zip(clips, frames, strict=True):
            for out, image in zip(clip, images, strict=True):
                preprocessor.frame(image, out)
    except VideoError as error:
        raise ModelError(f"{pair.path.name}: {error}") from error
    theirs = tensor if spec.input.layout == "NTHWC" else tensor.transpose(0, 2, 3, 4, 1)
    if not spec.input.normalized_in_graph:
        theirs = (theirs.astype(np.float64) * spec.std + spec.mean) / spec.scale
    return compare_frames(clips, theirs, spec, pair.path.name)


def _proven_outputs(pair: GoldenPair, names: list[str], spec: ModelSpec) -> list[int]:
    """Return the outputs whose labels are those that the pair names."""
    find, best = class_finder(spec.labels), pair.logits.argmax(axis=1)
    for output, name in zip(best, names, strict=True):
        if (index := find(name)) == output:
            continue
        where = f"is their number {index}, so "
        if index is None:
            where = f"is none of them; {similar_name(name, spec.labels)}"
        raise ParityError(
            f"output {output} is the largest for a clip that {pair.path.name} calls {name!r}, and "
            f"the labels call it {spec.labels[output]!r}; {name!r} {where}give the labels in the "
            "order of the outputs"
        )
    return sorted({int(output) for output in best})
