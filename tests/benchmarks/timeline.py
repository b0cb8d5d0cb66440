"""The segments of `timeline`, with its defaults, on films whose every moment has a known class.

    python tests/benchmarks/timeline.py [--seeds 1811,1812,1813] [--rates 15,30,60] [--json]

A film is 600 seconds of 64 segments of 3 to 20 seconds, each a scene of its own with one of the
twelve motions of the bundled model, five of them without motion; a motion that cannot last is
repeated (tests/helpers/films.py). The defaults were chosen on another film, `films.TUNING`.

`segments` is the number found over the true one, `boundaries` the share of true boundaries that
have one within half a second, `right` the share of time with the right label, and `looked at` the
windows that the model was run on, of all. "each window" is the best class of each window by itself,
for comparison.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from films import HELD_OUT, RATES, SECONDS, SEGMENTS, Part, write_film

from r2p_edge import Predictor, timeline
from r2p_edge.export.build import build

LIMITS = {"segments": 1.15, "boundaries": 0.90, "right": 0.95}
"""At most so many times as many segments, and at least these shares; "right" is of all films."""

_WITHIN = 0.5  # seconds
_GRID = 0.01  # seconds

Found = Sequence[tuple[float, float, "str | None"]]
"""Start, end and label of each segment."""


def judge(found: Found, parts: Sequence[Part]) -> dict[str, float]:
    """Return the figures of segments against the true ones."""
    ends = np.array([end for _, end, _ in found[:-1]])
    true_ends = np.array([part.end for part in parts[:-1]])
    near = [bool(len(ends)) and float(np.abs(ends - end).min()) <= _WITHIN for end in true_ends]
    grid = np.arange(_GRID / 2, parts[-1].end, _GRID)
    labels = np.array([str(label) for *_, label in found])
    true_labels = np.array([part.label for part in parts])
    right = labels[np.searchsorted(ends, grid)] == true_labels[np.searchsorted(true_ends, grid)]
    return {
        "segments": round(len(found) / len(parts), 3),
        "boundaries": round(float(np.mean(near)), 3),
        "right": round(float(right.mean()), 4),
    }


def measure(
    predictor: Predictor, seed: int, rate: float, seconds: float = SECONDS, segments: int = SEGMENTS
) -> dict[str, dict[str, float]]:
    """Return the figures of `timeline`, and of the best class of each window, on one film."""
    looked_at, scores = 0, predictor.scores

    def counted(pixels: np.ndarray) -> np.ndarray:
        nonlocal looked_at
        looked_at += len(pixels)
        return scores(pixels)

    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        parts = write_film(film, seed, rate, seconds, segments)
        predictor.scores = counted  # type: ignore[method-assign,assignment]
        try:
            found = timeline(predictor, film)
        finally:
            predictor.scores = scores  # type: ignore[method-assign]
    figures = judge([(s.start, s.end, s.label) for s in found.segments], parts)
    figures["looked at"] = round(looked_at / len(found.windows.times), 3)
    return {"timeline": figures, "each window": judge(raw(found), parts)}


def raw(found) -> Found:
    """Return the segments of the best class of each window."""
    windows = found.windows
    best = windows.scores.argmax(axis=1)
    edges = (windows.times[1:] + windows.times[:-1]) / 2
    changes = np.flatnonzero(np.diff(best))
    ends = [*edges[changes].tolist(), found.duration]
    labels = [found.labels[best[place]] for place in [*changes, len(best) - 1]]
    return list(zip([0.0, *ends], ends, labels))


def met(films: Sequence[dict[str, float]]) -> bool:
    """Return whether the figures of films, all of one length, are within `LIMITS`."""
    return (
        max(film["segments"] for film in films) <= LIMITS["segments"]
        and min(film["boundaries"] for film in films) >= LIMITS["boundaries"]
        and float(np.mean([film["right"] for film in films])) >= LIMITS["right"]
    )


def tell(seed: int, rate: float, figures: dict[str, dict[str, float]], *, as_json: bool) -> None:
    """Print the figures of a film."""
    if as_json:
        print(json.dumps({"seed": seed, "rate": rate, **figures}), flush=True)
        return
    print(f"seed {seed}, {rate} frames a second")
    for name, row in figures.items():
        shown = ", ".join(f"{key} {value}" for key, value in row.items())
        print(f"  {name:12} {shown}", flush=True)


def main() -> int:
    """Run the program; return 1 if the figures of a rate's films are not within `LIMITS`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", default=",".join(map(str, HELD_OUT)))
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds, rates = ([int(n) for n in text.split(",")] for text in (options.seeds, options.rates))
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        (artifact,) = build("motion", targets=["onnx"], out=Path(folder)).built
        with Predictor(artifact.path) as predictor:
            for rate in rates:
                films = []
                for seed in seeds:
                    figures = measure(predictor, seed, rate)
                    films.append(figures["timeline"])
                    tell(seed, rate, figures, as_json=options.json)
                passed &= met(films)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
