"""Error classes, and the helpers that word errors and issue warnings."""

from __future__ import annotations

import errno
import inspect
import os
import pickle
import warnings
from pathlib import Path

import pytest

from r2p_edge import errors
from r2p_edge.errors import (
    MissingDependencyError,
    ModelError,
    ModelNotFoundError,
    OutputError,
    R2PError,
    StreamWarning,
    count_of,
    one_line,
    shown_as,
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


def test_a_file_of_a_temporary_folder_is_shown_as_another(tmp_path):
    draft = tmp_path / "draft-1.xml"
    with pytest.raises(ModelError) as caught, shown_as(tmp_path, "net.ckpt"):
        raise ModelError(f"'{draft}' is int8 ({draft.with_suffix('.bin')}: bad); see {tmp_path}x")
    assert str(caught.value) == f"'net.ckpt' is int8 (net.ckpt: bad); see {tmp_path}x"
    inner = tmp_path / "inner"
    with (
        pytest.raises(OutputError) as caught,
        shown_as(tmp_path, "net.ckpt"),
        shown_as(inner, "x"),
    ):
        raise OutputError(f"{inner / 'draft'} cannot be written; make room there")
    told = f"a temporary file in {tmp_path.parent} cannot be written; make room there"
    assert str(caught.value) == told


def test_no_error_and_no_warning_shows_a_password():
    for kind in (ModelError, ModelNotFoundError, OutputError, MissingDependencyError):
        error = kind("rtsp://a:secret@h cannot be opened")
        assert str(error) == "rtsp://***@h cannot be opened"
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with pytest.warns(StreamWarning, match=r"rtsp://\*\*\*@h"):
        warn_caller("rtsp://a:secret@h is slow", StreamWarning)


def test_one_of_them_has_no_plural():
    assert [count_of(number, "clip") for number in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert [count_of(number, "class") for number in (1, 2)] == ["1 class", "2 classes"]
