"""The transfer of one file into a partial file, over as many connections as it takes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

from r2p_edge.errors import DownloadError
from r2p_edge.export.published.heads import unlike_weights
from r2p_edge.export.published.http import (
    Answer,
    ConnectionLostError,
    RangeError,
    extent_of,
    open_url,
)
from r2p_edge.export.published.partial import Partial, PartialState
from r2p_edge.export.published.registry import PublishedWeights
from r2p_edge.export.recognition import HEAD

TransferProgress = Callable[[int, int], None]
"""Takes how many bytes there are, and of how many; the latter is 0 where it is not known."""

_LIMIT = 1 << 32  # bytes of a file whose size was never written down
_STEP = 1 << 16  # bytes that make an attempt a success
_FAILURES = 5  # attempts in a row that bring less
_RESTARTS = 5
_LONGEST_WAIT = 16.0  # seconds


class Transfer:
    """A download of published weights.

    Args:
        entry: what is fetched.
        partial: where it goes.
        timeout: seconds that a server may be silent.
        wait: waits for so many seconds.
        progress: called as bytes come.
    """

    def __init__(
        self,
        entry: PublishedWeights,
        partial: Partial,
        *,
        timeout: float,
        wait: Callable[[float], None],
        progress: TransferProgress | None,
    ) -> None:
        self._entry, self._partial, self._timeout, self._wait = entry, partial, timeout, wait
        self._progress = progress or (lambda done, total: None)
        self._restarts = 0
        self.received = 0
        """Bytes that came over the network."""

    def run(self) -> None:
        """Fetch what is missing; go on where a connection breaks off after something has come.

        Raises:
            DownloadError: the server has not this file, or cannot be reached, or breaks off time
                after time. What has come is kept, unless it is of another file.
            OutputError: it cannot be written.
        """
        reached, failures = self._partial.size, 0
        while not self._partial.complete:
            try:
                self._attempt()
            except ConnectionLostError as error:
                if self.received == 0:
                    raise
                failures = 0 if self._partial.size >= reached + _STEP else failures + 1
                reached = max(reached, self._partial.size)
                if failures == _FAILURES:
                    raise DownloadError(
                        f"{error}; the last {_FAILURES} attempts brought nothing new, and "
                        f"{self._partial.size} bytes are kept, from which the same command goes on"
                    ) from error
                self._wait(min(2.0**failures, _LONGEST_WAIT))

    def _attempt(self) -> None:
        """Ask once for what is missing, and take what comes."""
        state, headers = self._partial.state, {}
        if state is not None and self._partial.size:
            if state.validator:
                headers = {"Range": f"bytes={self._partial.size}-", "If-Range": state.validator}
            else:
                self._restart()
        try:
            answer = open_url(self._entry.url, headers, timeout=self._timeout)
        except RangeError:
            self._restart()
            return
        with contextlib.closing(answer):
            if answer.header("Content-Encoding").lower() not in ("", "identity"):
                raise self._refusal(answer, "the file in another encoding")
            if answer.status == 206 and headers:
                if not self._continues(answer):
                    self._restart()
                    return
            elif answer.status == 200:
                self._begin(answer)
            else:
                raise self._refusal(answer, f"status {answer.status}")
            self._take(answer)

    def _continues(self, answer: Answer) -> bool:
        """Return whether an answer has the bytes that follow those that are there."""
        state, extent = self._partial.state, extent_of(answer)
        return (
            state is not None
            and extent is not None
            and extent.start == self._partial.size
            and extent.total == state.total
            and _validator(answer) in ("", state.validator)
        )

    def _begin(self, answer: Answer) -> None:
        """Look at the first bytes of the whole file, and replace what was there by them."""
        extent, head = extent_of(answer), b""
        total = None if extent is None else extent.total
        while len(head) < HEAD and (block := answer.read()):
            self.received += len(block)
            head += block
        if len(head) < HEAD and total and len(head) < total:
            raise ConnectionLostError(f"{answer.host} broke off at once; try again")
        if (problem := unlike_weights(head[:HEAD])) is not None:
            raise self._refusal(answer, problem)
        if self._entry.size not in (None, total) and total is not None:
            raise self._refusal(answer, f"{total} bytes where {self._entry.size} were published")
        if (total or 0) > _LIMIT:
            raise self._refusal(answer, f"{total} bytes, more than any weights have")
        if self._partial.size:
            self._restart()
        state = PartialState(self._entry.url, self._entry.digest, total, _validator(answer))
        self._partial.begin(state)
        self._append(answer, head)

    def _take(self, answer: Answer) -> None:
        """Write what comes until the answer ends."""
        while block := answer.read():
            self.received += len(block)
            self._append(answer, block)
        state = self._partial.state
        total = self._entry.size if state is None or state.total is None else state.total
        if total is None or self._partial.size == total:
            self._partial.ended = True
        else:
            raise ConnectionLostError(
                f"{answer.host} broke off after {self._partial.size} of {total} bytes; try again"
            )

    def _append(self, answer: Answer, block: bytes) -> None:
        state = self._partial.state
        total = None if state is None else state.total
        most = self._entry.size or total or _LIMIT
        if self._partial.size + len(block) > most:
            raise self._refusal(answer, f"more than the {most} bytes that it should have")
        self._partial.append(block)
        self._progress(self._partial.size, total or 0)

    def _restart(self) -> None:
        """Drop what is there, which is of another file or cannot be gone on with."""
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise DownloadError(
                f"the server of {self._entry.id} cannot go on with a part, or sends another file "
                "each time; try again later, or fetch the file with a browser and give it to "
                f"r2p-edge weights add {self._entry.id} FILE"
            )
        self._partial.restart()

    def _refusal(self, answer: Answer, what: str) -> DownloadError:
        return DownloadError(
            f"{answer.host} sends {what}, and not {self._entry.file}; open {self._entry.page} in a "
            f"browser, and give the file to r2p-edge weights add {self._entry.id} FILE"
        )


def _validator(answer: Answer) -> str:
    """Return by what the server knows this very file: a strong ETag, or else its date."""
    etag = answer.header("ETag")
    if re.fullmatch(r'"[\x21\x23-\x7e]{0,200}"', etag):
        return etag
    date = answer.header("Last-Modified")
    return date if re.fullmatch(r"[\w ,:]{1,50}", date, re.ASCII) else ""
