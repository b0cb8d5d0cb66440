"""The sweep: a program is run once for each fault, in a process that forks, and looked at."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import shim
from checks import Tree, complaints, leftovers, tree
from verbs import NEW, OLD, PROBES, SLOW, VERBS, Verb

ACTIONS = {
    "killed before": shim.KILL_BEFORE,
    "killed after": shim.KILL_AFTER,
    "disk full": shim.FULL,
    "read-only": shim.READ_ONLY,
    "forbidden": shim.FORBIDDEN,
    "broken": shim.BROKEN,
    "clock back": shim.CLOCK_BACK,
}
_KILLS, _FULL = ("killed before", "killed after"), "disk full"
_ERRORS = ("disk full", "read-only", "forbidden", "broken")
_RANDOM = re.compile(r"[0-9a-f]{8,}")  # in the names of temporary files and folders


def alike(step: str) -> str:
    """Return a call without what tells its file from others that the same lines write."""
    folder, _, name = _RANDOM.sub("*", step).rpartition("/")
    return f"{folder}/{re.sub('[^.]+', '*', name, count=1)}"


def in_turn(turn: int, over: bool, actions: tuple[str, ...], *, slow: bool) -> list[str]:
    """Return the actions for a call: kills, a full disk, and one of the other errors in turn.

    A slow verb is killed in a new folder, after each call and before the first: a kill before any
    other call leaves the files that one after the call before it leaves. Over earlier results every
    second call of it meets one error.
    """
    kills = [action for action in actions if action in _KILLS]
    errors = [action for action in actions if action not in _KILLS]
    if not slow:
        others = [action for action in errors if action != _FULL]
        in_time = [others[turn % len(others)]] if others else []
        return [*kills, *(action for action in errors if action == _FULL), *in_time]
    if not over:
        return kills if turn == 0 else kills[-1:]
    return [errors[turn // 2 % len(errors)]] if errors and turn % 2 == 0 else []


def chosen(steps: list[str]) -> list[int]:
    """Return the places of the calls to spoil: of those that are alike the first and the last."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, step in enumerate(steps):
        first.setdefault(alike(step), number)
        last[alike(step)] = number
    return sorted({*first.values(), *last.values()})


class Run(NamedTuple):
    """A run in a process of its own: how it ended, and what it printed on stderr."""

    code: int
    errors: str


