"""Clips that are put together from the frames of one pass over a video, as these come."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from r2p_edge.frame import Image
from r2p_edge.prediction import Timing
from r2p_edge.preprocess.flow import FlowPreprocessor, Grey
from r2p_edge.video.sampling import ClipPlan, Times

if TYPE_CHECKING:
    from concurrent.futures import Future

_AHEAD = 4  # pairs that wait for being computed; of whole frames each keeps two pictures


class FrameAssembly:
    """Clips of single frames.

    Args:
        plans: moments of each clip.

    Attributes:
        moments: float64 (n,), ascending; each of their frames is to be added once, in their order.
    """

    def __init__(self, plans: Sequence[ClipPlan]) -> None:
        times = np.stack([plan.times for plan in plans])
        self.moments: Times
        self.moments, places = np.unique(times, return_inverse=True)
        self._places = places.reshape(times.shape)
        self._frames: list[Image] = []

    @property
    def awaited(self) -> float | None:
        """The moment whose frame is to be added next; None after the last."""
        return self.moments[len(self._frames)] if len(self._frames) < len(self.moments) else None

    def add(self, frame: Image) -> None:
        """Take the frame of the next moment in."""
        self._frames.append(frame)

    def clips(self) -> npt.NDArray[Any]:
        """Return the clips, (clips, T, ...)."""
        found = np.stack([self._frames[place] for place in self._places.ravel()])
        return found.reshape(*self._places.shape, *found.shape[1:])


class FlowAssembly:
    """Clips of flow, each pair of whose pictures is computed once, while the next frame is read.

    Args:
        plans: moments of the pictures of each clip, one more than it has frames.
        flow: computes it.
        timing: gets the time added for which computing is waited for.

    Attributes:
        moments: see `FrameAssembly`.
    """

    def __init__(self, plans: Sequence[ClipPlan], flow: FlowPreprocessor, timing: Timing) -> None:
        from concurrent.futures import ThreadPoolExecutor  # slow to import

        times = np.stack([plan.times for plan in plans])
        self.moments: Times
        self.moments, places = np.unique(times, return_inverse=True)
        places = places.reshape(times.shape)
        pairs = np.stack([places[:, :-1].ravel(), places[:, 1:].ravel()], axis=1)
        # Sorted by their second pictures: a first one is kept until its last pair has been made.
        self._wanted, at = np.unique(pairs[:, ::-1], axis=0, return_inverse=True)
        self._last = dict(zip(self._wanted[:, 1].tolist(), self._wanted[:, 0].tolist()))
        self._at, self._shape = at.ravel(), (len(plans), times.shape[1] - 1, *flow.frame_shape)
        self._found = np.empty((len(self._wanted), *flow.frame_shape), flow.frame_dtype)
        self._kept: dict[int, Grey] = {}
        self._number = self._moment = 0
        self._flow, self._timing = flow, timing
        self._worker = ThreadPoolExecutor(1, "r2p_edge flow")
        self._computed: deque[Future[None]] = deque()

    @property
    def awaited(self) -> float | None:
        """The moment whose picture is to be added next; None after the last."""
        return self.moments[self._moment] if self._moment < len(self.moments) else None

    def add(self, picture: Grey) -> None:
        """Take the picture of the next moment in, and have the pairs computed that it completes.

        Raises:
            VideoError: see `FlowPreprocessor.frame`; it may be about a picture before.
        """
        moment, self._moment = self._moment, self._moment + 1
        self._kept[moment] = picture
        while self._number < len(self._wanted) and self._wanted[self._number, 0] == moment:
            before = self._kept[int(self._wanted[self._number, 1])]
            out = self._found[self._number]
            self._computed.append(self._worker.submit(self._flow.frame, before, picture, out))
            self._number += 1
        self._await(_AHEAD)
        self._kept = {
            each: grey for each, grey in self._kept.items() if self._last.get(each, -1) > moment
        }

    def clips(self) -> npt.NDArray[Any]:
        """Return the clips, (clips, T, H, W, 2).

        Raises:
            VideoError: see `add`.
        """
        self._await(0)
        return self._found[self._at].reshape(self._shape)

    def _await(self, most: int) -> None:
        """Wait until so many pairs at most are left to be computed."""
        with self._timing.stage("preprocess"):
            while len(self._computed) > most:
                self._computed.popleft().result()
