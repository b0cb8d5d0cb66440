"""The comparison of preprocessed frames with those that another framework prepared."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import ModelError, ParityError
from r2p_edge.spec import ModelSpec

_LEVELS = 2.0
"""Most levels of 255 that pixels may differ by on average, and that the normalisation may move
black or white. Libraries round a bilinear resize to a level; ImageNet's mean and Kinetics' are 13
levels apart in red, and a crop that is a pixel off is about 5 off in a real picture."""
_CONTRAST = 5.0  # levels; standard deviation of a clip below which nothing is seen


class FramesAgreement(NamedTuple):
    """Differences between two preparations of the same frames, in levels of 255.

    Attributes:
        residual: mean difference of a pixel, once the normalisations are made equal.
        shift: how far the other normalisation moves black or white, whichever is more.
    """

    residual: float
    shift: float


def compare_frames(
    ours: npt.NDArray[np.uint8], theirs: npt.NDArray[Any], spec: ModelSpec, name: str
) -> FramesAgreement:
    """Compare pixels as this package prepares them with an input brought back to levels.

    Both are (N, T, H, W, 3). A line fitted to each channel tells a wrong normalisation, which
    moves all levels alike, from a wrong resize, crop or order, which no line explains.

    Args:
        ours: pixels.
        theirs: the input of the other framework, with the spec's normalisation taken back.
        spec: contract that the pixels were prepared by.
        name: of the pair, for errors.

    Raises:
        ModelError: the frames have too little contrast.
        ParityError: they were resized, cropped, ordered or normalised otherwise.
    """
    pixels = ours.reshape(-1, 3).astype(np.float64)
    levels = np.asarray(theirs, np.float64).reshape(-1, 3)
    if pixels.std(axis=0).min() < _CONTRAST:
        raise ModelError(
            f"the frames of {name} show almost nothing (a standard deviation of "
            f"{pixels.std(axis=0).min():.1f} levels), which proves no recipe; take a clip of a "
            "real video"
        )
    slopes, offsets, residual = _fitted(pixels, levels)
    if residual > _LEVELS:
        swapped = _fitted(pixels[:, ::-1], levels)[2]
        why = "resize, crop or order of frames is another"
        if swapped <= _LEVELS:
            other = "BGR" if spec.input.color == "RGB" else "RGB"
            why = f"its channels are in the order {other} (input.color)"
        raise ParityError(
            f"the input of {name} is not what the recipe makes of its frames: pixels differ by "
            f"{residual:.1f} levels of 255 on average, where {_LEVELS:g} are allowed, so {why}"
        )
    shift = float(np.abs([offsets, slopes * 255 + offsets - 255]).max())
    if shift > _LEVELS:
        raise ParityError(
            f"the input of {name} was normalised otherwise: black or white is {shift:.1f} levels "
            f"of 255 off, where {_LEVELS:g} are allowed; it fits {_recipe(slopes, offsets, spec)}"
        )
    return FramesAgreement(residual, shift)


def _fitted(
    pixels: npt.NDArray[np.float64], levels: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Return slope and offset of each channel's line, and the mean difference from the lines."""
    centred = pixels - pixels.mean(axis=0)
    slopes = (centred * levels).sum(axis=0) / (centred**2).sum(axis=0)
    offsets = levels.mean(axis=0) - slopes * pixels.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a channel that follows nothing
        differences = np.abs(levels - (slopes * pixels + offsets)) / np.abs(slopes)
    return slopes, offsets, float(np.nan_to_num(differences, nan=np.inf).mean())


def _recipe(
    slopes: npt.NDArray[np.float64], offsets: npt.NDArray[np.float64], spec: ModelSpec
) -> str:
    """Return the mean and std that explain the other normalisation, as text."""
    # (slope * p + offset) * scale - mean, over std, written as (p * scale - other) / std_of_it.
    std = np.array(spec.std) / slopes
    mean = (np.array(spec.mean) - offsets * spec.scale) / slopes
    numbers = [", ".join(f"{value:.3g}" for value in values) for values in (mean, std)]
    return f"mean ({numbers[0]}) and std ({numbers[1]}) with a scale of {spec.scale:.4g}"
