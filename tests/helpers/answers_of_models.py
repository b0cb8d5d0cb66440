"""Files of results whose figures are known, without a model or a video."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path


def answered(
    video: str, label: str, score: float = 0.9, truth: str | None = None, **more: object
) -> dict[str, object]:
    """Return a row as `predict --out` writes it, or with a truth as `eval --out` does."""
    row = {"video": video, "start": None, "end": None, "size": 9, "window": 0, "label": label}
    row |= {"score": score, "label_2": "other", "score_2": round(1 - score, 6), "kind": "sigmoid"}
    row |= {"model": "0" * 64, "runtime": "onnxruntime", "device": "cpu", "precision": "fp32"}
    if truth is not None:
        row |= {"truth": truth, "rank": 1 if label == truth else 3, "file": "models/m.onnx"}
        row |= {"weights": "fp32", "views": 1, "inference_ms": 2.0, "total_ms": 8.0}
    return {**row, "error": None, **more}


def failed(video: str, error: str, **more: object) -> dict[str, object]:
    """Return the row of a video without an answer."""
    return {**answered(video, "", **more), "label": None, "score": None, "error": error}


def of_pairs(pairs: Iterable[Sequence[str]], **more: object) -> list[dict[str, object]]:
    """Return a row for each pair of a class and an answer."""
    return [
        answered(f"set/{truth}/{number}.mp4", label, truth=truth, **more)
        for number, (truth, label) in enumerate(pairs)
    ]


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    """Write rows as CSV, or as JSON lines if the suffix says so."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    whole = [{name: row.get(name) for name in names} for row in rows]
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in whole))
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([["" if v is None else v for v in row.values()] for row in whole])
    return path
