"""The appearance of the procedural motion clips: random textures, outlines and noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_TEXTURE = 64  # side of a patch's texture in texels
_BACKGROUND = 384  # side of the background's texture in texels


class Look(NamedTuple):
    """The appearance of a scene.

    Attributes:
        background, patch: uint8 textures, of the patch with alpha.
        drift: of the background, in scene units per second.
        gain: factor of the brightness.
        noise: standard deviation of the sensor noise, in levels of 255.
        noise_seed: seed of the sensor noise.
    """

    background: npt.NDArray[np.uint8]
    patch: npt.NDArray[np.uint8]
    drift: tuple[float, float]
    gain: float
    noise: float
    noise_seed: int


def draw_look(rng: np.random.Generator, background_contrast: tuple[float, float]) -> Look:
    """Draw the appearance of a scene.

    Args:
        background_contrast: range of the background's contrast.
    """
    contrast = rng.uniform(*background_contrast)
    background = _texture(rng, _BACKGROUND, int(rng.integers(12, 40)), contrast)
    direction, speed = rng.uniform(0, 2 * math.pi), rng.uniform(0.0, 0.08)
    patch = _texture(rng, _TEXTURE, int(rng.integers(3, 7)), rng.uniform(0.7, 1.0))
    return Look(
        background,
        np.dstack([patch, _silhouette(rng)]),
        drift=(speed * math.cos(direction), speed * math.sin(direction)),
        gain=rng.uniform(0.75, 1.15),
        noise=rng.uniform(0.0, 3.0),
        noise_seed=int(rng.integers(2**31)),
    )


def _texture(
    rng: np.random.Generator, size: int, cells: int, contrast: float
) -> npt.NDArray[np.uint8]:
    """Draw smooth colour noise of `cells` x `cells` random colours, (size, size, 3) uint8."""
    import cv2

    grey = rng.uniform(-1, 1, (cells, cells, 1))
    colours = 0.7 * grey + 0.5 * rng.uniform(-1, 1, (cells, cells, 3))
    mean = rng.uniform(70, 185, 3)
    smooth = cv2.resize(
        (mean + 110 * contrast * colours).astype(np.float32),
        (size, size),
        interpolation=cv2.INTER_CUBIC,
    )
    return np.clip(smooth, 0, 255).astype(np.uint8)


def _silhouette(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw a patch's alpha, uint8 (side, side): between a disc and a square, with a soft edge."""
    power = rng.uniform(2, 8)
    aspect = rng.uniform(0.65, 1.0)
    axis = np.linspace(-1.04, 1.04, _TEXTURE)
    radius = (np.abs(axis / aspect)[:, None] ** power + np.abs(axis)[None, :] ** power) ** (
        1 / power
    )
    return (255 * np.clip((1 - radius) / 0.08, 0, 1)).astype(np.uint8)
