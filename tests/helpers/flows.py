"""Contracts of models that take optical flow, and pictures that move as said."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from r2p_edge.spec import ClipSpec, CropSpec, FlowSpec, InputSpec, ModelSpec, ResizeSpec

PIXELS = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False, modality="flow")
LEVELS = InputSpec(modality="flow")
FARNEBACK = (2**0.5 / 2, 5, 10, 2, 7, 1.5, cv2.OPTFLOW_FARNEBACK_GAUSSIAN)
"""Arguments of caffe2/video/optical_flow.cc, behind the pictures."""


def spec_of_flow(flow: FlowSpec | None = None, **changes: Any) -> ModelSpec:
    """Return the contract of 4 frames of flow of 48x48 pixels, of each frame at 25 fps."""
    flow = flow or FlowSpec("farneback")
    spec = ModelSpec(
        name="flow",
        labels=tuple(f"frame {number}" for number in range(4)),
        clip=ClipSpec(frames=4, interval=1, fps=25.0),
        resize=ResizeSpec(mode="stretch", height=60, width=80),
        crop=CropSpec(height=48, width=48),
        scale=1.0,
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
        input=LEVELS if flow.levels == "uint8" else PIXELS,
        flow=flow,
    )
    return spec.replace(**changes)


def of_frames(spec: ModelSpec, frames: int, **changes: Any) -> ModelSpec:
    """Return a contract of clips of another length."""
    return spec.replace(clip=dataclasses.replace(spec.clip, frames=frames, **changes))


def texture(seed: int = 0, height: int = 60, width: int = 500) -> np.ndarray:
    """Draw smooth spots of all grey levels, uint8 (height, width)."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    spots = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray(cv2.normalize(spots, None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def moving(count: int, right: int = 3, seed: int = 0) -> np.ndarray:
    """Draw frames of 80x60 pixels, uint8 (count, 60, 80, 3), whose content moves to the right."""
    scene = texture(seed)
    starts = [300 - right * number for number in range(count)]
    frames = np.stack([scene[:, start : start + 80] for start in starts])
    return np.repeat(frames[..., None], 3, axis=-1)


def write_frames(path: Path, frames: np.ndarray, rate: int = 25) -> Path:
    """Write frames of RGB, uint8 (n, H, W, 3), into a file without loss but for the colours'."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def cropped_grey(frame: np.ndarray) -> np.ndarray:
    """Return what `spec_of_flow` computes flow on, of a frame of 80x60 pixels in RGB."""
    return cv2.cvtColor(frame[6:54, 16:64].copy(), cv2.COLOR_RGB2GRAY)


def pair_by_pair(frames: np.ndarray) -> np.ndarray:
    """Return the flow from each frame of 80x60 pixels to the next, as one would loop over them."""
    greys = [cropped_grey(frame) for frame in frames]
    pairs = itertools.pairwise(greys)
    return np.stack([cv2.calcOpticalFlowFarneback(*pair, None, *FARNEBACK) for pair in pairs])
