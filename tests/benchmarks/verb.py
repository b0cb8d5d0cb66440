"""Ratios that `r2p-edge benchmark` finds, beside those of int8.py, in one interleaved run.

    python tests/benchmarks/verb.py [--json] [--videos DIR] [--split FILE] [--num-clips 50]
                                    [--depth 18] [--rounds 15]

R(2+1)D of full size with random weights, exported as int8.py does. After each clip that the rows of
`r2p_edge.benchmark.benchmark` have answered, each contender of int8.py takes its turn, so that
whatever slows the machine slows both. Each has processes of its own. What is held to the bar is the
time over that of ONNX Runtime in FP32.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
from pathlib import Path

from _harness import machine
from int8 import CONTENDERS, EAGER, PEAK, SPEC, add_clips, export
from runtimes import BLOCKS, Contender

from r2p_edge.benchmark import benchmark
from r2p_edge.calibration.manifest import read_clips, sample_clips
from r2p_edge.calibration.ucf101 import list_videos

BAR = 0.10  # most that the two may differ in a ratio
BASE = "ONNX Runtime fp32"
NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def measure(depth: int, options: argparse.Namespace) -> dict[str, object]:
    """Return the ratios of both, and by how much they differ."""
    listing = list_videos(options.videos, SPEC.labels, options.split)
    manifest = sample_clips(listing, num_clips=options.num_clips)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(depth, functools.partial(read_clips, manifest, options.videos, SPEC), folder)
        contenders = {name: each for name, each in CONTENDERS.items() if name not in (EAGER, PEAK)}
        started = {name: Contender(contenders, name, folder) for name in contenders}
        running = {name: each for name, each in started.items() if each.refusal is None}
        times: dict[str, list[float]] = {name: [] for name in running}

        def take_turns(part: str, done: int, total: int) -> None:
            if part == "asking for clips":
                for name, contender in running.items():
                    times[name].append(contender())

        report = benchmark(
            folder,
            num_clips=options.rounds,
            runtimes=["onnxruntime", "openvino"],
            progress=take_turns,
        )
        for contender in started.values():
            contender.close()
    theirs = {name: statistics.median(found) for name, found in times.items()}
    ours = {
        f"{NAMES[row['runtime']]} {row['precision']}": row["latency_ms"]["p50"]
        for row in report["results"]
        if "error" not in row
    }
    rows = {
        name: {
            "int8.py_ms": round(theirs[name], 1),
            "verb_ms": round(ours[name], 1),
            "int8.py": round(theirs[name] / theirs[BASE], 3),
            "verb": round(ours[name] / ours[BASE], 3),
            "differ": round((ours[name] / ours[BASE]) / (theirs[name] / theirs[BASE]) - 1, 3),
        }
        for name in theirs
    }
    worst = max(abs(row["differ"]) for row in rows.values())
    return {
        "rows": rows,
        "other_programs": report["other_programs"],
        "worst": worst,
        "bar": BAR,
        "met": worst <= BAR,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_clips(parser)
    parser.add_argument("--depth", type=int, choices=BLOCKS, default=18, help="layers (default 18)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default 15)")
    options = parser.parse_args()
    found = measure(options.depth, options)
    if options.json:
        print(json.dumps({"machine": machine(), "rounds": options.rounds, **found}))
        return
    for name, row in found["rows"].items():
        print(
            f"{name:18}  int8.py {row['int8.py_ms']:8.1f} ms {row['int8.py']:6.3f}  "
            f"verb {row['verb_ms']:8.1f} ms {row['verb']:6.3f}  {row['differ']:+.1%}"
        )
    busy = found["other_programs"]
    print(f"largest difference: {found['worst']:.1%} (at most {BAR:.0%})")
    print(f"other programs used {busy['cores']} of {busy['of']} cores")


if __name__ == "__main__":
    main()
