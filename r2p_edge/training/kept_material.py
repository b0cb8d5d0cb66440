"""Material of a distillation, kept in a folder, so that it is computed once."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.artifact.atomic import atomic_file, atomic_write
from r2p_edge.calibration.causal_material import CausalMaterial

_AXES = 4  # of the features: (ticks, C, H, W)


def kept_material(
    folder: Path, settings: Mapping[str, Any], compute: Callable[[Any], CausalMaterial]
) -> CausalMaterial:
    """Return the material of some settings, with its features in a file that is not read whole.

    Args:
        folder: where it is kept.
        settings: all that it depends on, as JSON.
        compute: computes it, and writes the features into the file that it is given; called where
            nothing whole is kept of these settings.

    Raises:
        OutputError: it cannot be written.
    """
    text = json.dumps(settings, sort_keys=True)
    name = f"material-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    slices, rest = folder / f"{name}.features", folder / f"{name}.npz"
    if (kept := _read(slices, rest)) is not None:
        return kept
    rest.unlink(missing_ok=True)  # of features that are gone
    with atomic_file(slices) as draft, draft.open("wb") as file:
        made = compute(file)
    of_slice = made.features.shape[1:]
    ticks = slices.stat().st_size // (2 * math.prod(of_slice))
    content = io.BytesIO()
    np.savez(content, ends=made.ends, answers=made.answers, shape=np.array([ticks, *of_slice]))
    atomic_write(rest, content.getvalue())
    return CausalMaterial(_mapped(slices, (ticks, *of_slice)), made.ends, made.answers, {})


def _read(slices: Path, rest: Path) -> CausalMaterial | None:
    """Return the material of two files; None if one is missing, damaged or not the other's."""
    try:
        # Opened here, as NumPy leaves a file open that is no archive.
        with rest.open("rb") as content, np.load(content, allow_pickle=False) as found:
            ends, answers = found["ends"], found["answers"]
            shape = tuple(map(int, found["shape"]))
        if len(shape) != _AXES or slices.stat().st_size != 2 * math.prod(shape):
            return None
        return CausalMaterial(_mapped(slices, shape), ends, answers, {})
    except Exception:  # of damaged files NumPy and zipfile raise whatever they stumble over
        return None


def _mapped(slices: Path, shape: tuple[int, ...]) -> Any:
    return np.memmap(slices, np.float16, "r", shape=shape)


def remove_material(folder: Path) -> None:
    """Remove what is kept in a folder, and the folder if it is empty then."""
    for path in folder.glob("material-*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it may have files of others
        folder.rmdir()
