"""The measurement itself: all rows answer one clip after another, in turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from r2p_edge.benchmark.clips import ClipSource
from r2p_edge.benchmark.contender import Contender
from r2p_edge.benchmark.processes import OtherPrograms, memory_left
from r2p_edge.errors import BackendError, OutputError, VideoError
from r2p_edge.runtimes.base import usable_cores

_SETTLE = 0.02  # seconds in which the threads of the model that was asked before fall asleep
_TURNS, _SECONDS = 2, 2.0  # of several clients at once
_SPARE = 1.5  # times the memory of the largest model so far that must be left for another

Progress = Callable[[str, int, int], None]
"""Called with the name of a part of the work, and how many of how many of its steps are done."""


@dataclass
class Course:
    """The course of a race.

    Attributes:
        contenders: all rows; those with an `error` fell out.
        heats: for each of the groups that had room in memory together, its rows.
        truths: class of each clip; None where it is not known.
        cores: number of cores.
        others: how many of them other programs kept busy meanwhile; None where unknown.
    """

    contenders: Sequence[Contender]
    heats: list[list[Contender]] = field(default_factory=list)
    truths: list[str | None] = field(default_factory=list)
    cores: int = field(default_factory=usable_cores)
    others: float | None = None


def race(
    contenders: Sequence[Contender], clips: ClipSource, scratch: Path, progress: Progress
) -> Course:
    """Measure all rows; where memory is too short for all at once, in several heats.

    Args:
        contenders: the rows.
        clips: what they are asked.
        scratch: temporary folder.
        progress: called as the work goes on.

    Raises:
        VideoError: none of the clips can be read, or not the same ones in each heat.
        BackendError: no row has got to the end.
        OutputError: the temporary folder is full.
    """
    course = Course(contenders)
    waiting = list(contenders)
    with ExitStack() as stack:
        for each in contenders:
            stack.callback(each.close)
        while waiting:
            heat = _opened(waiting, len(contenders), progress)
            course.heats.append(heat)
            watch = OtherPrograms()
            truths = _ask(heat, clips, scratch / "clip.npy", progress)
            if len(course.heats) > 1 and truths != course.truths:
                raise VideoError(
                    "other videos could be read in one turn than in another; see that nothing "
                    "changes them meanwhile"
                )
            course.truths = truths
            _ask_at_once(heat, course.cores, scratch / "clip.npy", progress)
            running = [each.pid for each in heat if each.pid is not None]
            others = watch.cores_in_use(running)
            if others is not None:
                course.others = max(others, course.others or 0.0)
            for each in heat:
                each.close()
    if all(each.error for each in contenders):
        why = "; ".join(
            f"{each.candidate.artifact.path.name} on {each.candidate.runtime}: {each.error}"
            for each in contenders
        )
        raise BackendError(f"nothing could be measured: {why}")
    return course


def _opened(waiting: list[Contender], total: int, progress: Progress) -> list[Contender]:
    """Open the first ones that wait, as many as there is memory for, and return them."""
    heat: list[Contender] = []
    largest = 0.0
    while waiting:
        left = memory_left()
        if largest and left is not None and left < _SPARE * largest:
            break
        each = waiting.pop(0)
        each.open()
        each.weigh()
        largest = max(largest, (each.memory or {}).get("peak_mib") or 0.0)
        heat.append(each)
        progress("opening", total - len(waiting), total)
    return heat


def _ask(
    heat: Sequence[Contender], clips: ClipSource, file: Path, progress: Progress
) -> list[str | None]:
    """Ask each one for each clip; return the classes of the clips."""
    order, truths = random.Random(0), []
    for number, (clip, label) in enumerate(clips, 1):
        _save(clip, file)
        # Each finds in the caches what its predecessor has left.
        racing = [each for each in heat if each.error is None]
        for each in order.sample(racing, len(racing)):
            time.sleep(_SETTLE)
            each.answer(file)
        truths.append(label)
        progress("asking for clips", number, clips.count)
    for each in heat:
        each.weigh()
    return truths


def _ask_at_once(heat: Sequence[Contender], cores: int, file: Path, progress: Progress) -> None:
    """Ask each one on the CPU with as many clients as there are cores."""
    counts = {each: _clients(each, cores) for each in heat}
    able = [each for each in heat if counts[each] > 1 and each.error is None]
    for turn in range(_TURNS):
        for number, each in enumerate(able, 1):
            time.sleep(_SETTLE)
            each.serve(file, counts[each], _SECONDS)
            progress("all cores", turn * len(able) + number, _TURNS * len(able))


def _clients(contender: Contender, cores: int) -> int:
    """Return how many clients with a model each there is memory for, at most one per core."""
    if contender.opened is None or "cpu" not in contender.opened["device"].split(","):
        return 0
    left, memory = memory_left(), contender.memory or {}
    needed = memory.get("above_runtime_mib")
    if left is None or not needed:
        return cores
    return min(cores, int(left / needed))


def _save(clip: npt.NDArray[np.uint8], file: Path) -> None:
    try:
        np.save(file, clip)
    except OSError as error:
        raise OutputError(
            f"{file.parent} cannot be written to ({error.strerror or error}); make room there, or "
            "set TMPDIR to another folder"
        ) from error
