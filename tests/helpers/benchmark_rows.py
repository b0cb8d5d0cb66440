"""Rows of a benchmark that were never run, for the tests of reports and tables."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from models import spec_of_brightness

from r2p_edge.artifact import Artifact
from r2p_edge.benchmark.candidates import Candidate, LeftOut
from r2p_edge.benchmark.clips import ClipSource
from r2p_edge.benchmark.contender import Contender
from r2p_edge.benchmark.forms import Forms
from r2p_edge.benchmark.race import Course
from r2p_edge.benchmark.results import report_of
from r2p_edge.errors import BackendError
from r2p_edge.per_frame.state import BorderKind
from r2p_edge.spec import PartSpec, PerFrameSpec

LABELS = spec_of_brightness().labels
RIGHT = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]] * 100
"""Scores of a model that gives 200 clips the first two labels in turns."""

TRUTHS = [LABELS[0], LABELS[1]] * 100


_FORM = PerFrameSpec(
    form="semi-causal",
    stages=0,
    delay=0,
    wait=3,
    step=1,
    positions=1,
    feature=None,
    rings=(),
    missing=(),
    parts={"step": PartSpec("step.onnx", "0" * 64)},
)


def artifact(name: str, **changes: Any) -> Artifact:
    """Return an artifact that is not there, with changes to its spec."""
    return Artifact(Path(name), 2**20, spec_of_brightness(**changes), "metadata", True)


def measured(
    name: str, ms: float, scores: list[list[float]] | None = None, **changes: Any
) -> Contender:
    """Return a row that has taken so many milliseconds for each clip."""
    each = contender(name, **changes)
    precision = each.candidate.artifact.spec.precision
    times = {"library_ms": 200.0, "load_ms": 30.0, "first_answer_ms": 4.0}
    each.opened = {"device": "cpu", "precision": precision, "batch": 1, **times}
    each.scores = RIGHT if scores is None else scores
    each.times = [ms] * len(each.scores)
    each.memory = {"peak_mib": 100.0, "above_runtime_mib": 40.0}
    each.throughputs, each.clients = [1500 / ms, 1700 / ms], 2
    return each


def answered_per_frame(
    name: str, ms: float, scores: list[list[float]] | None = None, border: BorderKind | None = None
) -> Contender:
    """Return a row whose per-frame form has taken so many milliseconds for each answer."""
    each = measured(name, ms, scores, per_frame=_FORM, graph="conv3d")
    each.candidate = dataclasses.replace(each.candidate, per_frame=True, border=border)
    each.frame_times = [ms / 4] * len(each.scores)
    return each


def fallen(name: str, message: str) -> Contender:
    """Return a row that has failed."""
    each = contender(name)
    each.error = BackendError(message)
    return each


def contender(name: str, runtime: str = "onnxruntime", **changes: Any) -> Contender:
    """Return a row that has not been run."""
    candidate = Candidate(artifact(name, **changes), runtime, "cpu", version="1.0")
    return Contender(candidate, threads=None, timeout=1, scratch=Path("/absent"))


def report(
    contenders: list[Contender],
    truths: list[str] | None = None,
    *,
    others: float | None = 0.0,
    temporary: bool = False,
    left_out: tuple[LeftOut, ...] = (),
    heats: list[list[Contender]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the report of rows."""
    clips = ClipSource(spec_of_brightness(), 200, truths is not None, "generated clips", **more)
    heats = heats or [contenders]
    course = Course(contenders, heats, truths or [None] * 200, cores=2, others=others)
    forms = Forms([])
    return report_of("m", forms, clips, course, left_out, temporary=temporary)
