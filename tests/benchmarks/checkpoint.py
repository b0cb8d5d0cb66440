"""Reading a PyTorch checkpoint: our reader, which needs no PyTorch, against `torch.load`.

    python tests/benchmarks/checkpoint.py [--json] [--rounds 15]

The file is a state dict of an R(2+1)D-18 of full size with random weights, in both formats of
`torch.save`. "read" returns its arrays; "whole" is `read_checkpoint`, which names the file by its
sha256 too. Times are medians of interleaved rounds in one process. Memory is how much the peak of a
fresh process grows while it reads, after its imports and a small file; the median of five.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _harness import interleaved, machine

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from networks import random_parameters

from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.torch import read_torch_file

BARS = {"time": 1.5, "memory": 1.3}

MEMORY = """
import sys
small, whole = sys.argv[1:]
{importing}
def peak():
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6
kept = read(small)
before = peak()
kept = read(whole)
print(peak() - before)
"""
IMPORTING = {
    "torch.load": "import torch\nread = torch.load",
    "read": (
        "from r2p_edge.export.checkpoints.torch import read_torch_file\n"
        "read = lambda path: read_torch_file(open(path, 'rb')).arrays"
    ),
    "whole": "from r2p_edge.export.checkpoints.read import read_checkpoint as read",
}


def read(path: Path) -> object:
    """Read the arrays of a file."""
    with path.open("rb") as file:
        return read_torch_file(file).arrays


def memory_mb(name: str, small: Path, whole: Path) -> float:
    """Return by how many MB the peak of a process grows while it reads a file."""
    code = MEMORY.format(importing=IMPORTING[name])
    command = [sys.executable, "-c", code, str(small), str(whole)]
    grown = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(5)
    ]
    return statistics.median(grown)


def measure(rounds: int) -> dict[str, Any]:
    """Return every figure."""
    figures: dict[str, Any] = {}
    tensors = {name: torch.from_numpy(array) for name, array in random_parameters().items()}
    with tempfile.TemporaryDirectory() as folder:
        small, whole = Path(folder, "small.pth"), Path(folder, "whole.pth")
        torch.save({"fc.bias": torch.zeros(3)}, small)
        for form, zipped in (("zip", True), ("legacy", False)):
            torch.save(tensors, whole, _use_new_zipfile_serialization=zipped)
            ways = {
                "torch.load": partial(torch.load, whole),
                "read": partial(read, whole),
                "whole": partial(read_checkpoint, whole),
            }
            times = {n: statistics.median(t) for n, t in interleaved(ways, rounds).items()}
            memory = {name: memory_mb(name, small, whole) for name in ways}
            figures[form] = {
                "bytes": whole.stat().st_size,
                "ms": {name: round(value, 1) for name, value in times.items()},
                "time": round(times["read"] / times["torch.load"], 3),
                "time, whole": round(times["whole"] / times["torch.load"], 3),
                "mb": {name: round(value, 1) for name, value in memory.items()},
                "memory": round(memory["read"] / memory["torch.load"], 3),
            }
    return {"machine": machine(), "rounds": rounds, "figures": figures, "bars": BARS}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    report = measure(options.rounds)
    if options.json:
        print(json.dumps(report))
        return
    for form, found in report["figures"].items():
        print(f"{form}, {found['bytes'] / 1e6:.0f} MB:")
        for name in ("torch.load", "read", "whole"):
            print(f"  {name:10} {found['ms'][name]:7.1f} ms, {found['mb'][name]:6.1f} MB")
        print(
            f"  read over torch.load: time {found['time']:.2f} (at most {BARS['time']}), memory "
            f"{found['memory']:.2f} (at most {BARS['memory']}); with sha256 "
            f"{found['time, whole']:.2f}"
        )


if __name__ == "__main__":
    main()
