"""The report of a benchmark: its rows, and the one to use."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from r2p_edge.agreement import Agreement, agreement, within_tolerance
from r2p_edge.benchmark.candidates import LeftOut
from r2p_edge.benchmark.clips import ClipSource
from r2p_edge.benchmark.contender import Contender
from r2p_edge.benchmark.forms import Forms
from r2p_edge.benchmark.race import Course
from r2p_edge.doctor.diagnosis import machine_facts
from r2p_edge.errors import ParityError, count_of

LEAST_AGREEMENT, MOST_LOSS = 0.98, 0.005
"""Limits for a row that is recommended: share of the clips with the reference's top-1 class, where
nothing is known of accuracy; or the loss of top-1 accuracy."""

_BUSY, _OVERRUN = 0.1, 0.5
# Shares of the cores that other programs use, above which times are doubtful, and ratios too.
_FEW = 10  # clips, in which a busy machine does not slow all rows alike
_PERCENTILES = (50, 90, 99)


def report_of(
    model: str,
    forms: Forms,
    clips: ClipSource,
    course: Course,
    left_out: Sequence[LeftOut],
    *,
    temporary: bool,
) -> dict[str, Any]:
    """Return the report of `benchmark`.

    Args:
        model: what the user named.
        forms: the files.
        clips: what was asked.
        course: what happened.
        left_out: what was not measured.
        temporary: whether the files are gone.
    """
    reference = _reference(course.contenders)
    known = [truth for truth in course.truths if truth is not None]
    doubt = _doubt(reference, known) if known else None
    rows = []
    for each in course.contenders:
        row = _identity(each, temporary)
        if each.error is None:
            row |= _times(each) | _quality(each, reference, known, trusted=doubt is None)
            row |= _lateness(each)
            row["heat"] = 1 + next(n for n, heat in enumerate(course.heats) if each in heat)
        else:
            row |= {"error": str(each.error), "exit_code": each.error.exit_code}
        rows.append(row)
    rows.sort(key=lambda row: ("error" in row, row.get("latency_ms", {}).get("p50", 0.0)))
    return {
        "model": model,
        "machine": machine_facts(),
        "clips": len(course.truths),
        "clips_from": clips.origin,
        "labelled": bool(known),
        "calibrated_on": clips.calibrated,
        "held_out": clips.held_out,
        "other_programs": _other_programs(course),
        "results": rows,
        "recommended": recommended(rows, len(course.truths), trusted=doubt is None),
        "every_frame": every_frame(rows, len(course.truths)),
        "left_out": [each._asdict() for each in left_out],
        "failed": [{"video": str(path), "error": str(error)} for path, error in clips.failed],
        "warnings": [*forms.warnings, *filter(None, [doubt]), *_warnings(clips)],
    }


def _other_programs(course: Course) -> dict[str, Any]:
    """Return how busy others kept the machine, and what that makes doubtful."""
    others = course.others or 0.0
    busy = others > _BUSY * course.cores
    uneven = len(course.truths) < _FEW or len(course.heats) > 1
    return {
        "cores": None if course.others is None else round(others, 2),
        "of": course.cores,
        "busy": busy,
        "ratios_uncertain": busy and (uneven or others > _OVERRUN * course.cores),
    }


def _reference(contenders: Sequence[Contender]) -> Contender:
    """Return the first row that was measured; the first of all is that of the fp32 model.

    Rows of per-frame forms come last.
    """
    return next(each for each in contenders if each.error is None)


def _identity(contender: Contender, temporary: bool) -> dict[str, Any]:
    each, opened = contender.candidate, contender.opened or {}
    artifact = each.artifact
    return {
        "file": artifact.path.name,
        "path": None if temporary and not each.per_frame else str(artifact.path),
        "runtime": each.runtime,
        "version": each.version,
        "device": opened.get("device", each.device),
        "precision": opened.get("precision", each.precision or artifact.spec.precision),
        "weights": artifact.spec.precision,
        "graph": artifact.spec.graph,
        "per_frame": each.per_frame,
        "border": each.border,
        "batch": opened.get("batch"),
        "size": artifact.size,
    }


def _times(contender: Contender) -> dict[str, Any]:
    opened, memory = contender.opened, contender.memory
    assert opened is not None
    assert memory is not None
    seconds = sum(contender.times) / 1e3
    turns = [] if contender.overload else contender.throughputs
    return {
        "latency_ms": {
            f"p{q}": round(float(np.percentile(contender.times, q)), 2) for q in _PERCENTILES
        },
        "clips_per_s": {
            "one_client": float(f"{len(contender.times) * opened['batch'] / seconds:.4g}"),
            "all_cores": float(f"{np.mean(turns):.4g}") if turns else None,
        },
        "clients": contender.clients or None,
        "all_cores_error": None if contender.overload is None else str(contender.overload),
        "start_ms": {
            "library": round(opened["library_ms"], 1),
            "load": round(opened["load_ms"], 1),
            "first_answer": round(opened["first_answer_ms"], 1),
        },
        "memory_mib": {
            "peak": _rounded(memory["peak_mib"]),
            "above_runtime": _rounded(memory["above_runtime_mib"]),
        },
    }


def _lateness(contender: Contender) -> dict[str, Any]:
    """Return what a frame without an answer takes, and how long an answer waits for frames."""
    each = contender.candidate
    form = each.artifact.spec.per_frame
    if not each.per_frame or form is None:
        return {"frame_ms": None, "lag_ms": None}
    wait = 0 if each.border == "flush" else form.wait
    return {
        "frame_ms": round(float(np.median(contender.frame_times)), 2),
        "lag_ms": round(1e3 * wait * each.artifact.spec.clip.tick, 1),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _quality(
    contender: Contender, reference: Contender, truths: list[str], *, trusted: bool
) -> dict[str, Any]:
    """Return how often a row is right, how often it answers as the reference, and if that will do.

    The tolerance of its precision decides for a model of values, which has no classes.
    """
    spec = contender.candidate.artifact.spec
    mine, theirs = np.array(contender.scores), np.array(reference.scores)
    differs: Agreement | None = None
    with contextlib.suppress(ParityError):  # scores of zero have no share that could differ
        differs = agreement(theirs, mine)
    found: dict[str, Any] = {
        "reference": contender is reference,
        "clips": len(mine),
        "top1": None,
        "top1_interval": None,
        "agreement": None,
        "max_rel": None if differs is None else float(f"{differs.max_rel:.3g}"),
    }
    if spec.output.kind == "values":
        assert contender.opened is not None
        coarsest = f"{contender.opened['precision']} {spec.precision}"
        precision = next(name for name in ("int8", "bf16", "fp16", "fp32") if name in coarsest)
        within = differs is not None and within_tolerance(differs, precision)
        return {**found, "good_enough": within or contender is reference}
    same = float((mine.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    found["agreement"] = round(same, 4)
    found["good_enough"] = same >= LEAST_AGREEMENT
    if truths:
        from r2p_edge.calibration.tally import wilson_interval

        right, wanted = _right(contender, truths), _right(reference, truths)
        found["top1"] = round(right / len(truths), 4)
        found["top1_interval"] = [round(x, 4) for x in wilson_interval(right, len(truths))]
        if trusted:
            found["good_enough"] = wanted - right <= MOST_LOSS * len(truths)
    return found


def _right(contender: Contender, truths: list[str]) -> int:
    return sum(label == truth for label, truth in zip(_labels(contender), truths, strict=True))


def _labels(contender: Contender) -> list[str]:
    labels = contender.candidate.artifact.spec.labels
    return [labels[int(np.argmax(scores))] for scores in contender.scores]


def _doubt(reference: Contender, truths: list[str]) -> str | None:
    """Return why the accuracy of the reference tells nothing; None if it does."""
    from r2p_edge.calibration.label_order import doubt_of

    return doubt_of(truths, _labels(reference), reference.candidate.artifact.spec.labels)


def _warnings(clips: ClipSource) -> list[str]:
    found = []
    if clips.unlabelled_because:
        found.append(f"accuracy was not measured: {clips.unlabelled_because}")
    if not clips.held_out:
        found.append("int8 was calibrated on the videos that it is measured on; give more videos")
    if clips.doubt:
        found.append(clips.doubt)
    return found


def recommended(
    rows: Sequence[dict[str, Any]], clips: int, *, trusted: bool = True
) -> dict[str, Any]:
    """Return the fastest row that is good enough, and why, in a sentence.

    Good enough is a loss of top-1 accuracy of at most `MOST_LOSS` against the reference on
    labelled clips; without them, or where its accuracy is doubtful, an agreement of
    `LEAST_AGREEMENT` or more; and for a model of values an output within the tolerance of its
    precision. The reference itself is good enough.

    Args:
        rows: results of `benchmark`, the fastest first.
        clips: number of clips that were asked for.
        trusted: whether the accuracy of the reference tells something.
    """
    measured = [row for row in rows if "error" not in row]
    # Those of a per-frame form answer another question, where there is one for whole clips.
    measured = [row for row in measured if not row["per_frame"]] or measured
    reference = next(row for row in measured if row["reference"])
    best = next(row for row in measured if row["good_enough"])
    speed = f"{best['latency_ms']['p50']:.1f} ms a clip"
    if best is not reference:
        times = reference["latency_ms"]["p50"] / best["latency_ms"]["p50"]
        speed += f", {times:.2f} times as fast as {name_of(reference)}"
    reasons = [speed]
    if best["top1"] is not None and trusted:
        right = f"right on {best['top1']:.1%} of {count_of(clips, 'clip')}"
        if best is not reference:
            right += f", where {name_of(reference)} is on {reference['top1']:.1%}"
        reasons.append(right)
    elif best["agreement"] is not None and best is not reference:
        same = f"{best['agreement']:.1%} of {count_of(clips, 'clip')}"
        reasons.append(f"the same answer as {name_of(reference)} on {same}")
    faster = measured[: measured.index(best)]
    if faster:
        reasons.append(f"faster and not good enough: {', '.join(map(name_of, faster))}")
    if best["top1"] is None:
        reasons.append("accuracy was not measured")
    elif not trusted:
        reasons.append("accuracy is doubtful and did not decide")
    return {
        **{key: best[key] for key in ("file", "path", "runtime", "device", "precision", "weights")},
        "because": "; ".join(reasons),
    }


def every_frame(rows: Sequence[dict[str, Any]], clips: int) -> dict[str, Any] | None:
    """Return the row to use where each frame of a stream is answered, and why, in a sentence.

    It is the fastest per-frame row that is good enough, see `recommended`, if it is faster than
    whole clips are on the same runtime and device in that precision. None where there is none.

    Args:
        rows: results of `benchmark`, the fastest first.
        clips: number of clips that were asked for.
    """
    keys = ("runtime", "device", "precision", "weights", "graph")
    measured = [row for row in rows if "error" not in row]
    for row in measured:
        whole = [
            each
            for each in measured
            if not each["per_frame"] and all(each[key] == row[key] for key in keys)
        ]
        if not (row["per_frame"] and row["good_enough"] and whole):
            continue
        mine, theirs = row["latency_ms"]["p50"], whole[0]["latency_ms"]["p50"]
        if mine >= theirs:
            continue
        reasons = [f"{mine:.1f} ms an answer, {theirs / mine:.2f} times as fast as a whole clip"]
        if row["agreement"] is not None:
            same = f"{row['agreement']:.1%} of {count_of(clips, 'clip')}"
            reasons.append(f"the reference's answer on {same}, one after another as scenes")
        if row["lag_ms"]:
            reasons.append(f"it comes {row['lag_ms'] / 1e3:.2g} s after the clip")
        return {
            **{key: row[key] for key in ("file", "path", *keys, "border")},
            "because": "; ".join(reasons),
        }
    return None


def name_of(row: Mapping[str, Any]) -> str:
    """Return a short name of a row for people."""
    computed, weights = row["precision"], row["weights"]
    parts = [row["runtime"], computed if computed == weights else f"{computed} from {weights}"]
    if row["graph"] == "conv2d":
        parts.append("conv2d")
    if row["per_frame"]:
        parts.append(f"per frame {row['border']}" if row["border"] else "per frame")
    return " ".join(parts)
