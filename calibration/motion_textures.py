"""Random textures and outlines of the procedural motion clips."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def texture(
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


def silhouette(rng: np.random.Generator, size: int) -> npt.NDArray[np.uint8]:
    """Draw a patch's alpha, (size, size) uint8: between a disc and a square, with a soft edge."""
    power = rng.uniform(2, 8)
    aspect = rng.uniform(0.65, 1.0)
    axis = np.linspace(-1.04, 1.04, size)
    radius = (np.abs(axis / aspect)[:, None] ** power + np.abs(axis)[None, :] ** power) ** (
        1 / power
    )
    return (255 * np.clip((1 - radius) / 0.08, 0, 1)).astype(np.uint8)
