"""A small network as the package exports it, as a torch module, and frames for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from networks import SMALL, random_parameters, small_network, spec_for, torch_network

pytest.importorskip("onnx")

FRAMES = 16


@pytest.fixture(scope="session")
def spec():
    return spec_for(SMALL["classes"], frames=FRAMES, graph="conv3d")


@pytest.fixture(scope="session")
def model(spec):
    return small_network(spec)


@pytest.fixture(scope="session")
def network():
    pytest.importorskip("torch")
    return torch_network(random_parameters(**SMALL), SMALL["counts"])


@pytest.fixture(scope="session")
def stream(spec):
    """130 frames of noise that moves, uint8 (T, H, W, 3)."""
    rng = np.random.default_rng(3)
    size = spec.crop.height
    noise = rng.integers(0, 256, (130, size, size, 3))
    still = rng.integers(0, 256, (size, size, 3))
    return ((noise + 2 * np.stack([np.roll(still, 2 * t, 1) for t in range(130)])) // 3).astype(
        np.uint8
    )


@pytest.fixture(scope="session")
def pixels(spec, stream):
    """The same frames as the network takes them: (1, 3, T, H, W), normalised."""
    torch = pytest.importorskip("torch")
    values = (stream.astype(np.float64) * spec.scale - spec.mean) / spec.std
    return torch.from_numpy(values.transpose(3, 0, 1, 2)[None].astype(np.float32))


@pytest.fixture(scope="session")
def longer(spec):
    """The contract of the same network for clips of more frames."""
    return lambda frames: spec.replace(clip=dataclasses.replace(spec.clip, frames=frames))
