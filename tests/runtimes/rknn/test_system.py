"""A board's system, in a folder: driver, library, device files, and what is told of a misfit."""

from __future__ import annotations

import os
import shutil

import pytest
from fake_rknn import system

from r2p_edge.runtimes.rknn.system import (
    driver_version,
    library_version,
    npu_files,
    system_faults,
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of a board with nothing wrong."""
    system(tmp_path)
    monkeypatch.setattr("r2p_edge.runtimes.rknn.system._ROOT", tmp_path)
    return tmp_path


def test_a_board_with_nothing_wrong(root):
    assert (driver_version(), library_version()) == ("0.9.8", "2.5.0")
    assert [file.name for file in npu_files()] == ["card1", "renderD129"]
    assert system_faults() == []
    assert system_faults("2.5.0") == []
    assert system_faults("of unknown version") == []


def test_a_machine_that_is_no_board(tmp_path, monkeypatch):
    monkeypatch.setattr("r2p_edge.runtimes.rknn.system._ROOT", tmp_path)
    assert (driver_version(), library_version(), npu_files()) == (None, None, [])
    driver, library = system_faults()
    assert driver.startswith("the kernel has no driver rknpu; boot the board maker's kernel")
    assert library.startswith(f"there is no {tmp_path}/usr/lib/librknnrt.so; take rknpu2/")


def test_the_driver_of_linux_itself(root):
    shutil.rmtree(root / "sys/module/rknpu")
    (root / "sys/module/rocket").mkdir()
    (fault,) = system_faults()
    assert fault.startswith("the kernel's driver is rocket, which librknnrt.so cannot use; boot ")


@pytest.mark.parametrize(
    ("version", "fits"), [("0.8.2", False), ("0.9.3", False), ("0.9.6", True), ("0.10.0", True)]
)
def test_drivers(root, version, fits):
    (root / "sys/module/rknpu/version").write_text(version)
    faults = system_faults()
    assert (faults == []) is fits
    if not fits:
        assert faults[0].startswith(f"the driver rknpu is {version}, with which convolutions are")
        assert faults[0].endswith("to one with 0.9.6 or later")


def test_a_driver_that_only_debugfs_tells(root):
    (root / "sys/module/rknpu/version").unlink()
    (root / "sys/kernel/debug/rknpu").mkdir(parents=True)
    (root / "sys/kernel/debug/rknpu/version").write_text("RKNPU driver: v0.9.2\n")
    assert driver_version() == "0.9.2"


@pytest.mark.parametrize(
    ("text", "release", "found", "fault"),
    [
        ("librknnrt version: 2.3.2 (429f97ae6b)", "2.5.0", "2.3.2", "is 2.3.2, older than the too"),
        ("librknnrt version: 2.3.2 (429f97ae6b)", "2.3.2", "2.3.2", None),
        ("librknnrt version: 2.10.0 (0123456789)", "2.5.0", "2.10.0", None),
        ("librknnrt version: 2.3.2 (429f97ae6b)", None, "2.3.2", None),
        ("no release", "2.5.0", "of unknown release", None),
    ],
)
def test_libraries(root, text, release, found, fault):
    (root / "usr/lib/librknnrt.so").write_text(text)
    assert library_version() == found
    faults = system_faults(release)
    assert (faults == []) is (fault is None)
    assert fault is None or (fault in faults[0] and "take that of 2.5.0 or later" in faults[0])


def test_no_device_files(root):
    shutil.rmtree(root / "dev")
    (fault,) = system_faults()
    assert fault.startswith("the NPU has no file in /dev/dri, nor /dev/rknpu; in a container")
    (root / "dev").mkdir()
    (root / "dev/rknpu").touch()  # of a kernel that was built without DRM for it
    assert system_faults() == []


def test_a_user_who_is_not_in_the_group(root, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "renderD129")
    (fault,) = system_faults()
    file = root / "dev/dri/renderD129"
    assert fault == (
        f"this user may not use {file}; join its group (sudo usermod -aG {file.group()} "
        '"$USER") and log in again'
    )
