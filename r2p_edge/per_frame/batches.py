"""The features of several cameras, brought together for one call of the tail."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
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

    @contextlib.contextmanager
    def outputs(
        self, features: Sequence[Mapping[str, npt.NDArray[Any]]]
    ) -> Iterator[npt.NDArray[Any]]:
        """Give the outputs for some cameras, (cameras, classes), as long as the context lasts.

        From any thread. The array is one of those that are used again.

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
        try:
            yield found
        finally:
            self._idle.append(batch)


class _Batch:
    def __init__(self, tail: PartModel) -> None:
        self._tail, self._call = tail, tail.call()
        (self._output,) = tail.outputs
        self._room = 0
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        # For each number of cameras that there was, as libraries need more than the array.
        self._holders: dict[int, dict[str, Any]] = {}

    def outputs(self, features: Sequence[Mapping[str, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
        count = len(features)
        if count > self._room:
            self._room = count
            self._holders.clear()
            for name, tensor in (self._tail.inputs | self._tail.outputs).items():
                self._arrays[name] = aligned((count, *tensor.shape[1:]), tensor.dtype)
        if count not in self._holders:
            self._holders[count] = {
                name: self._tail.holder(array[:count]) for name, array in self._arrays.items()
            }
        for name in self._tail.inputs:
            # The cameras' slices lie in different places.
            for place, each in enumerate(features):
                self._arrays[name][place] = each[name][0]
        for name, holder in self._holders[count].items():
            self._call.bind(name, holder)
        self._call.run()
        return self._arrays[self._output][:count]
