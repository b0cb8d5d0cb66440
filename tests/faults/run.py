"""Spoil every write of a verb: kill the program at it, fill the disk, forbid the folder.

    python tests/faults/run.py [VERB ...] [--every N] [--actions NAME,...] [--new | --over] [--all]

`--jobs N` sets how many verbs are swept at the same time. Of calls that are alike, such as those
that write one video after the other, the first and the last are spoilt: each is killed before and
after it and finds the disk full, and the other faults take turns. `--all` spoils each in each way.

The calls that change files are listed by a trace of an undisturbed run, with a library that is
preloaded into it and its children (shim.c). The program then runs once for each fault, and once
again undisturbed: no file may be half under its final name, every model and manifest in the folder
must open, and the second run must give the same bytes and leave no temporary files. The exit code
is 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

for folder in ("helpers", "standins"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

import shim  # noqa: E402
from spoil import ACTIONS, counted, spoil  # noqa: E402
from verbs import PROBES, SLOW, VERBS  # noqa: E402


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verbs", nargs="*", choices=[*VERBS, *PROBES, []], metavar="VERB")
    parser.add_argument("--every", type=int, default=1, help="spoil every Nth call (default: 1)")
    parser.add_argument("--all", action="store_true", help="spoil each call, in each way")
    parser.add_argument("--actions", default=",".join(ACTIONS), help="of: %(default)s")
    parser.add_argument("--new", action="store_true", help="into a new folder only")
    parser.add_argument("--over", action="store_true", help="over earlier results only")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="verbs at once (default: %(default)s)"
    )
    options = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        with ThreadPoolExecutor(options.jobs) as pool:
            names = sorted(options.verbs or VERBS, key=lambda name: name not in SLOW)
            return sum(pool.map(preloaded, names)) and 1
    (name,) = options.verbs
    over = tuple(
        earlier for earlier, others in ((False, options.over), (True, options.new)) if not others
    )
    begun, faults, wrong = time.monotonic(), [], 0
    control, work = Path(os.environ["R2P_FAULTS"]), Path(os.environ["R2P_FAULTS"]).parent / "work"
    work.mkdir()
    for fault, what in spoil(
        name, control, work, options.every, over, options.actions.split(","), options.all
    ):
        faults.append(fault)
        if what:
            wrong += 1
            print(f"{fault}: {what}", flush=True)
    tried = ", ".join(f"{action} {count}" for action, count in counted(faults).items())
    print(f"{name}: {tried}; {wrong} wrong, {time.monotonic() - begun:.0f} s", flush=True)
    return 1 if wrong else 0


def preloaded(verb: str) -> int:
    """Run this command for one verb in a process with the library; return its exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        shim.open_control(folder / "control")
        environment = shim.environment(shim.build(folder), folder / "control")
        options = [word for word in sys.argv[1:] if word not in {**VERBS, **PROBES}]
        return subprocess.call([sys.executable, __file__, verb, *options], env=environment)


if __name__ == "__main__":
    sys.exit(main())
