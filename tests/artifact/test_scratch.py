"""Folders for temporary files go with their process, or with the next one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import ModelNotFoundError, OutputError

KILLED = """
import os, signal
from r2p_edge.artifact.scratch import scratch_folder
with scratch_folder("net.onnx") as folder:
    (folder / "big").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_and_gone(temporary):
    with scratch_folder("net.onnx") as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
    assert not list(temporary.iterdir())


def test_the_next_process_removes_what_a_dead_one_left(temporary):
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = temporary.iterdir()
    with scratch_folder("net.onnx") as folder, scratch_folder("net.onnx") as other:
        assert set(temporary.iterdir()) == {folder, other}
    assert not left.exists()


def test_a_full_disk_is_an_output_error(temporary):
    with (
        pytest.raises(OutputError, match=r"temporary files cannot .* \(No space left .*TMPDIR"),
        scratch_folder("net.onnx"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputError, match="temporary files"), scratch_folder("net.onnx") as folder:
        (folder / "absent" / "file").touch()
    with pytest.raises(PermissionError), scratch_folder("net.onnx"):
        raise PermissionError(errno.EACCES, "Permission denied", "/other")
    with pytest.raises(ModelNotFoundError), scratch_folder("net.onnx"):
        raise ModelNotFoundError("not here")
    assert not list(temporary.iterdir())


def test_no_folder_for_temporary_files(temporary, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(temporary / "absent"))
    with (
        pytest.raises(OutputError, match="temporary files cannot be written"),
        scratch_folder("net.onnx"),
    ):
        pass


def test_no_error_names_a_file_in_the_folder(temporary):
    with pytest.raises(ModelNotFoundError) as caught, scratch_folder("net.onnx") as folder:
        raise ModelNotFoundError(f"there is no {folder / 'draft.onnx'}")
    assert str(caught.value) == "there is no net.onnx"
