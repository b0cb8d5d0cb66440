"""Fixtures of the tests of specs."""

from __future__ import annotations

import pytest

from r2p_edge.spec import ClipSpec, CropSpec, ModelSpec, ResizeSpec


@pytest.fixture
def spec():
    return ModelSpec(
        name="r2plus1d_18-test",
        labels=("jump", "run"),
        clip=ClipSpec(frames=16, interval=2, fps=25.0),
        resize=ResizeSpec(mode="stretch", height=128, width=171),
        crop=CropSpec(height=112, width=112),
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