class Sweep:
    """A verb, and folders of its own.

    Args:
        verb: the program.
        control: the control block of the preloaded library.
        work: an empty folder.
        slow: True for a verb whose runs take several seconds; see `in_turn`.
    """

    def __init__(self, verb: Verb, control: shim.Control, work: Path, *, slow: bool) -> None:
        self._verb, self._control, self._slow = verb, control, slow
        self._inputs, self._out, self._scratch, self._kept = (
            work / name for name in ("inputs", "out", "scratch", "kept")
        )
        self._errors = work / "errors.txt"
        for folder in (self._inputs, self._scratch, self._kept):
            folder.mkdir()
        control.watch(self._out, self._scratch)

    def forked(self, action: Callable[[], int]) -> Run:
        """Run a function in a process of its own, which leads a group."""
        with self._errors.open("w+b") as errors:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    os.setpgid(0, 0)
                    os.dup2(errors.fileno(), 2)
                    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                    code = action()
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            # What a program that was killed has started may still write.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            errors.seek(0)
            return Run(os.waitstatus_to_exitcode(status), errors.read().decode(errors="replace"))

    def run(self, action: int = shim.TRACE, at: int = -1) -> Run:
        """Run the program on the new model, spoilt by an action at a call."""

        def armed() -> int:
            self._control.group = os.getpid()
            self._control.arm(action, at)
            return self._verb.run(self._inputs, self._out, NEW)

        try:
            return self.forked(armed)
        finally:
            self._control.disarm()

    def _tree(self) -> Tree:
        return tree(self._out, self._verb.content)

    def begin(self, over: bool) -> Tree:
        """Bring the folders into the state before a run; return the files of the results."""
        for folder in (self._out, self._scratch):
            shutil.rmtree(folder, ignore_errors=True)
        self._scratch.mkdir()
        if over:
            shutil.copytree(self._kept, self._out, dirs_exist_ok=True)
        self._verb.place(self._inputs, self._out, NEW)
        return self._tree() if self._out.exists() else {}

    def prepare(self) -> None:
        """Write what the runs read."""
        os.environ["TMPDIR"] = str(self._scratch)
        made = self.forked(lambda: self._verb.prepare(self._inputs) or 0)
        assert made.code == 0, made.errors

    def run_before(self) -> None:
        """Keep the results of an earlier run, with the old model."""

        def earlier() -> int:
            self._verb.place(self._inputs, self._out, OLD)
            return self._verb.run(self._inputs, self._out, OLD)

        done = self.forked(earlier)
        assert done.code == 0, done.errors
        shutil.copytree(self._out, self._kept, dirs_exist_ok=True)

    def sweep(
        self, over: bool, every: int, actions: tuple[str, ...], whole: bool
    ) -> Iterator[tuple[str, str]]:
        """Spoil calls in each way; yield the fault and what was wrong, if anything.

        Args:
            over: begin with the results of an earlier run in the folder.
            every: spoil every `every`th of the calls that are `chosen`.
            actions: names of `ACTIONS`.
            whole: choose all calls, and all actions for each.
        """
        self.begin(over)
        undisturbed = self.run()
        assert undisturbed.code == 0, undisturbed.errors
        steps, wanted = self._control.trace(), self._tree()
        assert not leftovers(self._out, self._scratch), leftovers(self._out, self._scratch)
        numbers = range(len(steps)) if whole else chosen(steps)
        for turn, number in enumerate(numbers[::every]):
            for action in actions if whole else in_turn(turn, over, actions, slow=self._slow):
                before = self.begin(over)
                done = self.run(ACTIONS[action], number)
                found = self._look(action, done, before, wanted)
                again = self.run()
                if again.code != 0:
                    found.append(f"the next run fails: {again.errors.strip()[-300:]}")
                elif self._tree() != wanted:
                    differ = dict(self._tree().items() ^ wanted.items())
                    found.append(f"the next run gives other files: {', '.join(differ)}")
                elif left := leftovers(self._out, self._scratch):
                    found.append(f"the next run leaves {left}")
                yield f"{action} {number} {steps[number]}", "; ".join(found)

    def _look(self, action: str, done: Run, before: Tree, wanted: Tree) -> list[str]:
        """Return what is wrong after a run that was spoilt."""
        if not self._out.exists():
            return []
        found = complaints(self._out, self._scratch, before, wanted, self._verb.content)
        lines = [line for line in done.errors.splitlines() if line.strip()]
        if "Traceback" in done.errors:
            found.append(f"a traceback: {lines[-1]}")
        if str(self._scratch / "r2p_edge-") in done.errors:
            found.append(f"it names a temporary file: {' '.join(lines)[-300:]}")
        if action in _KILLS and done.code != -signal.SIGKILL:
            found.append(f"it was not killed but ended with {done.code}")
        named = {name: digest for name, digest in self._tree().items() if digest is not None}
        if action not in _KILLS and done.code == 0 and named != wanted:
            found.append("it says that all is well, but the files are not those of a whole run")
        if action in _ERRORS and done.code not in (0, 3):
            found.append(f"exit code {done.code}, not 3: {' '.join(lines)[-300:]}")
        if action in ("disk full", "clock back") and (left := leftovers(self._out, self._scratch)):
            found.append(f"it leaves {left}")
        return found


def spoil(
    name: str,
    control: Path,
    work: Path,
    every: int,
    over: tuple[bool, ...],
    actions: list[str],
    whole: bool,
) -> Iterator[tuple[str, str]]:
    """Sweep a verb, in a process with the library preloaded; see `Sweep.sweep`."""
    verb = {**VERBS, **PROBES}[name]
    for module in verb.imports:
        importlib.import_module(module)
    sweep = Sweep(verb, shim.open_control(control), work, slow=name in SLOW)
    sweep.prepare()
    with verb.around():
        sweep.run_before()
        for earlier in over:
            where = "over" if earlier else "new"
            for fault, wrong in sweep.sweep(earlier, every, tuple(actions), whole):
                yield f"{name} ({where}) {fault}", wrong


def counted(faults: list[str]) -> Counter[str]:
    """Return how often each action was tried."""
    return Counter(action for fault in faults for action in ACTIONS if f") {action} " in fault)
