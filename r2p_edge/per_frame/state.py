"""The state of a camera, and the answers on the newest windows of one or several cameras."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import UsageError
from r2p_edge.per_frame.model import PerFrameModel, position_name
from r2p_edge.per_frame.rings import FrameRings
from r2p_edge.prediction import Timing
from r2p_edge.runtimes.part import PartCall, PartMemory, PartModel
from r2p_edge.scores import scores_of_outputs
from r2p_edge.spec import PerFrameSpec
from r2p_edge.spec.per_frame import FRAME_INPUT

BorderKind = Literal["flush", "wait"]
"""How a window ends, whose last features need frames that are still to come: "flush" computes them
as a clip does that ends there, "wait" waits for the frames."""

# An alarm is worth most while something can be done, and waiting takes most of a clip's length.
# Where a motion lasts, the zeros after a window's last frame are also nearer to what the layers
# behind were trained on than the frames that come.
FLUSH: BorderKind = "flush"
"""The default."""


def borders_of(form: PerFrameSpec) -> tuple[BorderKind | None, ...]:
    """Return the borders that a form can be asked with; None alone if it has none."""
    if form.feature is None:
        return (None,)
    return ("flush", "wait") if form.missing else ("flush",)


class _Source(NamedTuple):
    """An input that takes a slice of a ring."""

    name: str
    ring: str
    age: int


class FrameState:
    """Features of one camera's frames, which are computed once and serve all windows.

    The arrays that the parts read and write are made here, once. For one thread at a time.

    Args:
        model: the parts.
        border: see `BorderKind`; None for `FLUSH`, and for a model that answers at each frame.

    Attributes:
        model: as given.
        frame: uint8 (H, W, 3); the caller writes the next frame's pixels into it.
        wait: ticks from a window's last frame to its answer.

    Raises:
        UsageError: there is no such border, or the model has none.
        ModelError, BackendError: a part cannot be opened, see `PerFrameModel`.
    """

    def __init__(self, model: PerFrameModel, border: BorderKind | None = None) -> None:
        if border not in (None, "flush", "wait"):
            raise UsageError(f"border is {border!r}; it must be 'flush' or 'wait'")
        self.model = model
        form, crop = model.form, model.spec.crop
        self._end: _WindowEnd | None = None
        if form.feature is not None:
            self._end = _WindowEnd(model, border or FLUSH)
        elif border is not None:
            raise UsageError(
                f"{model.path} answers at each frame, and has no border; leave it out (--border)"
            )
        self.wait = form.wait if self._end is None else self._end.wait
        self._reads = _sources(model, model.first_name)
        self._rings = FrameRings(
            model.spare,
            _oldest(form, self._reads, 0),
            _oldest(form, () if self._end is None else self._end.reads, -1),
        )
        self._frame = model.first.memory((1, crop.height, crop.width, 3), "uint8")
        self.frame: npt.NDArray[np.uint8] = self._frame.array[0]
        self._first = model.first.call()
        self._first.bind(FRAME_INPUT, self._frame.holder)
        if self._end is None:
            self._outputs = _bound_outputs(model, model.first, self._first)

    @property
    def bytes(self) -> int:
        """Size of what is kept from frame to frame; a step needs `PerFrameModel.spare`, too."""
        return self._rings.bytes

    def clear(self) -> None:
        """Forget all frames: the next one is the first."""
        self._rings.clear()

    def step(self) -> None:
        """Take in the frame whose pixels are in `frame`.

        Raises:
            BackendError: the runtime failed, or the model is closed. The state is to be cleared.
        """
        self.model.check_open()
        rings, call = self._rings, self._first
        self._frame.send()
        rings.begin()
        for name in rings.names:
            call.bind(name, rings.slot(name, 0).holder)
        for source in self._reads:
            call.bind(source.name, rings.slot(source.ring, source.age).holder)
        call.run()
        rings.end()

    def answer(self) -> npt.NDArray[Any]:
        """Return the outputs for the newest window, (1, classes), which the next call overwrites.

        That window ended `wait` ticks before the newest frame.

        Raises:
            BackendError: the runtime failed, or the model is closed.
        """
        self.model.check_open()
        if self._end is not None:
            return self._end.answer(self._rings)
        self._outputs.fetch()
        return self._outputs.array

    def features(self) -> dict[str, npt.NDArray[Any]]:
        """Return the features of the newest window, (1, C, H, W) for each input of the tail.

        They are the state's own arrays, which the next step may overwrite.

        Raises:
            BackendError: see `answer`.
        """
        self.model.check_open()
        assert self._end is not None
        return self._end.features(self._rings)


class _WindowEnd:
    """The tail, which answers from the features of a window, and the flush before it.

    Attributes:
        wait: see `FrameState`.
        reads: slices that it needs.
    """

    def __init__(self, model: PerFrameModel, border: BorderKind) -> None:
        form = model.form
        assert form.feature is not None
        assert model.tail is not None
        self._tail = model.tail.call()
        self._outputs = _bound_outputs(model, model.tail, self._tail)
        self._flush: PartCall | None = None
        self._flush_reads: list[_Source] = []
        self._flushed: dict[str, PartMemory] = {}
        if border == FLUSH:
            self.wait, ages = 0, form.known(model.spec.clip.frames)
            if (flush := model.flush) is not None:
                self._flush, self._flush_reads = flush.call(), _sources(model, "flush")
                for name, tensor in flush.outputs.items():
                    shape = (1, *tensor.shape[1:])
                    memory = flush.memory(shape, tensor.dtype, shown=False)
                    self._flushed[name] = memory
                    self._flush.bind(name, memory.holder)
                    self._tail.bind(name, memory.holder)
        else:
            self.wait, ages = form.wait, dict(enumerate(form.ring(form.feature).delays["tail"]))
        self._known = [
            _Source(position_name(form, i), form.feature, age) for i, age in ages.items()
        ]
        self.reads = [*self._flush_reads, *self._known]

    def answer(self, rings: FrameRings) -> npt.NDArray[Any]:
        """Return the outputs for the newest window; see `FrameState`."""
        self._complete(rings)
        for source in self._known:
            self._tail.bind(source.name, rings.slot(source.ring, source.age).holder)
        self._tail.run()
        self._outputs.fetch()
        return self._outputs.array

    def features(self, rings: FrameRings) -> dict[str, npt.NDArray[Any]]:
        """Return the features of the newest window; see `FrameState`."""
        self._complete(rings)
        known = {source.name: rings.slot(source.ring, source.age).array for source in self._known}
        return {**known, **{name: memory.array for name, memory in self._flushed.items()}}

    def _complete(self, rings: FrameRings) -> None:
        """Compute the features that the newest window lacks."""
        if self._flush is not None:
            for source in self._flush_reads:
                self._flush.bind(source.name, rings.slot(source.ring, source.age).holder)
            self._flush.run()


def _sources(model: PerFrameModel, part: str) -> list[_Source]:
    return [
        _Source(f"{ring.name}.ago{age}", ring.name, age)
        for ring in model.form.rings
        for age in ring.delays.get(part, ())
    ]


def _oldest(form: PerFrameSpec, reads: Iterable[_Source], none: int) -> dict[str, int]:
    """Return the age of the oldest slice of each ring that is read, and `none` where none is."""
    found = {ring.name: none for ring in form.rings}
    for each in reads:
        found[each.ring] = max(found[each.ring], each.age)
    return found


def _bound_outputs(model: PerFrameModel, part: PartModel, call: PartCall) -> PartMemory:
    """Return memory into which a call writes its outputs."""
    outputs = part.memory((1, model.spec.outputs), "float32")
    call.bind(model.spec.output.name, outputs.holder)
    return outputs


def scores_of_states(states: Sequence[FrameState], timing: Timing) -> list[npt.NDArray[np.float64]]:
    """Return the scores of the newest window of each of some cameras of one model.

    Args:
        states: of different cameras; nobody else uses them while this runs.
        timing: gets the time added.

    Returns:
        float64 (classes,) for each; see `Predictor.scores` for their meaning.

    Raises:
        ModelError: an answer is NaN.
        BackendError: the runtime failed, or the model is closed.
    """
    model = states[0].model
    found = []
    with timing.stage("total"), contextlib.ExitStack() as answered:
        with timing.stage("inference"):
            rows = answered.enter_context(_answers(states))
        # One after the other, so that nothing is made that grows with the cameras.
        for row in rows:
            output = row[np.newaxis]
            (scores,) = scores_of_outputs(output, model.spec.output.kind, model.path, model.runtime)
            found.append(scores)
    return found


@contextlib.contextmanager
def _answers(states: Sequence[FrameState]) -> Iterator[Iterable[npt.NDArray[Any]]]:
    """Give the outputs for each camera, (classes,), of several from one call of the tail."""
    model = states[0].model
    if model.tail is None or not model.tail.batches or len(states) == 1:
        yield [state.answer()[0] for state in states]
    else:
        with model.batches.outputs([state.features() for state in states]) as outputs:
            yield outputs
