"""What an int8 model costs in accuracy and brings in time, measured before it is called good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.calibration.clipset import ClipSet
from r2p_edge.errors import VideoError
from r2p_edge.prediction import Timing
from r2p_edge.predictor import Predictor
from r2p_edge.spec import ModelSpec

AGREEMENT, DROP, SPEEDUP = 0.98, 0.01, 1.1
"""What makes an int8 model worth recommending: at least this share of the clips has the same top-1
class, top-1 falls by no more than this, and it is at least this much faster."""


def judge(
    reference: Path, artifact: Path, spec: ModelSpec, runtime: str, clips: ClipSet
) -> dict[str, Any]:
    """Compares an int8 artifact of a spec with its fp32 one on a runtime of this machine.

    Returns:
        {"runtime", "device", "clips", "held_out": whether they are others than those calibrated
        on, "top1", "fp32_top1", "agreement", "latency_ms": {"int8", "fp32"}: median of a clip,
        "speedup", "recommended"}

    Raises:
        VideoError: there are no clips to compare on.
        ModelError, BackendError: one of them does not run.
    """
    with (
        Predictor(reference, runtime=runtime) as one,
        Predictor(artifact, runtime=runtime, spec=spec) as other,
    ):
        one.warmup()
        other.warmup()
        labels, answers, times = [], ([], []), ([], [])  # type: ignore[var-annotated]
        for number, (pixels, label) in enumerate(clips.judged()):
            labels.append(label)
            # In turns, so that neither always comes first.
            for which, predictor in sorted(enumerate((one, other)), reverse=number % 2 == 1):
                timing = Timing()
                scores = predictor.scores(pixels[None], timing=timing)
                answers[which].append(predictor.spec.labels[int(scores[0].argmax())])
                times[which].append(timing.inference)
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
        "top1": round(float(right[1]), 4),
        "fp32_top1": round(float(right[0]), 4),
        "agreement": round(agreement, 4),
        "latency_ms": {"int8": round(int8, 2), "fp32": round(fp32, 2)},
        "speedup": round(fp32 / int8, 2),
    }
    return {**found, "recommended": not objections(found)}


def objections(found: Mapping[str, Any]) -> list[str]:
    """What keeps an int8 model from being recommended, of what `judge` found."""
    reasons = {
        f"top-1 falls from {found['fp32_top1']:.1%} to {found['top1']:.1%}": (
            round(found["fp32_top1"] - found["top1"], 4) > DROP
        ),
        f"it agrees with fp32 on {found['agreement']:.1%} of {found['clips']} clips only": (
            found["agreement"] < AGREEMENT
        ),
        f"it is {found['speedup']:g} times as fast": found["speedup"] < SPEEDUP,
    }
    return [reason for reason, holds in reasons.items() if holds]
