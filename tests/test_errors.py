"""Error classes, and the helpers that word errors and issue warnings."""

from __future__ import annotations

import errno
import inspect
import os
import warnings
from pathlib import Path

import pytest

from r2p_edge import errors
from r2p_edge.errors import (
    ModelError,
    ModelNotFoundError,
    R2PError,
    StreamWarning,
    one_line,
    unreadable_model,
    warn_caller,
)

CLASSES = [one for _, one in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", [one for one in CLASSES if issubclass(one, R2PError)])
def test_an_error_is_made_of_its_message(error):
    assert str(error("what was found; what to do")) == "what was found; what to do"
    assert error.exit_code in range(1, 6)
    builtins = [one for one in error.__mro__ if one.__module__ == "builtins"]
    assert error is R2PError or len(builtins) > 3  # one of its own beside Exception and its bases


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOENT, ModelNotFoundError),
        (errno.ENOTDIR, ModelNotFoundError),
        (errno.ENAMETOOLONG, ModelNotFoundError),
        (errno.EACCES, ModelError),
        (errno.EISDIR, ModelError),
        (errno.EIO, ModelError),
    ],
)
def test_a_model_that_the_system_does_not_open(code, expected):
    error = unreadable_model(Path("model.onnx"), OSError(code, os.strerror(code)))
    assert type(error) is expected
    assert os.strerror(code) in str(error)


def test_a_message_is_one_line():
    assert one_line(RuntimeError("driver\n  too\told ")) == "driver too old"
    assert one_line(KeyError()) == "KeyError"


def test_a_warning_points_to_its_caller():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        warn_caller("of the test", StreamWarning)
    (warning,) = shown
    assert (warning.filename, warning.category) == (__file__, StreamWarning)
