"""Archives: `predict --workers auto` against one process, and against its work alone.

    python tests/benchmarks/archive.py [--json] [--clips 2000] [--folder DIR] [--rounds 1]

Generated clips and the bundled model. `one` is `predict DIR --json --threads 1`, which reads and
answers in turns; `auto` is `predict DIR --out results.csv --workers auto --resume`, in an empty
folder. `alone` is the processor time that reading the clips (decoding, preprocessing) and running
the model on them take in one thread each, without a table, divided by the cores. `together` is the
same work in as many processes as there are cores, each with its share of the clips: cores that
compute at the same time share memory and heat, so that it takes longer than `alone`. All take turns
for `--rounds` rounds; the first two are timed from the start of their process to its end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier

from _harness import machine

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.export.build import build
from r2p_edge.runtimes.base import usable_cores
from r2p_edge.video.clip_reader import ClipReader

BARS = {
    "one / auto": ("at least", 1.6),
    "auto / alone": ("at most", 1.05),
    "auto / together": ("at most", 1.05),
}


def write_clips(folder: Path, count: int) -> list[Path]:
    """Write the clips that are not there yet; return all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            motion.write_video(motion.scene("test", number), path)
    return paths


def work(model: Path, paths: list[Path], start: Barrier | None = None) -> tuple[float, float]:
    """Read clips and run the model on them; return when the work began, and its processor time."""
    with Predictor(model, threads=1) as predictor:
        reader = ClipReader(predictor.spec)
        predictor.warmup()
        if start is not None:
            start.wait()
        begun, used = time.time(), time.process_time()
        for path in paths:
            predictor.scores(reader.read(path).pixels)
        return begun, time.process_time() - used


def together_seconds(model: Path, paths: list[Path]) -> float:
    """Return how long the work takes in a process for each core, from its start to the last end."""
    cores, context = usable_cores(), multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(cores) as pool:
        start = manager.Barrier(cores)
        shares = [(model, paths[core::cores], start) for core in range(cores)]
        begun = min(begun for begun, _ in pool.starmap(work, shares, chunksize=1))
        return time.time() - begun


def seconds(*words: object) -> float:
    """Return how long a command of `r2p-edge predict` takes."""
    command = [sys.executable, "-m", "r2p_edge", "predict", *map(str, words)]
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def measure(clips: Path, count: int, rounds: int) -> dict[str, object]:
    """Return the medians of the four in seconds, and their ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (artifact,) = build("motion", targets=["onnx"], out=folder / "model").built
        model, paths = artifact.path, write_clips(clips, count)

        def auto() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                results = Path(out) / "results.csv"
                return seconds(model, clips, "--out", results, "--workers", "auto", "--resume")

        functions: dict[str, Callable[[], float]] = {
            "one": lambda: seconds(model, clips, "--json", "--threads", 1),
            "auto": auto,
            "alone": lambda: work(model, paths)[1] / usable_cores(),
            "together": lambda: together_seconds(model, paths),
        }
        found: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(rounds):
            for what, function in functions.items():
                found[what].append(function())
    medians = {what: statistics.median(times) for what, times in found.items()}
    ratios = {name: medians[name.split()[0]] / medians[name.split()[2]] for name in BARS}
    return {
        "machine": machine(),
        "clips": count,
        "cores": usable_cores(),
        "seconds": medians,
        "ratios": {
            name: {"ratio": ratio, "bar": " ".join(map(str, BARS[name]))}
            for name, ratio in ratios.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="folder of the clips, which is kept")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name) / "clips"
        report = measure(folder, options.clips, options.rounds)
    if options.json:
        print(json.dumps(report))
        return
    print(report["machine"])
    for what, value in report["seconds"].items():
        print(f"{what:8} {value:8.1f} s, {options.clips / value:7.1f} clips/s")
    for what, held in report["ratios"].items():
        print(f"{what}: {held['ratio']:.3f} ({held['bar']})")


if __name__ == "__main__":
    main()
