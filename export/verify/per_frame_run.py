"""A per-frame form run by a plain host loop, with rings in NumPy: for checks and measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import UsageError
from r2p_edge.export.graph.per_frame.forms import FormGraphs
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.spec import PerFrameSpec
from r2p_edge.spec.per_frame import FRAME_INPUT

PartRunner = Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, npt.NDArray[Any]]]
"""Runs a part: inputs by name to outputs by name."""

Border = Literal["flush", "wait"]
"""How a window's last positions are had: computed with zeros after its last frame, or awaited."""

BORDERS: tuple[Border, ...] = ("flush", "wait")


class PerFrameRun:
    """State of one camera, and the parts of a form that read and write it.

    Args:
        form: the form; its contract, or its graphs.
        frames: of a window.
        parts: what runs each part, by name; by default ONNX Runtime the graphs of `form`.

    Attributes:
        ticks: frames since the last reset.
        borders: ways in which it can be asked.

    Raises:
        ModelError: ONNX Runtime cannot load a part.
    """

    def __init__(
        self,
        form: FormGraphs | PerFrameSpec,
        frames: int,
        parts: Mapping[str, PartRunner] | None = None,
    ) -> None:
        if parts is None:
            assert isinstance(form, FormGraphs)
            parts = {
                name: onnx_part(model.SerializeToString()) for name, model in form.parts.items()
            }
        self._form, self._frames, self._parts = form, frames, parts
        self.borders: tuple[Border, ...] = ("wait",) if form.feature is None else BORDERS
        self._rings = {ring.name: ring for ring in form.rings}
        self._slots: dict[str, npt.NDArray[Any]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self.ticks = 0
        self._newest: npt.NDArray[np.float32] | None = None
        for name, ring in self._rings.items():
            self._slots[name] = np.full((ring.slots, 1, *ring.shape), ring.zero, ring.dtype)

    def step(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32] | None:
        """Take the next frame, (H, W, 3); return the answer of a form that gives one at each."""
        part = "head" if "head" in self._parts else "step"
        # The newest slices are those of the tick before, so an age counts from the one to come.
        ages = {
            f"{name}.ago{age}": self.slice(name, age - 1)
            for name, ring in self._rings.items()
            for age in ring.delays.get(part, ())
        }
        found = dict(self._parts[part]({FRAME_INPUT: frame[None], **ages}))
        for name, ring in self._rings.items():
            slot = self._slots[name][self.ticks % ring.slots]
            slot[:] = ring.zero if self.ticks < ring.gate else found.pop(name)
            found.pop(name, None)
        self.ticks += 1
        self._newest = next(iter(found.values()), None)
        return self._newest

    def slice(self, ring: str, age: int) -> npt.NDArray[Any]:
        """Return a slice of a ring, (1, C, H, W); the newest is of age 0."""
        slots = self._slots[ring]
        slot: npt.NDArray[Any] = slots[(self.ticks - 1 - age) % len(slots)]
        return slot

    def features(self, border: Border) -> dict[str, npt.NDArray[Any]]:
        """Return the inputs of `tail` for the window that ends, or has ended, at this tick.

        Raises:
            UsageError: the form has none.
        """
        form = self._form
        if form.feature is None:
            raise UsageError("a semi-causal form has no features; read its answer at each step")
        name = form.feature
        if border == "wait":
            ages = enumerate(self._rings[name].delays["tail"])
            return {f"{name}.p{place}": self.slice(name, age) for place, age in ages}
        newest = self._frames - 1 - form.delay
        known = [place for place in range(form.positions) if place not in form.missing]
        found = {f"{name}.p{i}": self.slice(name, newest - i * form.step) for i in known}
        if form.missing:
            slices = {
                f"{ring.name}.ago{age}": self.slice(ring.name, age)
                for ring in form.rings
                for age in ring.delays.get("flush", ())
            }
            found.update(self._parts["flush"](slices))
        return found

    def answer(self, border: Border) -> npt.NDArray[np.float32]:
        """Return the answer, (classes,), about the window that ends, or has ended, at this tick.

        With "wait" it has ended `wait` ticks ago. That is what a semi-causal form gives.

        Raises:
            UsageError: the form has no such border, or has seen no frame.
        """
        if border == "wait" and self._newest is not None:
            return np.asarray(self._newest[0])
        return np.asarray(self.answers([self.features(border)])[0])

    def answers(self, windows: list[dict[str, npt.NDArray[Any]]]) -> npt.NDArray[np.float32]:
        """Return the answers, (N, classes), of N windows by their features."""
        inputs = {name: np.concatenate([each[name] for each in windows]) for name in windows[0]}
        (found,) = self._parts["tail"](inputs).values()
        return found


def onnx_part(model: bytes | Path) -> PartRunner:
    """Return what runs a part in ONNX Runtime on the CPU.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    session = open_session(model)
    names = [value.name for value in session.get_outputs()]

    def run(inputs: Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[Any]]:
        return dict(zip(names, session.run(None, dict(inputs))))

    return run
