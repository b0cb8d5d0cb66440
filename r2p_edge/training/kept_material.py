"""Material of a distillation, kept in a folder, so that it is computed once."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.artifact.atomic import atomic_file, atomic_write
from r2p_edge.calibration.causal_material import CausalMaterial


def kept_material(
    folder: Path, settings: Mapping[str, Any], compute: Callable[[Any], CausalMaterial]
) -> CausalMaterial:
    """Return the material of some settings, with its features in a file that is not read whole.

    Args:
        folder: where it is kept.
        settings: all that it depends on, as JSON.
        compute: computes it, and writes the features into the file that it is given; called where
            nothing is kept of these settings.

    Raises:
        OutputError: it cannot be written.
    """
    text = json.dumps(settings, sort_keys=True)
    name = f"material-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    slices, rest = folder / f"{name}.features", folder / f"{name}.npz"
    if not rest.is_file():
        with atomic_file(slices) as draft, draft.open("wb") as file:
            made = compute(file)
        content = io.BytesIO()
        shape = np.array(made.features.shape[1:])
        np.savez(content, ends=made.ends, answers=made.answers, shape=shape)
        atomic_write(rest, content.getvalue())
    with np.load(rest, allow_pickle=False) as found:
        ends, answers = found["ends"], found["answers"]
        of_slice = tuple(map(int, found["shape"]))
    size = slices.stat().st_size // (2 * int(np.prod(of_slice)))
    features: Any = np.memmap(slices, np.float16, "r", shape=(size, *of_slice))
    return CausalMaterial(features, ends, answers, {})


def remove_material(folder: Path) -> None:
    """Remove what is kept in a folder, and the folder if it is empty then."""
    for path in folder.glob("material-*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it may have files of others
        folder.rmdir()
