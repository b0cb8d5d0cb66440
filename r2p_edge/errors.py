"""Errors and warnings that r2p_edge raises on purpose, and helpers that word and issue them.

Each error class is also the builtin that it is a kind of, so callers may catch either, and carries
the exit code of the command line. A message is one sentence of three parts: what was found, what
was expected, and what to do.
"""

from __future__ import annotations

import contextlib
import errno
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from r2p_edge.addresses import without_password


class R2PError(Exception):
    """Base class of every error of this package; its message shows no password."""

    exit_code = 1

    def __init__(self, *arguments: object) -> None:
        super().__init__(
            *(without_password(each) if isinstance(each, str) else each for each in arguments)
        )


class UsageError(R2PError, ValueError):
    """An argument is wrong in itself: an unknown preset, runtime or device, an impossible count."""

    exit_code = 2


class VideoError(R2PError, ValueError):
    """A video, image folder or array cannot be used as a source of frames."""

    exit_code = 3


class VideoNotFoundError(VideoError, FileNotFoundError):
    """The video file or folder does not exist."""


class OutputError(R2PError, OSError):
    """A result could not be written; no half-written file is left behind."""

    exit_code = 3


class DownloadError(R2PError, OSError):
    """Published weights could not be fetched, or what came is not the published file."""

    exit_code = 3


class ModelError(R2PError, ValueError):
    """A model file cannot be used."""

    exit_code = 4


class ModelNotFoundError(ModelError, FileNotFoundError):
    """The model file does not exist."""


class SpecError(ModelError):
    """A model's contract is missing, malformed, or contradicts the model."""


class CheckpointError(ModelError):
    """A checkpoint cannot be read, or its parameters belong to no known network."""


class ParityError(ModelError):
    """An artifact's outputs differ from its source's by more than the tolerance."""


class BackendError(R2PError, RuntimeError):
    """The runtime or the requested device is unavailable, or inference failed."""

    exit_code = 5


class MissingDependencyError(BackendError, ImportError):
    """An optional package that this operation needs is not installed."""


class LowFrameRateWarning(UserWarning):
    """A source has fewer frames per second than the model samples, so some are repeated."""


class UnknownFrameRateWarning(UserWarning):
    """A folder of images came without its frames per second, so a rate was assumed."""


class StreamWarning(UserWarning):
    """A stream is not healthy.

    One of several streams is lost for good, a file is cut off, the frames keep breaking off before
    a clip is full, or the model is too slow for each of them (`reuse`).
    """


class CalibrationWarning(UserWarning):
    """The calibration clips leave out some of the model's classes, or some show nothing."""


_TEMPORARY = "a temporary file in "


def warn_caller(message: str, category: type[Warning]) -> None:
    """Issue a warning that points to the line outside this package that led to it."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].split(".")[0] == "r2p_edge":
        frame, level = frame.f_back, level + 1
    warnings.warn(without_password(message), category, stacklevel=level)


@contextlib.contextmanager
def shown_as(folder: str | Path, path: str | Path) -> Iterator[None]:
    """Let the errors of this package name `path` where they would name a file in `folder`.

    The files of a temporary folder are gone when somebody reads of them. An `OutputError` names
    the folder above it, in which there may be too little room.
    """
    found = re.escape(str(folder)) + r"(?:/[\w.+-]+)*(?![\w.+-])"
    file = re.compile(rf"(?:{_TEMPORARY})?{found}")
    try:
        yield
    except R2PError as error:
        full = isinstance(error, OutputError)
        shown = f"{_TEMPORARY}{Path(folder).parent}" if full else str(path)
        error.args = tuple(
            file.sub(lambda _: shown, each) if isinstance(each, str) else each
            for each in error.args
        )
        raise


def one_line(error: BaseException) -> str:
    """Return the message of a library's exception on one line; its class name if it is empty."""
    return " ".join(str(error).split()) or type(error).__name__


def ending_behind(error: BaseException) -> BaseException | None:
    """Return what ends the program, such as Ctrl-C, and has become this error on its way; or None.

    An extension module says only that it cannot be imported, whatever is raised while it is made
    (pybind11's `PYBIND11_MODULE`, NumPy's `_core`).
    """
    cause = error.__cause__ or error.__context__
    if cause is None or not isinstance(cause, Exception):
        return cause
    return ending_behind(cause)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 video", "2 videos".

    Args:
        number: how many.
        noun: word for one of them, whose plural ends in s, or in es where it ends in s itself.
    """
    if number == 1:
        return f"{number} {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def none_of(number: int, noun: str) -> str:
    """Return the subject of a sentence on none of them: "no video", "none of the 2 videos".

    Args:
        number, noun: see `count_of`.
    """
    return f"no {noun}" if number == 1 else f"none of the {count_of(number, noun)}"


def similar_name(name: str, known: Iterable[str], least: float = 0.6) -> str:
    """Return the question whether the nearest of the known names was meant; "" if none is near.

    Args:
        name: what was given.
        known: names that there are.
        least: how similar they must be, from 0 to 1, without regard to case.
    """
    import difflib

    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name[:100].casefold(), folded, n=1, cutoff=least)
    return f"did you mean {folded[near[0]]}? " if near else ""


def unreadable_model(path: Path, error: OSError) -> ModelError:
    """Return the error to raise where the operating system does not open a model file.

    Args:
        path: the model file.
        error: what the operating system answered.
    """
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return ModelNotFoundError(f"model {path} does not exist ({error.strerror}); check the path")
    return ModelError(f"model {path} cannot be read ({error.strerror}); check its permissions")
