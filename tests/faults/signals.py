"""Ctrl-C and SIGTERM at every stage of a command: one line, its exit code, and nothing behind.

    python tests/faults/signals.py [VERB ...] [--stages N]

A stage is a file that the process opens, from the first module of the command line on: imports,
models, libraries and results. Each runs in a process of its own.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import shim
from checks import complaints, leftovers, tree
from models import brightness_model
from videos import written

ENDS = {
    signal.SIGINT: (130, "r2p-edge: interrupted"),
    signal.SIGTERM: (143, "r2p-edge: terminated"),
}
"""Exit code and line at each signal."""

VERBS = {
    "export": ("export", "MODEL", "--to", "onnx,openvino", "--out", "OUT"),
    "predict": ("predict", "MODEL", "VIDEO"),
    "compare": ("compare", "MODEL", "MODEL", "--num-clips", "1"),
    "info": ("info", "MODEL"),
}
_FIRST = "/r2p_edge/cli/entry"  # before it, signals are Python's


def stages(work: Path, verb: str, count: int) -> Iterator[tuple[str, str]]:
    """Interrupt a verb at `count` stages; yield each stage and what was wrong, if anything."""
    control = shim.open_control(work / "control")
    environment = shim.environment(shim.build(work), work / "control")
    out, scratch = work / "out", work / "scratch"
    places = {
        "MODEL": brightness_model(work / "model.onnx"),
        "VIDEO": written(work / "clip.mp4", [number / 25 for number in range(12)]),
        "OUT": out,
    }
    words = [str(places.get(word, word)) for word in VERBS[verb]]
    command = [sys.executable, "-m", "r2p_edge", *words]

    def run(action: int, at: int, sent: int) -> subprocess.CompletedProcess[str]:
        for folder in (out, scratch):
            shutil.rmtree(folder, ignore_errors=True)
        scratch.mkdir()
        control.group = 0
        control.arm(action, at, signal=sent, reads=True)
        try:
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**environment, "TMPDIR": str(scratch)},
                start_new_session=True,
            ) as process:
                control.group = process.pid
                printed, said = process.communicate()
            return subprocess.CompletedProcess(command, process.returncode, printed, said)
        finally:
            control.disarm()

    done = run(shim.TRACE, -1, 0)
    assert done.returncode == 0, done.stderr
    steps, wanted = control.trace(), tree(out) if out.exists() else {}
    first = next(number for number, step in enumerate(steps) if _FIRST in step) + 1
    for index in range(count):
        at = first + (len(steps) - first) * index // count
        for sent, (code, line) in ENDS.items():
            done = run(shim.SIGNAL, at, sent)
            found = []
            if done.returncode not in (0, code):
                found.append(f"exit code {done.returncode}")
            if done.returncode != 0 and done.stderr.strip() != line:
                found.append(f"it says {done.stderr[-400:]!r}")
            if out.exists():
                found += complaints(out, scratch, {}, wanted)
            if left := [*leftovers(out, scratch)]:
                found.append(f"it leaves {left}")
            yield f"{verb} {sent.name} {at} {steps[at]}", "; ".join(found)


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verbs", nargs="*", metavar="VERB", help=", ".join(VERBS))
    parser.add_argument("--stages", type=int, default=50, help="of each verb (default: 50)")
    options = parser.parse_args()
    wrong = tried = 0
    for verb in options.verbs or VERBS:
        with tempfile.TemporaryDirectory() as work:
            for stage, what in stages(Path(work).resolve(), verb, options.stages):
                tried += 1
                wrong += bool(what)
                if what:
                    print(f"{stage}: {what}", flush=True)
    print(f"{tried} signals, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
