"""Accuracy and speed of an int8 model beside its fp32 one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.calibration.clipset import ClipSet
from r2p_edge.calibration.label_order import doubt_of
from r2p_edge.errors import VideoError
from r2p_edge.prediction import Timing
from r2p_edge.predictor import Predictor
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.rknn.runtime import SIMULATOR
from r2p_edge.spec import ModelSpec

AGREEMENT, DROP, SPEEDUP = 0.98, 0.01, 1.1
"""Limits for a recommended int8 model: least share of clips with the same top-1 class, most loss of
top-1 accuracy, least speed over fp32."""

_NUMBER = (int, float)
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "runtime": str,
    "clips": int,
    "top1": _NUMBER,
    "fp32_top1": _NUMBER,
    "agreement": _NUMBER,
    "speedup": _NUMBER,
    "recommended": bool,
}


def measure_accuracy(
    reference: Path,
    artifact: Path,
    spec: ModelSpec,
    runtime: str,
    clips: ClipSet,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Compare an int8 artifact with its fp32 one on a runtime of this machine.

    Args:
        reference: the fp32 artifact.
        artifact: the int8 artifact.
        spec: spec of the int8 artifact.
        runtime: name of the runtime. An fp32 artifact that it cannot run runs on ONNX Runtime.
        clips: labelled clips to compare on.
        progress: called at first and after each clip, with how many of how many were answered.

    Returns:
        {"runtime", "device", "clips", "held_out": whether the clips were neither calibrated
        nor trained on, "calibrated_on": whether they were calibrated on, "trained_on": the number
        of clips whose videos the model was trained on, as far as its contract says, "outside": of
        those whose videos the list does not name, "top1", "fp32_top1",
        "agreement", "latency_ms": {"int8", "fp32"}: median of a clip, "speedup",
        "recommended"}, without the two of speed for a simulator, and "doubt" where the labels of
        the fp32 model are doubtful, see `label_order.doubt_of`.

    Raises:
        VideoError: there are no clips to compare on.
        ModelError, BackendError: one of the artifacts does not run.
    """
    progress(0, clips.judged_count)
    fits = reference.suffix.lower() in RUNTIMES[runtime].suffixes
    with (
        Predictor(reference, runtime=runtime if fits else "onnxruntime") as one,
        Predictor(artifact, runtime=runtime, spec=spec) as other,
    ):
        one.warmup()
        other.warmup()
        labels, answers, times = [], ([], []), ([], [])  # type: ignore[var-annotated]
        for number, (pixels, label) in enumerate(clips.judged()):
            labels.append(label)
            # In turns, as the second one finds warm caches.
            for which, predictor in sorted(enumerate((one, other)), reverse=number % 2 == 1):
                timing = Timing()
                scores = predictor.scores(pixels[None], timing=timing)
                answers[which].append(predictor.spec.labels[int(scores[0].argmax())])
                times[which].append(timing.inference)
            progress(number + 1, clips.judged_count)
        device = other.device
    if not labels:
        raise VideoError(
            "none of the clips to compare int8 with fp32 on can be read; check the videos that are "
            "not calibrated on"
        )
    right = [np.mean([a == b for a, b in zip(each, labels)]) for each in answers]
    agreement = float(np.mean([a == b for a, b in zip(*answers)]))
    fp32, int8 = (float(np.median(each)) for each in times)
    found = {
        "runtime": runtime,
        "device": device,
        "clips": len(labels),
        "held_out": clips.held_out,
        "calibrated_on": clips.calibrated_on,
        "trained_on": clips.trained_on,
        "outside": clips.outside,
        "top1": round(float(right[1]), 4),
        "fp32_top1": round(float(right[0]), 4),
        "agreement": round(agreement, 4),
    }
    if device != SIMULATOR:
        found["latency_ms"] = {"int8": round(int8, 2), "fp32": round(fp32, 2)}
        found["speedup"] = round(fp32 / int8, 2)
    found["recommended"] = not objections(found)
    if (doubt := doubt_of(labels, answers[0], spec.labels)) is not None:
        found["doubt"] = doubt
    return found


def objections(found: Mapping[str, Any]) -> list[str]:
    """Return why an int8 model is not recommended, from a record of `measure_accuracy`."""
    reasons = {
        f"top-1 falls from {found['fp32_top1']:.1%} to {found['top1']:.1%}": (
            round(found["fp32_top1"] - found["top1"], 4) > DROP
        ),
        f"it agrees with fp32 on {found['agreement']:.1%} of {found['clips']} clips only": (
            found["agreement"] < AGREEMENT
        ),
    }
    if "speedup" in found:  # a simulator's says nothing
        reasons[f"it is {found['speedup']:g} times as fast"] = found["speedup"] < SPEEDUP
    return [reason for reason, applies in reasons.items() if applies]


def is_measurement(record: Mapping[str, Any]) -> bool:
    """Return whether an `accuracy` record has the fields of `measure_accuracy`.

    Artifacts of other tools may carry records with other fields.
    """
    return all(
        isinstance(record.get(name), kind)
        for name, kind in _FIELDS.items()
        if name != "speedup" or record.get("device") != SIMULATOR  # which has none
    )
