"""Cost of starting: importing r2p_edge over NumPy, and a loaded `Predictor` over the bare runtime.

    python tests/benchmarks/startup.py [--json] [--runs 7]

Import: the packages that all names of r2p_edge bring in besides NumPy and the standard library,
and the seconds of processor time, after `import numpy`, of `import r2p_edge`, which by itself
imports next to nothing, and of `from r2p_edge import Predictor`. Both are measured with bytecode,
as pip leaves it, and with r2p_edge compiled anew, as where PYTHONDONTWRITEBYTECODE was set before
any was written. The bars are for `import r2p_edge` compiled anew and for `Predictor` with bytecode.

Memory: an R(2+1)D-18 of full size with random weights, loaded and run once in a process of its own:
by ONNX Runtime with the session options of `Predictor`, and by `Predictor`. PSS counts a page that
several processes share in parts, RSS counts it whole. Memory is the median of fresh processes; the
time is the least of them, because whatever else the machine does only adds to it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _harness import machine

BARS = {"import_s": 0.05, "predictor_s": 0.05, "memory_mb": 30.0}

STATEMENTS = ("import r2p_edge", "from r2p_edge import Predictor")

SECONDS = """
import time
import numpy
start = time.process_time()
{statement}
print(time.process_time() - start)
"""

PACKAGES = """
import json, sys
import numpy
before = set(sys.modules)
from r2p_edge import *
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


def python(*arguments: str, **environment: str) -> str:
    """Return what a Python process of its own prints, with these variables added."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def import_seconds(runs: int) -> dict[str, dict[str, float]]:
    """Return the least seconds of each of `STATEMENTS`, "compiled" and from "source"."""
    import r2p_edge

    seconds: dict[str, dict[str, float]] = {statement: {} for statement in STATEMENTS}
    with tempfile.TemporaryDirectory() as cache:
        # Bytecode of its own: what the checkout has of it depends on the caller's settings.
        variables = {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        python("-c", "from r2p_edge import *", **variables)
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
        for state in ("compiled", "source"):
            if state == "source":
                shutil.rmtree(Path(cache, *Path(r2p_edge.__file__).parent.parts[1:]))
            for statement in STATEMENTS:
                code = SECONDS.format(statement=statement)
                seconds[statement][state] = min(
                    float(python("-c", code, **variables)) for _ in range(runs)
                )
    return seconds


def memory_mb(code: str, path: Path, threads: int) -> dict[str, float]:
    """Return the memory in MB, "rss" and "pss", of a process that has run this code."""
    printed = python("-c", code + MEMORY, str(path), str(threads))
    return {name: kib * 1024 / 1e6 for name, kib in json.loads(printed).items()}


def measure(runs: int) -> dict[str, object]:
    """Return every figure."""
    from overhead import model

    from r2p_edge.runtimes.base import usable_cores

    seconds = import_seconds(runs)
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
    figures = {
        "import_s": seconds["import r2p_edge"]["source"],
        "predictor_s": seconds["from r2p_edge import Predictor"]["compiled"],
        "memory_mb": max(more.values()),
    }
    return {
        "machine": machine(),
        "model": "r2plus1d_18, 16x112x112, fp32, onnxruntime",
        "runs": runs,
        "packages": json.loads(python("-c", PACKAGES)),
        "seconds": {
            statement: {state: round(value, 4) for state, value in values.items()}
            for statement, values in seconds.items()
        },
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
    for statement, value in report["seconds"].items():
        print(f"{value['compiled']:8.4f} s {value['source']:8.4f} s compiled anew  {statement}")
    for name, value in report["memory_mb"].items():
        print(f"{value['rss']:8.1f} MB RSS {value['pss']:8.1f} MB PSS  {name}")
    for name, held in report["figures"].items():
        print(f"{name}: {held['value']:.4g} (at most {held['bar']})")


if __name__ == "__main__":
    main()
