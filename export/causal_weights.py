"""Weights that were fitted for a semi-causal form, in a file that `export` reads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.errors import ModelError, SpecError, UsageError
from r2p_edge.export.npz_file import read_arrays
from r2p_edge.spec.checks import check_record, shown
from r2p_edge.spec.per_frame import SEMI_CAUSAL

_KEY = "r2p_edge.semi-causal"  # of what the file says besides its arrays, JSON as text
_MOST_STAGES = 4
_MOST_TICKS = 10_000


class CausalWeights(NamedTuple):
    """Constants of a semi-causal form, in place of those that its clip model has.

    Attributes:
        stages: last stage that stays as it was trained.
        wait: ticks after a window's last frame at which its answer is best.
        constants: by their names in the float graph; see `semi_causal_form`.
        record: how they were fitted, as JSON.
    """

    stages: int
    wait: int
    constants: Mapping[str, npt.NDArray[np.floating]]
    record: Mapping[str, Any]


def save_causal_weights(weights: CausalWeights, path: str | Path) -> None:
    """Write weights as an `.npz` file; the same weights are the same bytes.

    Raises:
        UsageError: the name is not that of an .npz file.
        OutputError: it cannot be written.
    """
    path = Path(path)
    check_weights_path(path)
    said = {"stages": weights.stages, "wait": weights.wait, "record": dict(weights.record)}
    arrays = {name: np.asarray(value) for name, value in weights.constants.items()}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{_KEY: np.array(json.dumps(said))}, **arrays)
    atomic_write(path, content.getvalue())


def check_weights_path(path: Path) -> None:
    """Check that weights can be written there.

    Raises:
        UsageError, OutputError: see `save_causal_weights`.
    """
    if path.suffix != ".npz":
        raise UsageError(f"{path} is no name of an .npz file; give it that suffix")
    check_folder(path)


def bundled_causal_weights() -> CausalWeights:
    """Return those that the bundled model is shipped with; their record says so."""
    file = resources.files("r2p_edge") / "assets" / "motion-causal.npz"
    weights = read_causal_weights(str(file))
    return weights._replace(record={**weights.record, "shipped": True})


def weights_of_form(
    form: str, stages: int | None, file: str | Path | None, *, bundled: bool
) -> CausalWeights | None:
    """Return the weights of a form with state, where they are not the clip model's.

    Args:
        form: which one.
        stages: those asked for.
        file: of weights that were given; see `read_causal_weights`.
        bundled: whether it is of the bundled model, which has weights of its own for one stage.

    Raises:
        ModelNotFoundError, ModelError: see `read_causal_weights`.
    """
    if file is not None:
        return read_causal_weights(file)
    if form == SEMI_CAUSAL and bundled:
        weights = bundled_causal_weights()
        if stages in (None, weights.stages):
            return weights
    return None


def read_causal_weights(path: str | Path) -> CausalWeights:
    """Read weights; floating-point arrays of any size are float32.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: it is another file, or damaged.
    """
    path = Path(path)
    kind, way = "form weights", "give a file that r2p-edge adapt or examples/distil.py has written"
    arrays = read_arrays(path, kind, way)
    said = arrays.pop(_KEY, None)
    if said is None or said.dtype.kind != "U" or said.ndim:
        raise ModelError(f"{kind} {path}: it does not say for which form; {way}")
    constants: dict[str, npt.NDArray[np.floating]] = {}
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                constants[name] = array.astype(np.float32)
        if name not in constants or not np.isfinite(constants[name]).all():
            raise ModelError(
                f"{kind} {path}: {name} is {array.dtype} and must be finite numbers of float32; "
                f"{way}"
            )
    try:
        match json.loads(str(said)):
            case {"stages": int(stages), "wait": int(wait), "record": dict(record)} if (
                type(stages) is type(wait) is int
                and 0 <= stages <= _MOST_STAGES
                and 0 <= wait <= _MOST_TICKS
            ):
                check_record("record", record)
                return CausalWeights(stages, wait, constants, record)
    except (ValueError, RecursionError, SpecError) as error:
        raise ModelError(f"{kind} {path}: it is damaged ({error}); {way}") from error
    raise ModelError(f"{kind} {path}: it says {shown(str(said))} of its form; {way}")
