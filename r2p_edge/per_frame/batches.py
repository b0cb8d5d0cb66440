"""The features of several cameras, brought together for one call of the tail."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from r2p_edge.runtimes.part import PartModel, aligned


class TailBatches:
    """Calls of a tail whose inputs have any number of cameras, and their arrays.

    They are made once, for the most cameras that were seen, and used again.

    Args:
        tail: the part.
    """

    def __init__(self, tail: PartModel) -> None:
        self._tail = tail
        self._idle: deque[_Batch] = deque()

    def outputs(self, features: Sequence[Mapping[str, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
        """Return the outputs for some cameras, (cameras, classes), a new array; from any thread.

        Args:
            features: array (1, C, H, W) of each input of the tail, for each camera.

        Raises:
            BackendError: the runtime failed.
        """
        try:
            batch = self._idle.pop()
        except IndexError:
            batch = _Batch(self._tail)
        found = batch.outputs(features)
        self._idle.append(batch)
        return found


class _Batch:
    def __init__(self, tail: PartModel) -> None:
        self._tail, self._call = tail, tail.call()
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._room = 0

    def outputs(self, features: Sequence[Mapping[str, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
        count = len(features)
        if count > self._room:
            self._room = count
            for name, tensor in (self._tail.inputs | self._tail.outputs).items():
                self._arrays[name] = aligned((count, *tensor.shape[1:]), tensor.dtype)
        for name in self._tail.inputs:
            # The cameras' slices lie in different places.
            for place, each in enumerate(features):
                self._arrays[name][place] = each[name][0]
        for name, array in self._arrays.items():
            self._call.bind(name, self._tail.holder(array[:count]))
        self._call.run()
        (output,) = self._tail.outputs
        found: npt.NDArray[Any] = self._arrays[output][:count].copy()
        return found
