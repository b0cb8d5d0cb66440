"""The work of an answer in the per-frame form, against the same model on whole windows.

    python tests/benchmarks/per_frame.py MODEL [--runtime openvino] [--precision bf16]
        [--threads 1] [--stride 1] [--rounds 40] [--live 0] [--json]

MODEL is one that was exported with its per-frame form. Each round pushes the frames of one answer
through a stream of whole windows and through one of each border, in an order that changes, and
counts the processor's time of all threads, so that what else the machine does matters little.
Overhead is the share of a step and its answer that is spent outside of the runtime's calls. The
figures are medians; their ratios count. With `--live N` a camera of 30 fps in real time is answered
N times by each, in turns of ten seconds, from the capture of a frame to the answer.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from _harness import machine
from stream import latency

from r2p_edge import Predictor, Stream
from r2p_edge.calibration import motion
from r2p_edge.per_frame.state import FrameState, scores_of_states
from r2p_edge.prediction import Timing

BARS = {"wait": {"fp32": 3.3, "bf16": 2.9, "int8": 2.5}, "flush": {"fp32": 1.8}}
"""Whole windows take at least so many times as long, at a stride of one tick."""

OVERHEAD_BAR = 0.03

_TURN_SECONDS = 10.0


def cpu_ms(streams: dict[str, Stream], stride: int, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of processor time per answer of each stream, one for each round."""
    order, found = random.Random(0), {name: [] for name in streams}
    scene, number = motion.scene("test", 4), dict.fromkeys(streams, 0)
    images = [scene.draw(k / 30) for k in range(48)]

    def answered(name: str) -> None:
        """Push frames until there is an answer."""
        stream = streams[name]
        while True:
            answer = stream.push(images[number[name] % len(images)], number[name] * tick)
            number[name] += 1
            if answer is not None:
                return

    tick = next(iter(streams.values())).buffer.tick
    warm = 3 + 40 // stride  # past the first windows, which are whole ones
    for done in range(warm + rounds):
        for name in order.sample(list(streams), len(streams)):
            begin = time.process_time_ns()
            answered(name)
            if done >= warm:
                found[name].append((time.process_time_ns() - begin) / 1e6)
    return found


class _Timed:
    """A call of a part that counts the processor time of its runs."""

    def __init__(self, call: Any) -> None:
        self._call, self.spent = call, 0

    def bind(self, name: str, holder: Any) -> None:
        self._call.bind(name, holder)

    def run(self) -> None:
        begin = time.process_time_ns()
        self._call.run()
        self.spent += time.process_time_ns() - begin


def overhead(predictor: Predictor, border: Any, rounds: int) -> float:
    """Return the share of a step and its answer that is not the runtime's."""
    state = FrameState(predictor.per_frame, border)
    calls = []
    for holder, name in ((state, "_first"), (state._end, "_flush"), (state._end, "_tail")):
        if getattr(holder, name, None) is not None:
            calls.append(_Timed(getattr(holder, name)))
            setattr(holder, name, calls[-1])
    frame = np.random.default_rng(0).integers(0, 256, state.frame.shape, np.uint8)
    shares = []
    for done in range(rounds + 20):
        before = sum(call.spent for call in calls)
        begin = time.process_time_ns()
        state.frame[:] = frame
        state.step()
        scores_of_states([state], Timing())
        total = time.process_time_ns() - begin
        if done >= 20:
            shares.append(1 - (sum(call.spent for call in calls) - before) / total)
    return statistics.median(shares)


def spread(predictor: Predictor, stride: int, turns: int) -> dict[str, dict[str, float]]:
    """Return how long answers take in real time by each form: p50, p99, and their ratio."""
    forms: dict[str, dict[str, Any]] = {"windows": {}}
    forms |= {border: {"reuse": "features", "border": border} for border in ("flush", "wait")}
    turn = random.Random(1)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in forms}
    for _ in range(turns):
        for name in turn.sample(list(forms), len(forms)):
            ages = latency(predictor, _TURN_SECONDS, stride=stride, **forms[name])["age_ms"]
            found[name].append(ages)
    middles = {
        name: {q: statistics.median(each[q] for each in ages) for q in ("p50", "p99")}
        for name, ages in found.items()
    }
    return {name: {**ages, "ratio": ages["p99"] / ages["p50"]} for name, ages in middles.items()}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all results, and the machine that they are of."""
    with Predictor(
        options.model,
        runtime=options.runtime,
        threads=options.threads,
        precision=options.precision,
    ) as predictor:
        predictor.warmup()
        streams = {"windows": Stream(predictor, stride=options.stride)}
        for border in ("flush", "wait"):
            streams[border] = Stream(
                predictor, stride=options.stride, reuse="features", border=border
            )
        times = cpu_ms(streams, options.stride, options.rounds)
        medians = {name: statistics.median(values) for name, values in times.items()}
        forms = {}
        for border in ("flush", "wait"):
            ratio = medians["windows"] / medians[border]
            bar = BARS[border].get(predictor.precision) if options.stride == 1 else None
            share = overhead(predictor, border, options.rounds)
            forms[border] = {
                "times_fewer": round(ratio, 3),
                "bar": bar,
                "met": None if bar is None else ratio >= bar,
                "overhead": round(share, 4),
                "overhead_met": share <= OVERHEAD_BAR,
                "state_bytes": FrameState(predictor.per_frame, border).bytes,
            }
        return {
            "benchmark": "per_frame",
            "machine": machine(),
            "model": Path(options.model).name,
            "arch": predictor.spec.arch,
            "runtime": predictor.runtime,
            "precision": predictor.precision,
            "threads": options.threads,
            "stride": options.stride,
            "rounds": options.rounds,
            "cpu_ms_per_answer": {name: round(value, 3) for name, value in medians.items()},
            "forms": forms,
            "live_age_ms": spread(predictor, options.stride, options.live) if options.live else {},
            "shared_bytes": predictor.per_frame.spare.bytes,
        }


def print_table(report: dict[str, Any]) -> None:
    """Print the results for people."""
    print(
        f"{report['model']} on {report['runtime']}, {report['precision']}, "
        f"{report['threads']} threads, an answer every {report['stride']} ticks"
    )
    for name, value in report["cpu_ms_per_answer"].items():
        line = f"  {name:<8}{value:9.2f} CPU ms an answer"
        if form := report["forms"].get(name):
            line += f"   {form['times_fewer']:.2f} times fewer"
            if form["bar"] is not None:
                line += f" (bar {form['bar']} {'met' if form['met'] else 'NOT met'})"
            line += f", overhead {form['overhead']:.1%}, state {form['state_bytes'] / 1e6:.1f} MB"
        print(line)
    for name, ages in report["live_age_ms"].items():
        print(
            f"  {name:<8}{ages['p50']:9.1f} ms from camera to answer, p99 {ages['p99']:.1f}, "
            f"{ages['ratio']:.2f} times"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="model that was exported with its per-frame form")
    parser.add_argument("--runtime", help="library that runs it")
    parser.add_argument("--precision", help="to compute in, where the runtime has a choice")
    parser.add_argument("--threads", type=int, default=1, help="of the runtime (default 1)")
    parser.add_argument("--stride", type=int, default=1, help="ticks between answers (default 1)")
    parser.add_argument("--rounds", type=int, default=40, help="answers (default 40)")
    parser.add_argument("--live", type=int, default=0, help="turns in real time (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    report = measure(options)
    if options.json:
        print(json.dumps(report))
    else:
        print_table(report)


if __name__ == "__main__":
    main()
