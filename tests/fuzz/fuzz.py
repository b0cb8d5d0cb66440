"""Fuzz everything that reads files: `python tests/fuzz/fuzz.py --inputs 2000`.

Each reader gets damaged copies of small valid files. An input must be read or refused with an
error of the package, in one line, within ten seconds and two gigabytes. Those that are not are
kept, and the same seed makes them again.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent

BATCH = 250
"""Inputs of one process."""

_FINE = ("read", "refused")


class Result(NamedTuple):
    """Outcomes of the inputs of a reader.

    Attributes:
        outcomes: how many inputs came to each outcome.
        knowing: how many were damaged by their structure.
        failures: reports of those that were neither read nor refused.
    """

    outcomes: collections.Counter[str]
    knowing: int
    failures: list[dict[str, Any]]


def fuzz(
    name: str, inputs: int, *, seed: int = 0, without_bound: bool = False, keep: Path | None = None
) -> Result:
    """Give a reader that many inputs."""
    from readers import READERS

    result = Result(collections.Counter(), 0, [])
    knowing = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "seeds").mkdir()
        files = [_copied(path, folder / "seeds") for path in READERS[name].seeds(folder / "seeds")]
        (folder / "seeds.txt").write_text("\n".join(map(str, files)))
        contents = {path: path.read_bytes() for path in files}
        number = 0
        while number < inputs:
            for path, content in contents.items():  # a process that was killed left its input
                path.write_bytes(content)
            stop = min(number + BATCH, inputs)
            for report in _batch(name, folder, seed, number, stop, without_bound):
                number = report["end"] + 1
                result.outcomes[report["outcome"]] += 1
                knowing += report["knowing"]
                if report["outcome"] not in _FINE:
                    result.failures.append(report)
                    if keep is not None:
                        _keep(keep, name, seed, report, contents)
    return result._replace(knowing=knowing)


def _copied(path: Path, folder: Path) -> Path:
    """Return the file in the folder; seeds that belong to the package are copied there."""
    if path.parent == folder:
        return path
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    return copy


def _batch(
    name: str, folder: Path, seed: int, first: int, stop: int, without_bound: bool
) -> list[dict[str, Any]]:
    """Return the reports of one process, the last of which may say how it ended."""
    command = [sys.executable, str(HERE / "worker.py"), name, str(folder), str(seed)]
    command += [str(first), str(stop), "without-bound" if without_bound else "bound"]
    path = os.pathsep.join((str(HERE), str(HERE.parent / "helpers")))
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    reports = [line for line in lines if "end" in line]
    if done.returncode == 0:
        return reports
    begun = [line["begin"] for line in lines if "begin" in line]
    if not begun:
        raise RuntimeError(f"{name}: the valid files cannot be read: {done.stderr[-2000:]}")
    how = "hang" if done.returncode == -14 else f"crash ({done.returncode})"
    last = {"end": begun[-1], "file": "?", "knowing": False, "outcome": how, "seconds": 0.0}
    return [*reports, {**last, "trace": done.stderr[-4000:]}]


def _keep(
    folder: Path, name: str, seed: int, report: dict[str, Any], contents: dict[Path, bytes]
) -> None:
    """Write a failing input and its report."""
    from worker import make_input

    rng = random.Random(f"{name} {seed} {report['end']}")
    source = Path(rng.choice(sorted(map(str, contents))))
    content, _ = make_input(source, rng)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{seed}-{report['end']}"
    (folder / f"{stem}{source.suffix}").write_bytes(content)
    text = f"{report['outcome']}\n{report['trace']}\n"
    (folder / f"{stem}.trace.txt").write_text(text, errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz and print a table; return 1 if an input failed."""
    from readers import READERS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", action="append", choices=list(READERS), help="default: all")
    parser.add_argument("--inputs", type=int, default=2000, help="of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="failing inputs")
    parser.add_argument(
        "--without-bound", action="store_true", help="remove a check, which must be found"
    )
    options = parser.parse_args(arguments)
    failed = 0
    print(f"{'reader':12} {'inputs':>7} {'by structure':>12} {'read':>7} {'refused':>8}  failures")
    for name in options.reader or READERS:
        result = fuzz(
            name,
            options.inputs,
            seed=options.seed,
            without_bound=options.without_bound,
            keep=options.keep,
        )
        failed += len(result.failures)
        total = sum(result.outcomes.values())
        others = {each: n for each, n in result.outcomes.items() if each not in _FINE}
        print(
            f"{name:12} {total:7} {result.knowing:12} {result.outcomes['read']:7} "
            f"{result.outcomes['refused']:8}  "
            + (", ".join(f"{n} {each}" for each, n in others.items()) or "none"),
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]
    sys.exit(main())
