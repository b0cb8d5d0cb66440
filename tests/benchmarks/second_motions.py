"""A second generator of compound motions, drawn in another manner than the bundled one.

    python tests/benchmarks/second_motions.py FOLDER [--seed 0]

writes a sheet of each class to look at. `draw` draws one clip: an outlined figure of vector art
over stripes, tiles, blobs or a gradient, seen by a camera that may shake, with two motions at once.
It shares no code with the bundled generator. No model had answered its clips when it was written,
and it is not to be tuned to answers: only then does it mean something that a head learns from it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

FRAMES, SIZE = 16, 112
"""Frames of a clip, 80 ms apart, and pixels of a side, as the bundled model takes them."""

COMPOUND: dict[str, tuple[str, str]] = {
    "left+grow": ("left", "grow"),
    "right+shrink": ("right", "shrink"),
    "up+rotate clockwise": ("up", "clockwise"),
    "down+rotate counter-clockwise": ("down", "counter-clockwise"),
    "left+up": ("left", "up"),
    "right+down": ("right", "down"),
    "grow+rotate": ("grow", "clockwise"),
    "shrink+blink": ("shrink", "blink"),
    "left+blink": ("left", "blink"),
    "nod+grow": ("nod", "grow"),
}
"""The two motions of each class."""

CLASSES = tuple(COMPOUND)
"""The classes, as `teach.py --generator` looks for them."""

_SCALE = 3  # pictures are drawn larger and made smaller, for smooth edges
_SECONDS = 0.08 * (FRAMES - 1)


def draw(label: str, seed: int | list[int]) -> Image:
    """Return the frames of one clip, uint8 RGB (16, 112, 112, 3).

    Args:
        label: one of `CLASSES`.
        seed: of `numpy.random.default_rng`; the same one gives the same clip.

    Raises:
        KeyError: the label is none of them.
    """
    motions, rng = COMPOUND[label], np.random.default_rng(seed)
    pose = _poses(motions, rng)
    figure, background = _figure(rng), _background(rng)
    shadow = rng.random() < 0.4
    noise, blur = rng.uniform(0.0, 7.0), rng.uniform(0.0, 0.9)
    drift = rng.normal(0.0, 6.0, 2) * (rng.random() < 0.5)  # of the background, pixels a second
    shake = rng.uniform(0.0, 0.6)  # of the camera, in pixels
    lamp = rng.uniform(0.0, 0.06) * np.sin(np.linspace(0, rng.uniform(1, 5), FRAMES))
    frames = []
    for number in range(FRAMES):
        time = _SECONDS * number / (FRAMES - 1)
        eye = drift * time + rng.normal(0.0, shake, 2)
        image = _shifted(background, eye)
        image = _pasted(image, figure, pose(number / (FRAMES - 1)), shadow=shadow)
        image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        if blur > 0.3:
            image = cv2.GaussianBlur(image, (0, 0), blur)
        grain = rng.normal(0.0, noise, (SIZE, SIZE, 3)) if noise > 1 else 0.0
        frames.append(np.clip(image * (1 + lamp[number]) + grain, 0, 255).astype(np.uint8))
    return np.stack(frames)


Pose = tuple[float, float, float, float, float]
"""Place of the figure in pixels (x, y) from the centre, its angle in degrees clockwise, its radius
in pixels, and its opacity."""


def _poses(motions: tuple[str, str], rng: np.random.Generator) -> Callable[[float], Pose]:
    """Return the pose as a function of the time from 0 to 1."""
    ease = _ease(rng)
    x, y = rng.uniform(-9.0, 9.0, 2)
    angle, radius = rng.uniform(0.0, 360.0), rng.uniform(15.0, 23.0)
    way = rng.uniform(24.0, 46.0, 2)  # in pixels, over the clip
    turn = rng.uniform(70.0, 170.0)
    factor = rng.uniform(1.45, 2.1)
    # Nods and blinks are told apart from slides and fades by going to and fro at least twice.
    nods, blinks = rng.uniform(2.0, 3.4), rng.uniform(2.2, 3.6)
    depth, height = rng.uniform(0.55, 0.9), rng.uniform(5.0, 10.0)
    phase = rng.uniform(0.0, 2 * math.pi)
    # What does not move is now and then where its motion would have brought it.
    rest = {"angle": rng.uniform(-0.5, 0.5), "size": rng.uniform(-0.5, 0.5)}
    fade = rng.uniform(0.6, 1.0)

    def pose(time: float) -> Pose:
        gone = ease(time) - 0.5
        across = {"left": -1.0, "right": 1.0}
        upright = {"up": -1.0, "down": 1.0}
        turning = {"clockwise": 1.0, "counter-clockwise": -1.0}
        sizes = {"grow": 1.0, "shrink": -1.0}
        dx = sum(across.get(name, 0.0) for name in motions) * way[0] * gone
        dy = sum(upright.get(name, 0.0) for name in motions) * way[1] * gone
        if "nod" in motions:
            dy += height * math.sin(2 * math.pi * nods * time + phase)
        spin = sum(turning.get(name, 0.0) for name in motions)
        turned = turn * (spin * gone if spin else rest["angle"])
        grown = sum(sizes.get(name, 0.0) for name in motions)
        power = grown * gone if grown else rest["size"]
        opacity = fade
        if "blink" in motions:
            opacity = 1.0 - depth * (0.5 + 0.5 * math.sin(2 * math.pi * blinks * time + phase))
        return x + dx, y + dy, angle + turned, radius * factor**power, opacity

    return pose


def _ease(rng: np.random.Generator) -> Callable[[float], float]:
    """Return a way to go from 0 to 1: evenly, softly at both ends, faster, slower, or in steps."""
    kind = rng.integers(5)
    power, steps = rng.uniform(1.2, 1.8), int(rng.integers(5, 9))
    ways: tuple[Callable[[float], float], ...] = (
        lambda time: time,
        lambda time: (1 - math.cos(math.pi * time)) / 2,
        lambda time: time**power,
        lambda time: 1 - (1 - time) ** power,
        # Even steps with soft edges, as of a walk.
        lambda time: time - 0.6 * math.sin(2 * math.pi * steps * time) / (2 * math.pi * steps),
    )
    return ways[kind]


def _colour(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a colour, by hue, saturation and value."""
    hue, saturation, value = rng.uniform(0, 180), rng.uniform(40, 255), rng.uniform(50, 250)
    pixel = np.array([[[hue, saturation, value]]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def _figure(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a figure without symmetry, float32 RGBA from 0 to 255; half a side is its radius."""
    side = 64 * _SCALE
    canvas = np.zeros((side, side, 4), np.uint8)
    kind = rng.integers(4)
    fill = (*map(float, _colour(rng)), 255.0)
    line = (*map(float, _colour(rng)), 255.0)
    centre = side / 2

    def polygon(radii: npt.NDArray[np.float64], around: float, colour: object) -> None:
        angles = np.linspace(0, 2 * math.pi, len(radii), endpoint=False)
        points = np.stack([np.cos(angles), np.sin(angles)], 1) * (radii * around)[:, None] + centre
        cv2.fillPoly(canvas, [points.round().astype(np.int32)], colour, lineType=cv2.LINE_AA)

    reach = 0.46 * side
    if kind == 0:  # a star with arms of different lengths
        arms = int(rng.integers(4, 8))
        radii = np.where(np.arange(2 * arms) % 2, rng.uniform(0.35, 0.6), 1.0)
        radii[0] = rng.uniform(0.55, 0.7)
        polygon(radii, reach, fill)
    elif kind == 1:  # a lump
        waves = sum(
            rng.uniform(0, 0.16) * np.cos(order * np.linspace(0, 6.2832, 72) + rng.uniform(0, 6))
            for order in (2, 3, 5)
        )
        polygon(np.clip(0.75 + waves, 0.3, 1.0), reach, fill)
    elif kind == 2:  # an arrow, or a house
        tip, width, shaft = rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.45)
        corners = np.array([
            [0, -1], [width, -1 + tip], [shaft, -1 + tip], [shaft, 0.85],
            [-shaft, 0.85], [-shaft, -1 + tip], [-width, -1 + tip],
        ])  # fmt: skip
        points = (corners * reach + centre).round().astype(np.int32)
        cv2.fillPoly(canvas, [points], fill, lineType=cv2.LINE_AA)
    else:  # a rounded plate
        wide, high = rng.uniform(0.6, 0.95), rng.uniform(0.4, 0.75)
        corner = np.array([wide, high]) * reach
        low, top = (centre - corner).astype(int), (centre + corner).astype(int)
        cv2.rectangle(canvas, tuple(map(int, low)), tuple(map(int, top)), fill, -1, cv2.LINE_AA)
    inside = canvas[:, :, 3].copy()
    for _ in range(int(rng.integers(2, 6))):  # marks, by which a turn is seen
        spot = (centre + rng.uniform(-0.7, 0.7, 2) * reach).astype(int)
        mark = (*map(float, _colour(rng)), 255.0)
        if rng.random() < 0.5:
            cv2.circle(canvas, tuple(map(int, spot)), int(rng.uniform(0.06, 0.2) * side), mark, -1)
        else:
            other = (centre + rng.uniform(-0.7, 0.7, 2) * reach).astype(int)
            ends = tuple(map(int, spot)), tuple(map(int, other))
            cv2.line(canvas, *ends, mark, int(rng.uniform(2, 6) * _SCALE), cv2.LINE_AA)
    outline, _ = cv2.findContours((inside > 127).astype(np.uint8), 0, cv2.CHAIN_APPROX_NONE)
    canvas[:, :, 3] = inside
    if rng.random() < 0.7:
        cv2.drawContours(canvas, outline, -1, line, int(rng.uniform(1, 3) * _SCALE), cv2.LINE_AA)
    return canvas.astype(np.float32)


def _background(rng: np.random.Generator) -> Image:
    """Return a picture with a margin on all sides, uint8 RGB."""
    side = 2 * SIZE * _SCALE
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / (SIZE * _SCALE)
    first, second = _colour(rng), _colour(rng)
    # Two colours that are near each other more often than not: a scene behind, not a rival.
    second = first + (second - first) * rng.uniform(0.1, 0.8)
    kind = rng.integers(4)
    slope = rng.uniform(0, 2 * math.pi)
    along = rows * math.sin(slope) + columns * math.cos(slope)
    if kind == 0:  # stripes with soft edges
        mix = 0.5 + 0.5 * np.tanh(rng.uniform(1, 6) * np.sin(along * rng.uniform(12, 50)))
    elif kind == 1:  # tiles of a floor
        width = rng.uniform(0.08, 0.3)
        mix = (np.floor(rows / width) + np.floor(columns / width)) % 2
    elif kind == 2:  # blobs
        small = rng.normal(size=(int(rng.integers(5, 24)),) * 2).astype(np.float32)
        mix = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
        mix = 1 / (1 + np.exp(-2 * mix))
    else:  # a gradient with a horizon
        mix = np.clip(along / 2 + rng.uniform(-0.3, 0.3), 0, 1)
        mix = mix * (rows > rng.uniform(0.7, 1.3))
    image = first + mix[:, :, None] * (second - first)
    return np.clip(image, 0, 255).astype(np.uint8)


def _shifted(background: Image, eye: npt.NDArray[np.float64]) -> Image:
    """Return the middle of a background as a camera sees it that looks aside by so many pixels."""
    side = SIZE * _SCALE
    move = np.array([[1, 0, -side / 2 - eye[0] * _SCALE], [0, 1, -side / 2 - eye[1] * _SCALE]])
    return cv2.warpAffine(background, move, (side, side), borderMode=cv2.BORDER_REFLECT_101)


def _pasted(image: Image, figure: npt.NDArray[np.float32], pose: Pose, *, shadow: bool) -> Image:
    """Return a picture with the figure laid over it, and with its shadow below it if wanted."""
    x, y, angle, radius, opacity = pose
    side, half = SIZE * _SCALE, (len(figure) - 1) / 2
    # OpenCV turns counter-clockwise, in degrees.
    matrix = cv2.getRotationMatrix2D((half, half), -angle, radius * _SCALE / half)
    matrix[:, 2] += np.array([x, y]) * _SCALE + (side - 1) / 2 - half
    laid = image.astype(np.float32)
    if shadow:
        fallen = matrix + np.array([[0, 0, 2.5 * _SCALE], [0, 0, 3.5 * _SCALE]])
        dark = cv2.warpAffine(figure[:, :, 3], fallen, (side, side))
        dark = cv2.GaussianBlur(dark, (0, 0), 2.0 * _SCALE) / 255
        laid *= 1 - 0.35 * opacity * dark[:, :, None]
    warped = cv2.warpAffine(figure, matrix, (side, side), flags=cv2.INTER_LINEAR)
    alpha = warped[:, :, 3:] * (opacity / 255)
    return (laid + (warped[:, :, :3] - laid) * alpha).clip(0, 255).astype(np.uint8)


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder for the pictures")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for number, label in enumerate(COMPOUND):
        drawn = [draw(label, [options.seed, number, k]) for k in range(4)]
        sheet = np.concatenate([np.concatenate(list(each[::3]), 1) for each in drawn])
        cv2.imwrite(str(options.folder / f"{label}.png"), sheet[:, :, ::-1])


if __name__ == "__main__":
    main()
