"""Imports of optional libraries: which of them fail, and how that is said."""

from __future__ import annotations

import sys

import pytest

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, MissingDependencyError


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Return a function that writes a module to import."""

    def write(code):
        (tmp_path / "some_library.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "some_library", raising=False)

    return write


def test_one_that_is_not_installed():
    with pytest.raises(MissingDependencyError, match="no_such_library is not installed; do this"):
        import_library("no_such_library", "do this")


def test_one_that_cannot_be_imported(library):
    library("raise OSError('libtbb.so: cannot open')")
    with pytest.raises(BackendError, match=r"cannot be imported \(libtbb.so: cannot open\)"):
        import_library("some_library", "do this")


@pytest.mark.parametrize("chained", ["from error", ""])
def test_a_signal_is_no_fault_of_the_library_that_is_imported(library, chained):
    """An extension module says only that its making failed, and has the signal behind that."""
    library(
        "try:\n    raise KeyboardInterrupt\nexcept BaseException as error:\n"
        f"    raise ImportError('initialization failed') {chained}\n"
    )
    with pytest.raises(KeyboardInterrupt):
        import_library("some_library", "do this")
