"""The examples run as their docstrings say."""

import subprocess
import sys
from pathlib import Path

from requirements import needs

from r2p_edge.calibration import motion

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_classify_video(motion_model, tmp_path):
    video = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 6), video, motion.frame_times(25))
    output = run(EXAMPLES / "classify_video.py", motion_model, video)
    assert output.split("%", 1)[1].split("\n")[0].strip() == motion.CLASSES[6]


@needs("torch")
def test_train_motion(tmp_path):
    out = tmp_path / "weights.safetensors"
    run(EXAMPLES / "train_motion.py", "--quick", "--test-clips", 12, "--out", out)
    assert out.with_suffix(".json").is_file()
    # What it writes is what the exporter reads.
    command = ("export", out, "--preset", "motion", "--out", tmp_path)
    run("-m", "r2p_edge", *command)
