"""Downloads that are not finished: the bytes so far, what they are of, and who writes them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from r2p_edge.artifact.abandoned import lock, make_locked
from r2p_edge.artifact.atomic import atomic_write, give_name, not_written
from r2p_edge.errors import ModelError, SpecError
from r2p_edge.export.published.digest import Hashing
from r2p_edge.export.published.json_records import parse_record, read_json_file
from r2p_edge.export.published.registry import PublishedWeights

_LOGGER = logging.getLogger(__name__)
_ADVICE = "delete it, and fetch the weights from their beginning"


@dataclass(frozen=True)
class PartialState:
    """A file of which some bytes are there.

    Attributes:
        url: address in the registry.
        digest: digest in the registry.
        total: bytes of the whole file; None if the server did not say.
        validator: strong ETag, or date, by which the server knows this very file; "" if it gave
            none.
    """

    url: str
    digest: str | None
    total: int | None
    validator: str

    def __post_init__(self) -> None:
        if self.total is not None and not 0 < self.total < 1 << 63:
            raise SpecError("total must be above 0, or null")
        if not re.fullmatch(r"[\x20-\x7e]{0,1000}", self.validator):  # it becomes a header
            raise SpecError("validator must be at most 1000 letters of ASCII")


def read_state(path: Path) -> PartialState:
    """Return what is known of a partial file, from the JSON beside it.

    Raises:
        ModelError: it cannot be read, or is damaged.
    """
    where = f"state of a download {path}"
    return parse_record(PartialState, read_json_file(path, where, _ADVICE), where, _ADVICE)


class Partial:
    """The partial file of published weights, `<file>.part`, locked while the `with` block runs.

    Its state is in `<file>.part.json`. A partial file that ends empty is removed.

    Args:
        path: name of the file when it is whole.
        entry: what it is to be.

    Raises:
        OutputError: nothing can be written there.
    """

    def __init__(self, path: Path, entry: PublishedWeights) -> None:
        self._whole, self._entry = path, entry
        self._part, self._json = partial_path(path), state_path(path)
        self.state: PartialState | None = None
        self.size = 0
        self.hashing = Hashing(entry.published)
        self.ended = False
        self._moved = False

    @property
    def complete(self) -> bool:
        """True if all bytes are there."""
        return self.ended or (self.state is not None and self.size == self.state.total)

    def __enter__(self) -> Partial:
        try:
            _, self._descriptor = make_locked(self._open)
            self._file = os.fdopen(self._descriptor, "r+b", buffering=0, closefd=False)
            self._resume()
        except OSError as error:
            raise not_written(self._part, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.size == 0 and not self._moved:
            _remove(self._part, self._json)
        os.close(self._descriptor)

    def _open(self) -> tuple[Path, int]:
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT, 0o666)
        if not lock(descriptor, wait=False):
            _LOGGER.info("another process is fetching %s; waiting for it", self._entry.id)
        return self._part, descriptor

    def _resume(self) -> None:
        """Take up what an earlier process has left, if it is of the same file."""
        try:
            state = read_state(self._json)
        except ModelError as error:
            _LOGGER.info("%s", error)
            return
        size = os.fstat(self._descriptor).st_size
        same = (state.url, state.digest) == (self._entry.url, self._entry.digest)
        if same and size <= (state.total or size):
            self.state, self.size = state, size
            self.hashing.update_from(self._file)

    def begin(self, state: PartialState) -> None:
        """Begin with the first byte of a file.

        Raises:
            OutputError: nothing can be written.
        """
        self.restart()
        atomic_write(self._json, (json.dumps(asdict(state), indent=2) + "\n").encode())
        self.state = state

    def restart(self) -> None:
        """Drop what is there.

        Raises:
            OutputError: the file cannot be changed.
        """
        try:
            self._file.truncate(0)
            self._file.seek(0)
        except OSError as error:
            raise not_written(self._part, error) from error
        self.size, self.state, self.ended = 0, None, False
        self.hashing = Hashing(self._entry.published)

    def append(self, block: bytes) -> None:
        """Write the next bytes.

        Raises:
            OutputError: they cannot be written; those before stay.
        """
        rest = memoryview(block)
        while rest:
            try:
                written = self._file.write(rest) or 0
            except OSError as error:
                raise not_written(self._part, error) from error
            self.hashing.update(rest[:written])
            self.size += written
            rest = rest[written:]

    def move(self, path: Path) -> None:
        """Give the file, which is whole, its name.

        Raises:
            OutputError: it cannot be renamed.
        """
        give_name(self._part, path)
        self._moved = True
        _remove(self._json)  # and not the other, which another process may have made anew


def _remove(*files: Path) -> None:
    for file in files:
        with contextlib.suppress(OSError):  # the next run does
            file.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """Return the name of a file that is not whole yet."""
    return path.with_name(path.name + ".part")


def state_path(path: Path) -> Path:
    """Return the name of the state of a file that is not whole yet."""
    return path.with_name(path.name + ".part.json")
