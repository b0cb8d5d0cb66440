"""The state of a camera, and the answers on the newest windows of one or several cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import UsageError
from r2p_edge.per_frame.model import FRAME, PerFrameModel, position_name
from r2p_edge.per_frame.rings import Rings
from r2p_edge.prediction import Timing
from r2p_edge.runtimes.part import PartCall, PartModel, aligned
from r2p_edge.scores import scores_of_outputs

Border = Literal["flush", "wait"]
"""How a window ends, whose last features need frames that are still to come: "flush" computes them
as a clip does that ends there, "wait" waits for the frames."""

# An alarm is worth most while something can be done, and waiting takes most of a clip's length.
# Where a motion lasts, the zeros after a window's last frame are also nearer to what the layers
# behind were trained on than the frames that come.
FLUSH: Border = "flush"
"""The default."""


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
        border: see `Border`.

    Attributes:
        model: as given.
        frame: uint8 (H, W, 3); the caller writes the next frame's pixels into it.
        wait: ticks from a window's last frame to its answer.

    Raises:
        UsageError: there is no such border.
        ModelError, BackendError: a part cannot be opened, see `PerFrameModel`.
    """

    def __init__(self, model: PerFrameModel, border: Border) -> None:
        if border not in ("flush", "wait"):
            raise UsageError(f"border is {border!r}; it must be 'flush' or 'wait'")
        self.model = model
        form, frames = model.form, model.spec.clip.frames
        assert form.feature is not None
        flush = model.flush if border == FLUSH else None
        self.wait = 0 if border == FLUSH else form.wait
        ages = (
            form.known(frames)
            if border == FLUSH
            else dict(enumerate(form.ring(form.feature).delays["tail"]))
        )
        self._head_reads = _sources(model, "head")
        self._flush_reads = _sources(model, "flush") if flush is not None else []
        self._tail_reads = [
            _Source(position_name(form, i), form.feature, age) for i, age in ages.items()
        ]
        reads = [*self._head_reads, *self._flush_reads, *self._tail_reads]
        oldest = {
            ring.name: max((each.age for each in reads if each.ring == ring.name), default=0)
            for ring in form.rings
        }
        self._rings = Rings(form.rings, oldest, model.head.holder)

        height, width = model.spec.crop.height, model.spec.crop.width
        batch = aligned((1, height, width, 3), "uint8")
        self.frame: npt.NDArray[np.uint8] = batch[0]
        self._head = model.head.call()
        self._head.bind(FRAME, model.head.holder(batch))
        self._outputs, self._tail = _tail_call(model, model.tail, 1)
        self._flush: PartCall | None = None
        self._flushed: dict[str, npt.NDArray[Any]] = {}
        if flush is not None:
            self._flush = flush.call()
            for name, tensor in flush.outputs.items():
                self._flushed[name] = aligned((1, *tensor.shape[1:]), tensor.dtype)
                holder = flush.holder(self._flushed[name])
                self._flush.bind(name, holder)
                self._tail.bind(name, holder)

    @property
    def bytes(self) -> int:
        """Size of what is kept from frame to frame."""
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
        rings, head = self._rings, self._head
        rings.begin()
        for name in rings.names:
            head.bind(name, rings.holder(name, 0))
        for source in self._head_reads:
            head.bind(source.name, rings.holder(source.ring, source.age))
        head.run()
        rings.end()

    def answer(self) -> npt.NDArray[Any]:
        """Return the outputs for the newest window, (1, classes), which the next call overwrites.

        That window ended `wait` ticks before the newest frame.

        Raises:
            BackendError: the runtime failed, or the model is closed.
        """
        self.model.check_open()
        self._complete()
        for source in self._tail_reads:
            self._tail.bind(source.name, self._rings.holder(source.ring, source.age))
        self._tail.run()
        return self._outputs

    def features(self) -> dict[str, npt.NDArray[Any]]:
        """Return the features of the newest window, (1, C, H, W) for each input of the tail.

        They are the state's own arrays, which the next step may overwrite.

        Raises:
            BackendError: see `answer`.
        """
        self.model.check_open()
        self._complete()
        known = {
            source.name: self._rings.slice(source.ring, source.age) for source in self._tail_reads
        }
        return {**known, **self._flushed}

    def _complete(self) -> None:
        """Compute the features that the newest window lacks."""
        if self._flush is None:
            return
        for source in self._flush_reads:
            self._flush.bind(source.name, self._rings.holder(source.ring, source.age))
        self._flush.run()


def _sources(model: PerFrameModel, part: str) -> list[_Source]:
    return [
        _Source(f"{ring.name}.ago{age}", ring.name, age)
        for ring in model.form.rings
        for age in ring.delays.get(part, ())
    ]


def _tail_call(
    model: PerFrameModel, tail: PartModel, cameras: int
) -> tuple[npt.NDArray[Any], PartCall]:
    """Return an array for the outputs of so many cameras, and a call that writes into it."""
    outputs = aligned((cameras, len(model.spec.labels)), "float32")
    call = tail.call()
    call.bind(model.spec.output.name, tail.holder(outputs))
    return outputs, call


def scores_of_states(states: Sequence[FrameState], timing: Timing) -> npt.NDArray[np.float64]:
    """Return the scores of the newest window of each of some cameras of one model.

    Args:
        states: of different cameras; nobody else uses them while this runs.
        timing: gets the time added.

    Returns:
        float64 (cameras, classes); see `Predictor.scores` for their meaning.

    Raises:
        ModelError: an answer is NaN.
        BackendError: the runtime failed, or the model is closed.
    """
    model = states[0].model
    with timing.stage("total"):
        with timing.stage("inference"):
            outputs = states[0].answer() if len(states) == 1 else _answers(states)
        return scores_of_outputs(outputs, model.spec.output.kind, model.path, model.runtime)


def _answers(states: Sequence[FrameState]) -> npt.NDArray[Any]:
    """Return the outputs for several cameras, (cameras, classes), from one call of the tail."""
    model = states[0].model
    tail = model.tail_of_many
    outputs, call = _tail_call(model, tail, len(states))
    features = [state.features() for state in states]
    # The cameras' rings lie in different places, so their slices must be brought together.
    together = {name: np.concatenate([each[name] for each in features]) for name in features[0]}
    for name, array in together.items():
        call.bind(name, tail.holder(array))
    call.run()
    return outputs
