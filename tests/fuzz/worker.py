"""A batch of damaged inputs, read one after another in a process of its own.

It prints a line before each input, so that the process that started it knows which one ended it,
and a line with the outcome after it.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

SECONDS = 10
"""Longest time that an input may take."""

MEMORY = 2 << 30
"""Most bytes that reading an input may add to the process."""


def make_input(seed_file: Path, rng: random.Random) -> tuple[bytes, bool]:
    """Return a damaged copy of a file, and whether the damage knew its structure."""
    from damage import damaged
    from readers import structured

    data = seed_file.read_bytes()
    change = structured(seed_file)
    if change is None or rng.random() < 0.4:
        return damaged(data, rng), False
    changed = change(data, rng)
    return changed, True


def main(name: str, folder: Path, seed: int, numbers: range, *, without_bound: bool) -> None:
    """Read the inputs of these numbers."""
    from readers import READERS

    from r2p_edge.errors import R2PError

    reader = READERS[name]
    seeds = sorted(folder.joinpath("seeds.txt").read_text().split("\n"))
    warnings.simplefilter("ignore")
    for path in seeds:  # what is loaded with the first file counts for none
        reader.read(Path(path))
    if without_bound:
        reader.bound()
    _limit_memory()
    for number in numbers:
        rng = random.Random(f"{name} {seed} {number}")
        source = Path(rng.choice(seeds))
        content, knowing = make_input(source, rng)
        original = source.read_bytes()
        source.write_bytes(content)
        print(json.dumps({"begin": number}), flush=True)
        signal.alarm(SECONDS)
        start, outcome, trace = time.monotonic(), "read", ""
        try:
            reader.read(source)
        except R2PError as error:
            outcome = "refused"
            if "\n" in str(error):
                outcome, trace = "several lines", str(error)
        except MemoryError:
            outcome, trace = "memory", traceback.format_exc()
        except Exception as error:
            outcome, trace = type(error).__name__, traceback.format_exc()
        signal.alarm(0)
        source.write_bytes(original)
        report = {
            "end": number,
            "file": source.name,
            "knowing": knowing,
            "outcome": outcome,
            "seconds": round(time.monotonic() - start, 3),
            "trace": trace,
        }
        print(json.dumps(report), flush=True)


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


if __name__ == "__main__":
    reader_name, where, seed_text, first, last, bound = sys.argv[1:]
    main(
        reader_name,
        Path(where),
        int(seed_text),
        range(int(first), int(last)),
        without_bound=bound == "without-bound",
    )
