"""The work of an answer in the per-frame form, against the same model on whole windows.

    python tests/benchmarks/per_frame.py MODEL... [--runtime openvino] [--precision bf16]
        [--threads 1 2] [--stride 1] [--rounds 40] [--live 0] [--json]

Each MODEL is one that was exported with its per-frame or semi-causal form; an ONNX file is measured
on ONNX Runtime and on OpenVINO unless `--runtime` says on which, and an FP32 model on OpenVINO also
in BF16 where the chip computes in it. Each round pushes the frames of one answer through a stream
of whole windows and through one of each border, in an order that changes, and counts the
processor's time of all threads, so that what else the machine does matters little. Overhead is the
share of a step and its answer that is spent outside of the runtime's calls. The figures are
medians; their ratios count. With `--live N` a camera of 30 fps in real time is answered in N turns
of ten seconds by each, from the capture of a frame to the answer.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _harness import machine
from stream import latency

from r2p_edge import Predictor, Stream
from r2p_edge.artifact import open_artifact
from r2p_edge.calibration import motion
from r2p_edge.per_frame.state import FrameState, borders_of, scores_of_states
from r2p_edge.prediction import Timing
from r2p_edge.runtimes import RUNTIMES, runtime_type

BARS = {
    "wait": {"fp32": 3.3, "bf16": 2.9, "int8": 2.5},
    "flush": {"fp32": 1.8},
    "step": {"fp32": 6.0, "fp32 onnxruntime": 8.0, "bf16": 4.5, "int8": 4.0},
}
"""Whole windows of R(2+1)D-18 take at least so many times as long, at a stride of one tick; "step"
is a semi-causal form, which has no border."""

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
    forms |= _forms(predictor)
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


def _forms(predictor: Predictor) -> dict[str, dict[str, Any]]:
    """Return the options of a stream for each border of a model's form."""
    return {
        border or "step": {"reuse": "features", "border": border}
        for border in borders_of(predictor.per_frame.form)
    }


def bar_of(name: str, predictor: Predictor, stride: int) -> float | None:
    """Return the least ratio that is wanted of a border; None where none is."""
    if stride != 1 or predictor.spec.arch != "r2plus1d_18" or predictor.spec.crop.height < 112:
        return None
    # "int8+bf16" where the float layers of an int8 model are in bf16.
    precision = predictor.precision.partition("+")[0]
    bars = BARS[name]
    return bars.get(f"{precision} {predictor.runtime}", bars.get(precision))


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the results of each model, runtime, precision and number of threads."""
    for model in options.model:
        for runtime in options.runtime or _runtimes_of(model):
            chosen = [options.precision] if options.precision else _precisions(model, runtime)
            for precision, threads in itertools.product(chosen, options.threads):
                yield _measured(model, runtime, precision, threads, options)


def _runtimes_of(model: str) -> list[str]:
    suffix = Path(model).suffix.lower()
    return [name for name in ("onnxruntime", "openvino") if suffix in RUNTIMES[name].suffixes]


def _precisions(model: str, runtime: str) -> list[str | None]:
    here = runtime_type(runtime).precisions("cpu")
    wide = open_artifact(model).spec.precision == "fp32" and "bf16" in here
    return [None, "bf16"] if wide else [None]


def _measured(
    model: str, runtime: str, precision: Any, threads: int, options: argparse.Namespace
) -> dict[str, Any]:
    with Predictor(model, runtime=runtime, threads=threads, precision=precision) as predictor:
        predictor.warmup()
        streams = {"windows": Stream(predictor, stride=options.stride)}
        for name, form in _forms(predictor).items():
            streams[name] = Stream(predictor, stride=options.stride, **form)
        times = cpu_ms(streams, options.stride, options.rounds)
        medians = {name: statistics.median(values) for name, values in times.items()}
        ages = spread(predictor, options.stride, options.live) if options.live else {}
        forms = {}
        for name, form in _forms(predictor).items():
            ratio, bar = medians["windows"] / medians[name], bar_of(name, predictor, options.stride)
            share = overhead(predictor, form["border"], options.rounds)
            forms[name] = {
                "times_fewer": round(ratio, 3),
                "bar": bar,
                "met": None if bar is None else ratio >= bar,
                "overhead": round(share, 4),
                "overhead_met": share <= OVERHEAD_BAR,
                "spread_met": ages[name]["ratio"] <= ages["windows"]["ratio"] if ages else None,
                "state_bytes": FrameState(predictor.per_frame, form["border"]).bytes,
            }
        return {
            "benchmark": "per_frame",
            "machine": machine(),
            "model": Path(model).name,
            "arch": predictor.spec.arch,
            "runtime": predictor.runtime,
            "precision": predictor.precision,
            "threads": threads,
            "stride": options.stride,
            "rounds": options.rounds,
            "cpu_ms_per_answer": {name: round(value, 3) for name, value in medians.items()},
            "forms": forms,
            "live_age_ms": ages,
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
                line += f" (bar {form['bar']} {_met(form['met'])})"
            line += f", overhead {form['overhead']:.1%} (bar {OVERHEAD_BAR:.0%} "
            line += f"{_met(form['overhead_met'])})"
            line += f", state {form['state_bytes'] / 1e6:.1f} MB"
        print(line)
    for name, ages in report["live_age_ms"].items():
        line = f"  {name:<8}{ages['p50']:9.1f} ms from camera to answer, p99 {ages['p99']:.1f}, "
        line += f"{ages['ratio']:.2f} times"
        if form := report["forms"].get(name):
            line += f" (bar: as windows, {_met(form['spread_met'])})"
        print(line)


def _met(met: bool) -> str:
    return "met" if met else "NOT met"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="+", help="model that was exported with its form")
    parser.add_argument("--runtime", nargs="+", help="libraries (default: all that take the file)")
    parser.add_argument("--precision", help="to compute in, where the runtime has a choice")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="of the runtime (default 1 and 2)"
    )
    parser.add_argument("--stride", type=int, default=1, help="ticks between answers (default 1)")
    parser.add_argument("--rounds", type=int, default=40, help="answers (default 40)")
    parser.add_argument("--live", type=int, default=0, help="turns in real time (default 0)")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each")
    options = parser.parse_args()
    for report in measure(options):
        if options.json:
            print(json.dumps(report))
        else:
            print_table(report)


if __name__ == "__main__":
    main()
