"""Inception networks of few channels with random weights, under the names of each family."""

from __future__ import annotations

import numpy as np

from r2p_edge.export.checkpoints.families import FAMILIES
from r2p_edge.export.checkpoints.network import network_of

WIDTH, CLASSES = 2, 3


def narrow(name: str, channels: int = 3) -> dict[str, np.ndarray]:
    """Return the parameters of a family's network of few channels, by its own names."""
    family = FAMILIES[name]
    rng = np.random.default_rng(0)
    canonical: dict[str, np.ndarray] = {}
    rows = dict(family.layout.rows)
    for unit, row in rows.items():
        for number in range(len(row.split()) // 2):
            canonical[f"{unit}.conv{number + 1}.weight"] = np.zeros((WIDTH, channels, 1, 1, 1))
    canonical["fc.weight"] = np.zeros((CLASSES, 4 * WIDTH))
    network = network_of(canonical, family)
    natives = {
        f"{unit}.{part}": own
        for unit, row in rows.items()
        for part, own in zip(("conv1", "bn1", "conv2", "bn2"), row.split(), strict=False)
    }
    found = {}
    for key, shape in network.shapes.items():
        module, _, leaf = key.rpartition(".")
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.3
        value = rng.normal(0, scale, shape) + (leaf in ("weight", "running_var") and len(shape) < 2)
        value = np.abs(value) if leaf == "running_var" else value
        own = natives.get(module, "logits.conv3d")
        found[f"{own}.{leaf}"] = value.astype(np.float32)
    return found
