"""Fixtures that several test modules of calibration share."""

import pytest
from requirements import needs

from r2p_edge.calibration import motion

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """A folder of short videos of the bundled model's classes, two of each."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(24):
        scene = motion.scene("train", number)
        (folder / scene.label).mkdir(exist_ok=True)
        motion.write_video(scene, folder / scene.label / f"v_{number}.mp4")
    return folder
