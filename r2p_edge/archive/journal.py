"""The journal of an archive's run: the rows of each video, written as soon as they are known.

It lies beside the results as `<file>.journal`: a line of JSON about the run, then a line for each
video. A process that is killed loses the videos that it was at, and no other; a line that is not
whole is cut off by the next process.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from r2p_edge.archive.rows import ArchiveRow
from r2p_edge.artifact.abandoned import locked_by_another
from r2p_edge.artifact.atomic import check_folder, not_written
from r2p_edge.errors import R2PError, UsageError

_KIND = "r2p_edge archive 1"
_SYNC_SECONDS = 1.0  # a power cut loses as much

Keep = Callable[[int, "list[ArchiveRow]"], bool]
"""Tells of a video's number and rows whether they still hold."""


class Journal:
    """The journal of one run, locked against other processes until it is closed.

    Args:
        out: the file of the results.
        run: facts that make the run what it is, by their names in messages; plain JSON types.
        resume: go on with an older run, whose facts have to be the same.
        keep: tells which of its videos need no other answer; by default none does.

    Attributes:
        path: the journal's file.
        places: offset in the file of the line of each video that is done, by the video's number.
        failed: numbers of the videos that are done and whose row is an error.

    Raises:
        UsageError: there are results or a journal and they are not to be gone on with, or they are
            of another run; another process writes them; or the file is no journal.
        OutputError: the file cannot be written.
    """

    def __init__(
        self,
        out: Path,
        run: Mapping[str, Any],
        *,
        resume: bool,
        keep: Keep = lambda number, rows: True,
    ) -> None:
        self.path = out.with_name(f"{out.name}.journal")
        self.places: dict[int, int] = {}
        self.failed: set[int] = set()
        self._synced = time.monotonic()
        check_folder(out)
        with _refused(self.path), contextlib.ExitStack() as stack:
            if os.path.exists(out):
                self._check_results(out, resume)
            self._file = stack.enter_context(self.path.open("a+b", buffering=0))
            if locked_by_another(self._file.fileno()):
                raise UsageError(
                    f"another process is writing {out}; wait for it, or choose another file"
                )
            self._end = self._read(json.loads(json.dumps(run)), resume, keep)
            self._file.truncate(self._end)
            self._bare = 0  # its length without any answer, if it was begun here
            if self._end == 0:
                self._append([_KIND, dict(run)])
                self._bare = self._end
            stack.pop_all()

    def _check_results(self, out: Path, resume: bool) -> None:
        if not resume:
            raise UsageError(
                f"{out} exists; choose another file, or go on with an earlier run (--resume)"
            )
        if not self.path.exists():
            raise UsageError(
                f"{out} exists and its journal {self.path.name} does not, so that nothing says "
                "what is done; choose another file"
            )

    def _read(self, run: Mapping[str, Any], resume: bool, keep: Keep) -> int:
        """Read what is there; return the length of what is whole, 0 if nothing is done yet."""
        with self.path.open("rb") as file:
            begun = _run_of(file.readline())
            if begun is None and file.read(1):
                raise UsageError(
                    f"{self.path} is no journal of this program; choose another file for the "
                    "results"
                )
            begin = end = 0 if begun is None else file.tell()
            while (found := _answer_of(line := file.readline())) is not None:
                number, rows = found
                self._note(number, rows, end)
                if not keep(number, rows):
                    del self.places[number]
                    self.failed.discard(number)
                end += len(line)
        if end == begin:
            return 0
        if not resume:
            raise UsageError(
                f"{self.path} is of a run that was not finished; go on with it (--resume), or "
                "remove it"
            )
        assert begun is not None
        self._check_run(begun, run)
        return end

    def _check_run(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        for name in [*new, *old]:
            if old.get(name) != new.get(name):
                raise UsageError(
                    f"{self.path} is of a run with another {name}, {_shown(old.get(name))}, and "
                    f"not {_shown(new.get(name))}; give the same, or another file for the results"
                )

    def add(self, number: int, rows: list[ArchiveRow]) -> None:
        """Write the rows of a video.

        Raises:
            OutputError: they cannot be written; the journal is as it was.
        """
        place = self._end
        with _refused(self.path):
            self._append([number, rows])
        self._note(number, rows, place)

    def _note(self, number: int, rows: list[ArchiveRow], place: int) -> None:
        """Take the last line of a video for what is known of it."""
        self.places[number] = place
        self.failed.discard(number)
        if rows[0].get("error") is not None:
            self.failed.add(number)

    def _append(self, content: Any) -> None:
        line = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        try:
            written = 0
            while written < len(line):  # a full disk takes the beginning
                written += self._file.write(line[written:])
        except BaseException:
            with contextlib.suppress(OSError):  # the next process cuts it off
                self._file.truncate(self._end)
            raise
        self._end += len(line)
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def rows(self) -> Iterator[ArchiveRow]:
        """Yield the rows of all videos that are done, in the order of their numbers.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            for number in sorted(self.places):
                file.seek(self.places[number])
                yield from json.loads(file.readline())[1]

    def failures(self, most: int) -> list[ArchiveRow]:
        """Return the first rows of the first videos whose row is an error.

        Raises:
            OSError: the file cannot be read.
        """
        found = []
        with self.path.open("rb") as file:
            for number in sorted(self.failed)[:most]:
                file.seek(self.places[number])
                found.append(json.loads(file.readline())[1][0])
        return found

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the results are written after it, and say so
            if self._end > self._bare:
                self._sync()
            else:  # nothing to go on with
                self.path.unlink()
        self._file.close()


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Raise OutputError where the system refuses the journal."""
    try:
        yield
    except R2PError:  # some are OSErrors too, and say themselves what happened
        raise
    except OSError as error:
        raise not_written(path, error) from error


def _parsed(line: bytes) -> tuple[Any, Any]:
    """Return the two parts of a line that is whole; two None for another."""
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(line) if line.endswith(b"\n") else None
        if isinstance(content, list) and len(content) == 2:
            return content[0], content[1]
    return None, None


def _run_of(line: bytes) -> dict[str, Any] | None:
    """Return the facts of the run in the first line of a journal; None if it is not one."""
    kind, run = _parsed(line)
    return run if kind == _KIND and isinstance(run, dict) else None


def _answer_of(line: bytes) -> tuple[int, list[ArchiveRow]] | None:
    """Return the number and the rows in another line; None if it is not whole."""
    number, rows = _parsed(line)
    whole = type(number) is int and isinstance(rows, list) and len(rows) > 0
    return (number, rows) if whole and all(isinstance(row, dict) for row in rows) else None


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
