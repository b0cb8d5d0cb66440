"""Classes of two motions at once, which the bundled model was not trained on.

    python tests/benchmarks/compound_scenes.py FOLDER [--train 60] [--test 40]

writes videos of each class into FOLDER/train (seeds [100, number]) and FOLDER/test ([102, number]),
on which docs/fine-tuning.md trains. `CLASSES` and `draw` are the generator of clips of `teach.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from r2p_edge.calibration import motion

_SIGNS = {
    "left and grow": {"x": -1.0, "log_scale": 1.0},
    "right and shrink": {"x": 1.0, "log_scale": -1.0},
    "up and clockwise": {"y": -1.0, "angle": 1.0},
    "down and counter-clockwise": {"y": 1.0, "angle": -1.0},
    "left and up": {"x": -1.0, "y": -1.0},
    "right and down": {"x": 1.0, "y": 1.0},
    "grow and clockwise": {"log_scale": 1.0, "angle": 1.0},
    "shrink and blink": {"log_scale": -1.0, "opacity": 1.0},
    "left and blink": {"x": -1.0, "opacity": 1.0},
    "nod and grow": {"nod": 1.0, "log_scale": 1.0},
}
CLASSES = tuple(_SIGNS)
"""The labels."""


class CompoundScene(motion.Scene):
    """A scene of the bundled generator in which two channels move.

    Everything else is drawn from the seed as there: texture, size, rates, background.
    """

    def __init__(self, label: str, seed: int | list[int]) -> None:
        super().__init__("still", seed)
        self.label, self._signs = label, _SIGNS[label]


def draw(label: str, seed: list[int]) -> np.ndarray:
    """Return a clip: uint8 RGB (16, height, width, 3), 80 ms from frame to frame."""
    return frames_of(CompoundScene(label, seed))


def frames_of(scene: motion.Scene) -> np.ndarray:
    """Return the frames of a scene that the bundled model looks at."""
    first = (motion.DURATION - motion.SPAN) / 2
    times = first + np.arange(motion.FRAMES) * motion.INTERVAL / motion.FPS
    return np.stack([scene.draw(float(time)) for time in times])


def write_videos(folder: Path, split: int, shots: int) -> None:
    """Write videos of the scenes into a folder for each class."""
    for number in range(shots * len(CLASSES)):
        label = CLASSES[number % len(CLASSES)]
        place = folder / label
        place.mkdir(parents=True, exist_ok=True)
        motion.write_video(CompoundScene(label, [split, number]), place / f"{number}.mp4")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=60, help="videos of each class to train on")
    parser.add_argument("--test", type=int, default=40, help="others of each class")
    options = parser.parse_args()
    write_videos(options.folder / "train", 100, options.train)
    write_videos(options.folder / "test", 102, options.test)


if __name__ == "__main__":
    main()
