"""The pixels that a network takes, as far as what it begins with leaves no doubt."""

from __future__ import annotations

import numpy as np

from r2p_edge.errors import UsageError
from r2p_edge.export.graph.front import Front
from r2p_edge.export.pixels import Pixels, pixels_taken
from r2p_edge.spec import ModelSpec

_CLOSE = 1e-3
_LEAST, _MOST = 0.1, 300.0  # spans of what networks take: 1/2 of a unit, and raw pixels


def settled_pixels(front: Front | None, spec: ModelSpec) -> Pixels | None:
    """Return what a network takes, where its first nodes leave no doubt; else None.

    They do not where they normalise as the spec does, or where there are none.
    """
    if front is None or _takes_plain(spec):
        return "normalized"
    if front.unknown:
        return None
    mean, std = np.array(spec.mean), np.array(spec.std)
    whole = spec.scale * 255  # the span of pixels that the spec normalises: 1, or 255
    for pixels, span in (("unit", 1.0), ("raw", 255.0)):
        factor, offset = whole / span / std, -mean / std
        if np.allclose(front.factor, factor, rtol=_CLOSE) and np.allclose(
            front.offset, offset, rtol=_CLOSE, atol=_CLOSE
        ):
            return "unit" if pixels == "unit" else "raw"
    return None


def with_settled_pixels(
    front: Front | None, spec: ModelSpec, where: str, *, given: bool
) -> tuple[ModelSpec, str | None]:
    """Return the spec with what a network takes of which the caller said nothing, and a warning.

    Args:
        front: what the network begins with.
        spec: the contract so far.
        where: name of the file or module.
        given: whether the caller gave the whole spec, which is not changed.

    Raises:
        UsageError: the caller has to say it; see `require_pixels`.
    """
    settled = settled_pixels(front, spec)
    if settled is None or (given and settled != "normalized"):
        require_pixels(front, spec, where)
    if settled in (None, "normalized"):
        return spec, None
    return pixels_taken(spec, settled), (
        f"{where} begins with the normalisation of the preset, and so gets pixels that are not "
        f"normalised (--pixels {settled})"
    )


def require_pixels(front: Front | None, spec: ModelSpec, where: str) -> None:
    """Raise an error if a network may normalise what the spec has normalised already.

    Args:
        front: what the network begins with.
        spec: the contract.
        where: name of the file.

    Raises:
        UsageError: it computes something of its pixels before its first layer, and the spec
            normalises.
    """
    if front is None or _takes_plain(spec):
        return
    how = "which may be a normalisation" if front.unknown else "as if it normalised by itself"
    raise UsageError(
        f"{where} {_begins(front)}, {how}, and the spec normalises with mean "
        f"{_numbers(spec.mean)} and std {_numbers(spec.std)}; say what the network takes: "
        "--pixels unit (0 to 1), raw (0 to 255) or normalized (both are meant)"
    )


def pixels_doubt(front: Front | None, spec: ModelSpec, pixels: Pixels) -> str | None:
    """Return what speaks against the caller's word about the pixels; None if nothing does.

    Args:
        front: what the network begins with.
        spec: the contract without that word.
        pixels: the word.
    """
    settled = settled_pixels(front, spec)
    if front is None or front.unknown or pixels == settled:
        return None
    if settled is not None and settled != "normalized":
        return (
            f"the network begins with the spec's own normalisation of pixels from 0 to "
            f"{1 if settled == 'unit' else 255} and the contract says --pixels {pixels}: the "
            f"numbers are then normalised wrongly; give --pixels {settled}"
        )
    taken = pixels_taken(spec, pixels)
    span = 255 * taken.scale / np.array(taken.std) * np.abs(front.factor)
    if span.min() >= _LEAST and span.max() <= _MOST:
        return None
    low = (0 - np.array(taken.mean)) / np.array(taken.std) * front.factor + front.offset
    return (
        f"the network {_begins(front)}, and makes numbers from {low.min():.4g} to "
        f"{(low + span).max():.4g} of what --pixels {pixels} gives it; if it was trained on others "
        "its answers will be wrong"
    )


def _begins(front: Front) -> str:
    if front.unknown:
        return f"computes something of its pixels before its first layer ({_listed(front.unknown)})"
    factor = np.where(front.factor == 0, np.nan, front.factor)
    mean, std = 0.0 - front.offset / factor, 1 / factor
    clips = " and clips numbers" if front.clipped else ""
    return f"begins with (x - {_numbers(mean)}) / {_numbers(std)}{clips}"


def _listed(operators: tuple[str, ...]) -> str:
    return ", ".join(operators[:4]) + (", ..." if len(operators) > 4 else "")


def _takes_plain(spec: ModelSpec) -> bool:
    return not any(spec.mean) and set(spec.std) == {1.0}


def _numbers(values: object) -> str:
    numbers = [f"{value:.4g}" for value in np.asarray(values, float)]
    return numbers[0] if len(set(numbers)) == 1 else f"({', '.join(numbers)})"
