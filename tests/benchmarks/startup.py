"""Cost of starting: importing r2p_edge over NumPy, and a loaded `Predictor` over the bare runtime.

    python tests/benchmarks/startup.py [--json] [--runs 7]

Import: seconds that `import r2p_edge` takes after `import numpy`, as `python -X importtime` counts
them, and the packages that it brings in besides NumPy and the standard library. Memory: an
R(2+1)D-18 of full size with random weights, loaded and run once in a process of its own: by ONNX
Runtime with the session options of `Predictor`, and by `Predictor`. PSS counts a page that several
processes share in parts, RSS counts it whole. Memory is the median of fresh processes; the time is
the least of them, because whatever else the machine does only adds to it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _harness import machine

BARS = {"import_s": 0.05, "memory_mb": 30.0}

PACKAGES = """
import json, sys
import numpy
before = set(sys.modules)
import r2p_edge
added = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(added - set(sys.stdlib_module_names) - {"numpy", "r2p_edge"})))
"""

MEMORY = """
import json
kib = {}
with open("/proc/self/smaps_rollup") as file:
    for line in file:
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            kib[name.lower()] = int(value.split()[0])
print(json.dumps(kib))
"""

RUNTIME = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"frames": np.full((1, 16, 112, 112, 3), 128, np.uint8)})
"""

PREDICTOR = """
import sys
from r2p_edge import Predictor
predictor = Predictor(sys.argv[1], runtime="onnxruntime", threads=int(sys.argv[2]))
predictor.warmup()
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python process of its own to its end."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def import_seconds() -> float:
    """Return the seconds of `import r2p_edge` in a process that has imported NumPy."""
    done = python("-X", "importtime", "-c", "import numpy; import r2p_edge")
    lines = [line.split("|") for line in done.stderr.splitlines()]
    (microseconds,) = (int(line[1]) for line in lines if line[-1].strip() == "r2p_edge")
    return microseconds / 1e6


def memory_mb(code: str, path: Path, threads: int) -> dict[str, float]:
    """Return the memory in MB, "rss" and "pss", of a process that has run this code."""
    done = python("-c", code + MEMORY, str(path), str(threads))
    return {name: kib * 1024 / 1e6 for name, kib in json.loads(done.stdout).items()}


def measure(runs: int) -> dict[str, object]:
    """Return every figure."""
    from overhead import model

    from r2p_edge.runtimes.base import usable_cores

    seconds = min(import_seconds() for _ in range(runs))
    found: dict[str, list[dict[str, float]]] = {"runtime": [], "predictor": []}
    with tempfile.TemporaryDirectory() as folder:
        path = model(Path(folder))
        for _ in range(runs):
            found["runtime"].append(memory_mb(RUNTIME, path, usable_cores()))
            found["predictor"].append(memory_mb(PREDICTOR, path, usable_cores()))
    medians = {
        name: {kind: statistics.median(each[kind] for each in values) for kind in ("rss", "pss")}
        for name, values in found.items()
    }
    more = {kind: medians["predictor"][kind] - medians["runtime"][kind] for kind in ("rss", "pss")}
    figures = {"import_s": seconds, "memory_mb": max(more.values())}
    return {
        "machine": machine(),
        "model": "r2plus1d_18, 16x112x112, fp32, onnxruntime",
        "runs": runs,
        "packages": json.loads(python("-c", PACKAGES).stdout),
        "memory_mb": {
            name: {kind: round(value, 1) for kind, value in values.items()}
            for name, values in {**medians, "difference": more}.items()
        },
        "figures": {
            name: {"value": round(figures[name], 4), "bar": bar, "met": figures[name] <= bar}
            for name, bar in BARS.items()
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=7, help="processes per figure (default 7)")
    options = parser.parse_args()
    report = measure(options.runs)
    if options.json:
        print(json.dumps(report))
        return
    print(f"packages besides NumPy: {', '.join(report['packages']) or 'none'}")
    for name, value in report["memory_mb"].items():
        print(f"{value['rss']:8.1f} MB RSS {value['pss']:8.1f} MB PSS  {name}")
    for name, held in report["figures"].items():
        print(f"{name}: {held['value']:.4g} (at most {held['bar']})")


if __name__ == "__main__":
    main()
