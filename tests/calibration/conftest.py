"""Fixtures that several test modules of calibration share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def float_model(tmp_path_factory) -> Path:
    """A small float R(2+1)D as an ONNX artifact."""
    from quantisation import small_artifact

    return small_artifact(tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="session")
def float_conv2d_model(tmp_path_factory) -> Path:
    """The same network without 3-D convolutions."""
    from quantisation import small_artifact

    return small_artifact(tmp_path_factory.mktemp("float-conv2d"), graph="conv2d")


@pytest.fixture
def out(tmp_path) -> Path:
    """An empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def split(tmp_path):
    """A function that writes a list of videos and returns its path."""

    def split(text, name="trainlist01.txt"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return split


@pytest.fixture
def ucf101_folder(tmp_path) -> Path:
    """A folder of the videos of `video_folders.NAMES`."""
    from video_folders import NAMES, touch

    return touch(tmp_path / "UCF-101", *NAMES)
