"""Fixtures that several test modules of calibration share."""

from __future__ import annotations

from pathlib import Path

import pytest
from networks import SMALL, random_parameters, spec_for

from r2p_edge.calibration import motion


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


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """A folder of short videos of the bundled model's classes, two of each."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(24):
        scene = motion.scene("train", number)
        (folder / scene.label).mkdir(exist_ok=True)
        motion.write_video(scene, folder / scene.label / f"v_{number}.mp4")
    return folder


@pytest.fixture(scope="session")
def small_motion_model(tmp_path_factory):
    """A small network with random weights and the classes of the bundled model, as an artifact."""
    from safetensors.numpy import save_file

    from r2p_edge.export.targets.onnx import onnx_from_checkpoint

    folder = tmp_path_factory.mktemp("small_motion")
    weights, path = folder / "net.safetensors", folder / "net.onnx"
    save_file(random_parameters(**{**SMALL, "classes": len(motion.CLASSES)}), weights)
    spec = spec_for(len(motion.CLASSES), name="net").replace(labels=motion.CLASSES)
    onnx_from_checkpoint(weights, spec, path)
    return path
