"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import sys

import pytest

from r2p_edge.artifact import atomic
from r2p_edge.artifact.atomic import atomic_folder, atomic_write, check_folder, made_folder
from r2p_edge.errors import ModelNotFoundError, OutputError, VideoNotFoundError


@pytest.mark.parametrize("error", [ModelNotFoundError, VideoNotFoundError, OutputError, KeyError])
def test_an_error_of_the_block_is_not_one_of_the_folder(tmp_path, error):
    path = tmp_path / "kit"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(error, match="not here") as caught, atomic_folder(path):
        raise error("not here")
    assert type(caught.value) is error
    assert [file.name for file in tmp_path.rglob("*")] == ["kit", "old"]


def test_a_full_disk_is_one_of_the_folder(tmp_path):
    with (
        pytest.raises(OutputError, match=r"kit cannot be written: No space left on device; make"),
        atomic_folder(tmp_path / "kit"),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_takes_the_place_of_the_old_one(tmp_path, monkeypatch, at_once):
    if not at_once:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    path = tmp_path / "kit"
    for content in ("one", "two"):
        with atomic_folder(path) as draft:
            (draft / content).touch()
    assert [file.name for file in tmp_path.rglob("*")] == ["kit", "two"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take two steps")
def test_a_folder_that_is_replaced_is_always_there(tmp_path, monkeypatch):
    path = tmp_path / "kit"
    path.mkdir()
    with atomic_folder(path) as draft:
        (draft / "new").touch()
        monkeypatch.setattr(type(path), "replace", None)
    assert [file.name for file in tmp_path.rglob("*")] == ["kit", "new"]


@pytest.mark.parametrize("write", [check_folder, lambda path: atomic_write(path, b"")])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("n" * 300, "File name too long"),
        ("absent/model.onnx", "there is no folder"),
        (".", "it is a folder"),
    ],
)
def test_a_path_that_cannot_be_written(tmp_path, write, name, reason):
    with pytest.raises(OutputError, match=rf"cannot be written: {reason}"):
        write(tmp_path / name)


def test_a_made_folder_goes_again_only_if_it_is_new_and_empty(tmp_path):
    def fail(folder, write):
        def interrupted():
            with made_folder(folder):
                if write:
                    (folder / "file").touch()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        return folder.exists()

    old = tmp_path / "old"
    old.mkdir()
    assert fail(old, write=False)
    assert not fail(tmp_path / "a" / "new", write=False)
    assert fail(tmp_path / "filled", write=True)
    with made_folder(tmp_path / "stays"):
        pass
    assert (tmp_path / "stays").is_dir()
    with pytest.raises(OutputError, match="cannot be made"), made_folder(tmp_path / "filled/file"):
        pass
