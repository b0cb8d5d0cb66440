"""Checks of a model that is loaded: against its contract, and against the CPU that it runs on."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from r2p_edge.artifact.open import Artifact
from r2p_edge.errors import BackendError, SpecError
from r2p_edge.runtimes.base import Runtime
from r2p_edge.runtimes.cpu import read_cpu

_log = logging.getLogger(__name__)


def check_model(artifact: Artifact, loaded: Runtime) -> int:
    """Return the loaded model's batch size, after checking the model against its spec.

    Raises:
        SpecError: the two contradict each other.
    """
    spec, path = artifact.spec, artifact.path
    if artifact.carrier == "sidecar" and loaded.contract is not None:
        digest = spec.contract_digest()
        if loaded.contract != digest:
            raise SpecError(
                f"{path} was built with the contract {loaded.contract[:12]}... but its sidecar "
                f"has {digest[:12]}..., so it belongs to another model; copy both files again "
                "from the export"
            )
    batch, expected = loaded.input_shape[0], spec.input_shape
    fits = len(loaded.input_shape) == len(expected) and all(
        found in (-1, size) for found, size in zip(loaded.input_shape[1:], expected[1:])
    )
    if not fits or loaded.input_dtype != spec.input.dtype:
        raise SpecError(
            f"{path} takes {loaded.input_dtype} {loaded.input_shape} but its spec says "
            f"{spec.input.dtype} {expected}; correct clip, crop and input in the spec, or "
            "export the model with it, which puts the normalisation in front (r2p-edge export)"
        )
    check_classes(artifact, loaded.output_shape)
    return max(batch, 1)


def check_classes(artifact: Artifact, shape: tuple[int, ...]) -> None:
    """Refuse an output that has not a number for each label, or feature.

    Raises:
        SpecError: it has another shape than (N, classes).
    """
    count = artifact.spec.outputs
    if len(shape) != 2 or shape[1] not in (-1, count):
        named = "features" if artifact.spec.output.kind == "features" else "labels"
        raise SpecError(
            f"{artifact.path} gives an output of shape {shape} but its spec has {count} {named}; "
            f"expected (N, {count})"
        )


def check_cpu(artifact: Artifact, device: str) -> None:
    """Refuse int8 on a CPU that would compute it wrongly, and warn where it may.

    Raises:
        BackendError: the weights are of 8 bits, and this CPU adds up their products in 16.
    """
    spec, on_cpu = artifact.spec, "cpu" in device.split(",")
    if spec.precision != "int8" or not on_cpu or read_cpu().int8 != "saturating":
        return
    profile = (spec.calibration or {}).get("profile")
    if profile == "cpu":
        raise BackendError(
            f"{artifact.path} has int8 weights of 8 bits, whose products overflow the 16 "
            "bits in which this CPU adds them up (it has no VNNI); calibrate it here, or with "
            "--profile cpu-avx2, or use the fp32 model"
        )
    if profile != "cpu-avx2":  # for other chips, or made by someone else
        _log.warning(
            "%s was not made for this CPU, which adds products of int8 in 16 bits (it has no "
            "VNNI), so that sums may overflow; compare its answers with those of the fp32 "
            "model (r2p-edge compare), or calibrate that model here",
            artifact.path,
        )


@functools.lru_cache(64)  # so that it is logged once for a model
def tell_of_waste(path: Path, batch: int) -> None:
    """Warn that a model of a fixed batch was given fewer clips than it computes."""
    _log.warning(
        "%s computes %d clips in each call, of which some are repeats whose answers are thrown "
        "away; give it several clips at a time (clips=, --views), or export it with --batch 1",
        *(path, batch),
    )
