"""The process of its own in which a worker answers the videos that it is handed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from r2p_edge.archive.classifier import Classifier, Task
from r2p_edge.archive.listed import Listed
from r2p_edge.predictor import Predictor
from r2p_edge.spec import ModelSpec

ANSWER = f"{__name__}:answer_tasks"
"""The function that a worker runs, by the name that `_isolated` takes."""


def answer_tasks(
    report: Callable[[Any], None],
    *,
    model: str,
    digest: str,
    views: int,
    top: int,
    fps: float | None,
    options: dict[str, Any],
) -> None:
    """Answer videos until there are no more.

    Reports {"identity": columns} once the model is open, {"wanted": True} for each video that it
    has hands free for, and {"answer": [number, rows]} for each that is answered. For a video
    that is wanted, a line with a `Task`, or null, comes on stdin.

    Args:
        report: sends plain JSON types to the process that started this one.
        model, options: the model, and the options of `Predictor`, its spec as JSON.
        digest, views, top, fps: see `Classifier`.
    """
    if options["spec"] is not None:
        options["spec"] = ModelSpec.from_json(options["spec"])
    with Predictor(model, **options) as predictor:
        classifier = Classifier(predictor, digest, views=views, top=top, fps=fps)
        report({"identity": classifier.identity})
        for answer in classifier.answer(_tasks(report)):
            report({"answer": answer})


def _tasks(report: Callable[[Any], None]) -> Iterator[Task]:
    while True:
        report({"wanted": True})
        line = sys.stdin.readline()
        task = json.loads(line) if line else None  # its parent is gone
        if task is None:
            return
        number, listed = task
        yield number, Listed(*listed)
