"""The numbers that a network takes for its pixels."""

from __future__ import annotations

from typing import Literal

from r2p_edge.spec import ModelSpec

Pixels = Literal["normalized", "unit", "raw"]
"""Pixels normalised with the spec's mean and std, or from 0 to 1, or from 0 to 255."""


def pixels_taken(spec: ModelSpec, pixels: Pixels | None) -> ModelSpec:
    """Return the spec for a network that takes such numbers; None and "normalized" change nothing.

    The spec's normalisation is then p / 255, or p itself.
    """
    if pixels in (None, "normalized"):
        return spec
    scale = 1 / 255 if pixels == "unit" else 1.0
    return spec.replace(scale=scale, mean=(0.0,) * spec.channels, std=(1.0,) * spec.channels)
