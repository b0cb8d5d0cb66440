"""Synthetic clips for comparing models, and the conversion of clips to a model's input."""

from __future__ import annotations

import numpy as np

from r2p_edge.spec import ModelSpec


def verification_clips(spec: ModelSpec, count: int = 3, seed: int = 0) -> np.ndarray:
    """Draw clips of smooth moving structure with sensor-like noise.

    Waves of a few periods per frame drift at different speeds through each colour, as large
    objects do in videos, over a brightness that differs from clip to clip. Noise alone would
    average out in the first layer and leave the later layers almost idle.

    Args:
        spec: gives T, H and W.
        count: number of clips.
        seed: the same seed gives the same clips.

    Returns:
        uint8 (count, T, H, W, 3). Of optical flow there are two channels, and levels that are
        pixels in float32 go from -8 to 8 of them, or as far as their bound.
    """
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, spec.clip.frames)[:, None, None, None]
    y = np.linspace(0, 1, spec.crop.height)[:, None, None]
    x = np.linspace(0, 1, spec.crop.width)[:, None]
    sizes = count, spec.clip.frames, spec.crop.height, spec.crop.width, spec.channels
    clips = np.empty(sizes, np.uint8)
    for clip in clips:
        image = np.full(clip.shape, rng.uniform(60, 190, spec.channels))
        for periods in (0.7, 2.0, 5.0):
            angle, cycles = rng.uniform(0, 2 * np.pi), rng.uniform(-2, 2)
            along = periods * (np.cos(angle) * x + np.sin(angle) * y) + cycles * t
            phase = rng.uniform(0, 1, spec.channels)
            image += 45 / np.sqrt(periods) * np.sin(2 * np.pi * (along + phase))
        image += rng.normal(0, 6, clip.shape)
        clip[:] = np.clip(np.rint(image), 0, 255)
    if spec.flow is None or spec.flow.levels == "uint8":
        return clips
    bound = spec.flow.bound or np.inf
    return np.clip((clips.astype(np.float32) - 128) / 16, -bound, bound).astype(np.float32)


def normalized(clips: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Normalise clips (N, T, H, W, C) as (p * scale - mean) / std, in float64.

    Returns:
        float32 (N, C, T, H, W).
    """
    pixels = (clips.astype(np.float64) * spec.scale - spec.mean) / spec.std
    return np.ascontiguousarray(pixels.transpose(0, 4, 1, 2, 3), dtype=np.float32)


def input_from_clips(clips: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Convert clips (N, T, H, W, C) to the input tensor of a model with this spec."""
    if not spec.input.normalized_in_graph:
        tensor = normalized(clips, spec)
        return tensor if spec.input.layout == "NCTHW" else tensor.transpose(0, 2, 3, 4, 1).copy()
    pixels = clips if spec.input.layout == "NTHWC" else clips.transpose(0, 4, 1, 2, 3)
    return np.ascontiguousarray(pixels, dtype=spec.input.dtype)
