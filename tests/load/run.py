"""Load a model for long: a day of stream, many answers, many openings, many threads.

    python tests/load/run.py day|watch|answers|reopen|threads [--count N] [--runtime NAME]

`day` streams N ticks (default: 1,080,000) through the whole live path over a runtime that answers
zeros; `watch` does so with three cameras, each of which is cut 200 times, and their events.
`answers` gives N answers on a real runtime (default: 10,000), `reopen` opens and closes it N times
(default: 10,000), and `threads` answers N clips (default: 640) in 16 threads. Growth is the slope
of the memory after the first tenth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from day import TICKS, day
from growth import Growth, growth
from models import brightness_model, grey_frames
from together import alone, clips_for, together
from watched_day import watched_day

from r2p_edge import Predictor

RUNTIMES = ("onnxruntime", "openvino", "mindspore")


def model_for(runtime: str, folder: Path) -> Path:
    """Write a small model that a runtime reads."""
    model = brightness_model(folder / "model.onnx")
    if runtime != "mindspore":
        return model
    from r2p_edge.export.targets.mindspore.export import mindspore_from_onnx

    mindspore_from_onnx(model, model.with_suffix(".mindir"))
    return model.with_suffix(".mindir")


def show(name: str, count: int, found: Growth, begun: float) -> None:
    """Print the growth of some repetitions."""
    print(
        f"{name}: {count} in {time.monotonic() - begun:.0f} s, growth "
        f"{found.megabytes * count:.2f} MB; before {found.before}, after {found.after}",
        flush=True,
    )


def answers(model: Path, runtime: str, count: int) -> Growth:
    """Answer one video again and again."""
    video = grey_frames([10, 20, 30, 40])
    with Predictor(model, runtime=runtime) as predictor:
        return growth(lambda: predictor.predict(video), count)


def reopen(model: Path, runtime: str, count: int) -> Growth:
    """Open a model, answer and close it, again and again."""
    video = grey_frames([10, 20, 30, 40])

    def step() -> None:
        with Predictor(model, runtime=runtime) as predictor:
            predictor.predict(video)

    return growth(step, count)


def threads(model: Path, runtime: str, count: int) -> None:
    """Compare many threads with one."""
    clips = clips_for(model, count)
    one = alone(model, runtime, clips)
    for shared in (True, False):
        many = together(model, runtime, clips, shared=shared)
        same = all((a == b).all() for a, b in zip(one.scores, many.scores, strict=True))
        what = "one model" if shared else "a model each"
        ratio = one.seconds / many.seconds
        print(
            f"{runtime}, 16 threads, {what}: {ratio:.2f} of one thread's rate, bits equal: {same}"
        )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", choices=("day", "watch", "answers", "reopen", "threads"))
    parser.add_argument("--count", type=int)
    parser.add_argument("--runtime", choices=RUNTIMES)
    options = parser.parse_args()
    begun = time.monotonic()
    if options.work == "day":
        ticks = options.count or TICKS
        count, found = day(ticks)
        show(f"{ticks} ticks, answers", count, found, begun)
        return
    if options.work == "watch":
        ticks = options.count or TICKS
        found_day = watched_day(ticks)
        show(f"3 x {ticks} ticks, answers", found_day.answers, found_day.growth, begun)
        print(f"gaps {found_day.gaps}, pictures {found_day.pictures}, {dict(found_day.events)}")
        return
    for runtime in [options.runtime] if options.runtime else RUNTIMES:
        with tempfile.TemporaryDirectory() as folder:
            model, begun = model_for(runtime, Path(folder)), time.monotonic()
            if options.work == "threads":
                threads(model, runtime, options.count or 640)
                continue
            count = options.count or 10_000
            work = answers if options.work == "answers" else reopen
            show(f"{runtime}, {options.work}", count, work(model, runtime, count), begun)


if __name__ == "__main__":
    main()
