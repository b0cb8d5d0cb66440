"""Answers to many videos: they are read ahead, and the model's batches filled over them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from r2p_edge.archive.listed import Listed
from r2p_edge.archive.rows import ArchiveRow, answered_rows, failed_row, identity_of
from r2p_edge.errors import ModelError, VideoError
from r2p_edge.predictor import Predictor
from r2p_edge.video.clip_reader import ClipReader, Clips
from r2p_edge.video.source import is_folder

_AHEAD = 2
"""Videos that are read while others are answered; each keeps its clips in memory."""

Task = tuple[int, Listed]
"""A video of an archive and its number."""

Answered = tuple[int, list[ArchiveRow]]
"""The number of a video, and its rows."""


@dataclass
class _Video:
    """A video that is read, and the scores of its clips as they come."""

    number: int
    listed: Listed
    clips: Clips
    scores: list[npt.NDArray[np.float64]] = field(default_factory=list)
    failed: bool = False


_Clip = tuple[_Video, int]
"""A clip of a video: its place among the video's clips."""


class Classifier:
    """Answers videos one after the other, decoding the next ones in a thread of its own.

    Args:
        predictor: the model.
        digest: digest of its file, for the rows.
        views: windows of each video, spread from its beginning to its end; 1 is the centre clip.
        top: classes in each row.
        fps: rate of folders of images; default: that of the training videos.
    """

    def __init__(
        self,
        predictor: Predictor,
        digest: str,
        *,
        views: int = 1,
        top: int = 5,
        fps: float | None = None,
    ) -> None:
        self._predictor, self._views, self._fps = predictor, views, fps
        self._top = min(top, len(predictor.spec.labels))
        self._reader = ClipReader(predictor.spec)
        self.identity = identity_of(predictor, digest)

    def answer(self, tasks: Iterable[Task]) -> Iterator[Answered]:
        """Yield the rows of each video; one that cannot be read has one row with the error.

        Raises:
            BackendError: the runtime failed.
        """
        waiting: deque[_Clip] = deque()
        size = self._predictor.batch
        for video in self._read_ahead(tasks):
            if not isinstance(video, _Video):
                yield video
                continue
            waiting.extend((video, place) for place in range(len(video.clips.pixels)))
            while len(waiting) >= size:
                yield from self._run([waiting.popleft() for _ in range(size)])
        while waiting:  # a batch that is not full
            yield from self._run([waiting.popleft() for _ in range(min(size, len(waiting)))])

    def _read_ahead(self, tasks: Iterable[Task]) -> Iterator[_Video | Answered]:
        """Yield each video read, or the row that says why it cannot be."""
        with ThreadPoolExecutor(1, "r2p_edge-reader") as thread:
            ahead: deque[Future[_Video | Answered]] = deque()
            for number, listed in tasks:
                ahead.append(thread.submit(self._read, number, listed))
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _read(self, number: int, listed: Listed) -> _Video | Answered:
        fps = self._fps if is_folder(listed.video) else None
        try:
            clips = self._reader.read(listed.video, clips=self._views, fps=fps, part=listed.part)
        except VideoError as error:
            return number, [failed_row(listed, error, self.identity)]
        except MemoryError:
            said = f"there is too little memory for {listed.video}; give fewer workers"
            return number, [failed_row(listed, said, self.identity)]
        return _Video(number, listed, clips)

    def _run(self, group: list[_Clip]) -> Iterator[Answered]:
        """Run the model on clips; yield the videos that have no other clips left."""
        group = [(video, place) for video, place in group if not video.failed]
        if not group:
            return
        try:
            scores = self._predictor.scores(
                np.stack([video.clips.pixels[place] for video, place in group])
            )
        except ModelError as error:  # it answers NaN, perhaps to one of them only
            if len(group) > 1:
                for one in group:
                    yield from self._run([one])
                return
            ((video, _),) = group
            video.failed = True
            yield video.number, [failed_row(video.listed, error, self.identity)]
            return
        for (video, _), row in zip(group, scores):
            video.scores.append(row)
            if len(video.scores) == len(video.clips.pixels):
                yield video.number, self._rows(video)

    def _rows(self, video: _Video) -> list[ArchiveRow]:
        scores = np.stack(video.scores)
        return answered_rows(
            video.listed, video.clips, scores, self._predictor, self._top, self.identity
        )
