"""Every error that r2p_edge raises on purpose.

Each class is also the builtin it is a kind of, so callers may catch either, and carries the exit
code of the command line. A message is one sentence that says what was found, what was expected
and what to do.
"""

from __future__ import annotations


class R2PError(Exception):
    """Base class of every error of this package."""

    exit_code = 1


class UsageError(R2PError, ValueError):
    """An argument is wrong in itself: an unknown preset, runtime or device, an impossible count."""

    exit_code = 2


class VideoError(R2PError, ValueError):
    """A video, image folder or array cannot be used as a source of frames."""

    exit_code = 3


class VideoNotFoundError(VideoError, FileNotFoundError):
    """There is no such video file or folder."""


class OutputError(R2PError, OSError):
    """A result could not be written; nothing half-written is left behind."""

    exit_code = 3


class ModelError(R2PError, ValueError):
    """A model file cannot be used."""

    exit_code = 4


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no such model file."""


class SpecError(ModelError):
    """A model's contract is missing, malformed, or contradicts the model."""


class CheckpointError(ModelError):
    """A checkpoint cannot be read, or its parameters are not those of a known network."""


class ParityError(ModelError):
    """An artifact's outputs differ from its source's by more than the tolerance."""


class BackendError(R2PError, RuntimeError):
    """A runtime, or the device that was asked for, is not to be had or failed."""

    exit_code = 5


class LowFrameRateWarning(UserWarning):
    """A source has fewer frames a second than the model looks at; some are repeated."""


class StreamWarning(UserWarning):
    """A stream is not as it should be.

    One of several is lost for good, a file is cut off, or again and again the frames break off
    before a clip is full.
    """


class CalibrationWarning(UserWarning):
    """The clips that a model is calibrated on leave out some of its classes."""


class MissingDependencyError(BackendError, ImportError):
    """An optional package that this operation needs is not installed."""


def one_line(error: Exception) -> str:
    """What a library's exception says, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
