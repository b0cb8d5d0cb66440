"""Temporary files of processes that died are removed, and those of others are not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile

import pytest

from r2p_edge.artifact import abandoned
from r2p_edge.artifact.abandoned import lock, open_folder, remove_abandoned
from r2p_edge.artifact.atomic import atomic_file, atomic_folder, atomic_write
from r2p_edge.artifact.scratch import scratch_folder

WRITER = """
import os, signal, sys
from pathlib import Path
from r2p_edge.artifact import atomic
with getattr(atomic, sys.argv[1])(sys.argv[2]) as draft:
    Path(draft, "in it").touch() if draft.is_dir() else None
    {end}
"""


def killed(kind, path):
    """Write a file or folder in a process that is killed while it does."""
    code = WRITER.format(end="os.kill(os.getpid(), signal.SIGKILL)")
    done = subprocess.run([sys.executable, "-c", code, kind, path], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = path.parent.glob(".*")
    return left


@pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])
def test_the_next_writer_of_a_name_removes_what_a_dead_one_left(tmp_path, kind):
    killed(kind, tmp_path / "out.mp4")
    with {"atomic_file": atomic_file, "atomic_folder": atomic_folder}[kind](tmp_path / "out.mp4"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_writer_of_another_name_leaves_it(tmp_path):
    left = killed("atomic_file", tmp_path / "out.mp4")
    atomic_write(tmp_path / "out.mp", b"")
    assert left.exists()


@pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])
def test_a_file_that_is_being_written_stays(tmp_path, kind):
    writer = {"atomic_file": atomic_file, "atomic_folder": atomic_folder}[kind]
    with writer(tmp_path / "one") as first:
        with writer(tmp_path / "one"):
            assert first.exists()
        assert first.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("make", [atomic_folder, scratch_folder])
def test_another_process_may_take_a_new_folder_for_abandoned(tmp_path, monkeypatch, make):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = []

    def remove_first(path):
        opened.append(path)
        if len(opened) == 1:
            path.rmdir()
        return open_folder(path)

    monkeypatch.setattr(abandoned, "open_folder", remove_first)
    with make(tmp_path / "kit") as folder:
        assert folder.is_dir()
        assert opened[1] == folder != opened[0]


def test_a_folder_whose_writer_was_killed_between_its_renames_comes_back(tmp_path):
    folder = tmp_path / "kit"
    (tmp_path / ".kit.0123abcd.old").mkdir()
    (tmp_path / ".kit.0123abcd.old" / "file").touch()
    with pytest.raises(KeyError), atomic_folder(folder):
        raise KeyError
    assert [file.name for file in folder.iterdir()] == ["file"]


def test_what_is_no_file_of_ours_stays(tmp_path):
    names = re.compile(r"mine-.*")
    (tmp_path / "other").mkdir()
    (tmp_path / "mine-link").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "yours")
    (tmp_path / "mine-held").mkdir()
    (tmp_path / "mine-gone").mkdir()
    held = open_folder(tmp_path / "mine-held")
    assert lock(held)
    remove_abandoned(tmp_path, names)
    os.close(held)
    found = {file.name for file in tmp_path.iterdir()}
    assert found == {"other", "mine-link", "yours", "mine-held"}
    remove_abandoned(tmp_path / "absent", names)
