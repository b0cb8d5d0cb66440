"""One row of a benchmark: a model in a process of its own, which answers clips when it is asked."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._isolated import Child
from r2p_edge.benchmark.asked import Asked, AskedForClips, AskedForFrames
from r2p_edge.benchmark.candidates import Candidate
from r2p_edge.benchmark.processes import be_ended_first, memory_in_use
from r2p_edge.errors import R2PError, UsageError, shown_as
from r2p_edge.per_frame.state import BorderKind
from r2p_edge.predictor import Predictor
from r2p_edge.runtimes import runtime_type
from r2p_edge.spec import ModelSpec
from r2p_edge.two_stream_calls import JOINT

_Request = dict[str, Any]


def contend(
    report: Callable[[dict[str, Any]], None],
    model: str,
    threads: int | None,
    options: dict[str, Any],
    per_frame: bool = False,
    border: BorderKind | None = None,
) -> None:
    """Open a model and do what each line of stdin asks; called in a process of its own.

    First it reports {"device", "precision", "library_ms", "load_ms", "first_answer_ms", "batch"}.
    Then it reports for {"clip": .npy file} what `Asked.answer` does, for {"memory": True}
    {"peak_mib", "above_runtime_mib"}, and for {"clip", "clients", "seconds"} {"clips_per_s",
    "clients"}.

    Args:
        report: sends the answers.
        model: the file.
        threads: see `Predictor`.
        options: further arguments of `Predictor`, its spec as plain JSON types.
        per_frame: ask its per-frame form.
        border: of that, see `FrameState`.
    """
    be_ended_first()
    if "spec" in options:
        options["spec"] = ModelSpec.from_dict(options["spec"])
    started = time.perf_counter()
    for name in options["runtime"].split(JOINT):  # that of each stream
        runtime_type(name).library()
    imported, bare = time.perf_counter(), memory_in_use()
    with Predictor(model, threads=threads, **options) as predictor:
        asked = _asked(predictor, per_frame, border)
        loaded = time.perf_counter()
        asked.start()
        answered = time.perf_counter()
        asked.start()  # the second answer may still prepare something
        report(
            {
                "device": predictor.device,
                "precision": predictor.precision,
                "batch": asked.batch,
                "library_ms": 1e3 * (imported - started),
                "load_ms": 1e3 * (loaded - imported),
                "first_answer_ms": 1e3 * (answered - loaded),
            }
        )
        for line in sys.stdin:
            request = json.loads(line)
            if "memory" in request:
                peak = memory_in_use(peak=True)
                above = None if peak is None or bare is None else peak - bare
                report({"peak_mib": peak, "above_runtime_mib": above})
                continue
            clip = np.load(request["clip"])
            if "clients" in request:

                def another() -> Predictor:
                    return Predictor(model, threads=1, **options)

                found = _side_by_side(
                    another,
                    lambda each: _asked(each, per_frame, border),
                    predictor,
                    clip,
                    request["clients"],
                    request["seconds"],
                )
                report(found)
                continue
            report(asked.answer(clip))


def _asked(predictor: Predictor, per_frame: bool, border: BorderKind | None) -> Asked:
    return AskedForFrames(predictor, border) if per_frame else AskedForClips(predictor)


def _side_by_side(
    another: Callable[[], Predictor],
    asked: Callable[[Predictor], Asked],
    predictor: Predictor,
    clip: npt.NDArray[np.uint8],
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    """Let several clients ask at once for some seconds; return the clips a second of all.

    Each has a model of one thread for itself. A runtime that computes with more threads only is
    asked by all clients together.

    Args:
        another: opens the model with one thread.
        asked: returns what a client asks of a model.
        predictor: the model that is open.
        clip: what it is asked for.
        clients: number of them.
        seconds: how long they ask.
    """
    with contextlib.ExitStack() as stack:
        try:
            models = [stack.enter_context(another()) for _ in range(clients)]
        except UsageError:
            models = [predictor] * clients
        each_asks = [asked(each) for each in models]
        for each in each_asks:
            each.answer(clip)
        with ThreadPoolExecutor(clients) as pool:
            rates = pool.map(lambda each: each.repeat(clip, seconds), each_asks)
            return {"clips_per_s": sum(rates), "clients": clients}


class Contender:
    """A row that is being measured.

    Attributes:
        candidate: the row.
        opened: what its process answered first; None until it has.
        error: the reason for which it is out of the race; None while it is in it.
        times: milliseconds of its answers.
        frame_times: milliseconds of a frame that is not answered, for each of them; empty for one
            that is asked for whole clips.
        scores: its answers, a list of scores each.
        memory: what it answered about its memory; None until it has.
        throughputs: clips a second with all cores, of each turn.
        clients: number of clients in these turns; 0 before them.
        overload: the reason for which there are none, where it had answered one client well.
    """

    def __init__(
        self, candidate: Candidate, *, threads: int | None, timeout: float, scratch: Path
    ) -> None:
        """Make a row.

        Args:
            candidate: what is measured.
            threads, timeout: see `benchmark`.
            scratch: temporary folder, which errors do not name.
        """
        self.candidate = candidate
        self._threads, self._timeout, self._scratch = threads, timeout, scratch
        self._process: Child | None = None
        self.opened: dict[str, Any] | None = None
        self.error: R2PError | None = None
        self.times: list[float] = []
        self.frame_times: list[float] = []
        self.scores: list[list[float]] = []
        self.memory: dict[str, Any] | None = None
        self.throughputs: list[float] = []
        self.clients = 0
        self.overload: R2PError | None = None

    @property
    def pid(self) -> int | None:
        """Number of its process; None where there is none."""
        return None if self._process is None else self._process.pid

    def open(self) -> None:
        """Start the process and open the model there."""
        each = self.candidate
        options: dict[str, Any] = {
            "runtime": each.runtime,
            "device": each.device,
            "precision": each.precision,
        }
        if each.artifact.carrier == "argument":
            options["spec"] = each.artifact.spec.to_dict()

        def start() -> dict[str, Any]:
            self._process = Child(
                f"{__name__}:contend",
                {
                    "model": str(each.artifact.path),
                    "threads": self._threads,
                    "options": options,
                    "per_frame": each.per_frame,
                    "border": each.border,
                },
            )
            return self._process.hear(timeout=self._timeout)  # type: ignore[no-any-return]

        self.opened = self._safely(start)

    def answer(self, clip: Path) -> None:
        """Answer the clip in a .npy file, and note the time."""
        answer = self._ask({"clip": str(clip)})
        if answer is not None:
            self.times.append(answer["ms"])
            self.scores.append(answer["scores"])
            self.frame_times += [answer["frame_ms"]] if "frame_ms" in answer else []

    def weigh(self) -> None:
        """Note the memory that it has taken so far."""
        self.memory = self._ask({"memory": True})

    def serve(self, clip: Path, clients: int, seconds: float) -> None:
        """Answer several clients at once for some seconds, and note the clips a second.

        A failure is no reason to give up what was measured with one client.
        """
        answer = self._ask({"clip": str(clip), "clients": clients, "seconds": seconds})
        if answer is not None:
            self.throughputs.append(answer["clips_per_s"])
            self.clients = clients
        elif self.error is not None:
            self.overload, self.error = self.error, None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _ask(self, request: _Request) -> dict[str, Any] | None:
        process = self._process
        if process is None:
            return None
        return self._safely(lambda: process.ask(request, timeout=self._timeout))

    def _safely(self, act: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Return what `act` returns; None, with `error` set and the process ended, if it fails."""
        try:
            with shown_as(self._scratch, self.candidate.artifact.path.name):
                return act()
        except R2PError as error:
            self.error = error
            self.close()
            return None
