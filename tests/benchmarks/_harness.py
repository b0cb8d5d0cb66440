"""Timing shared by the benchmarks: side by side, in one process, as ratios."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

LIBRARIES = (
    "numpy", "opencv-python-headless", "opencv-python", "torch", "torchvision", "onnxruntime",
    "openvino", "mindspore",
)  # fmt: skip


def interleaved(
    functions: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Time functions in rounds, each once per round.

    What slows the machine for a while then slows all of them, and their ratios stay. The order
    changes from round to round, because a function finds in the caches what its predecessor left.

    Returns:
        The times of each function in milliseconds, one per round. A first round is not counted.
    """
    order = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name in order.sample(list(functions), len(functions)):
            start = time.perf_counter_ns()
            functions[name]()
            times[name].append((time.perf_counter_ns() - start) / 1e6)
    return {name: values[1:] for name, values in times.items()}


def machine() -> dict[str, object]:
    """Return the machine of a measurement: processor, cores, Python and the libraries compared."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "libraries": versions,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):  # x86, and ARM boards
            return value.strip()
    return platform.processor() or "unknown"
