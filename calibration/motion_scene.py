"""Scenes of the procedural motion clips: a textured patch over a textured, drifting background.

The patch has seven channels (x, y, angle, log-scale, opacity, shake, nod); a class moves exactly
one of them, as a function that is continuous in time, so the same scene can be drawn at any frame
rate. Every channel that a class does not move has the constant value that its motion would have at
a random moment: one frame therefore has the same distribution in every class, and only motion
distinguishes them.

Scene units: lengths are in frame heights, the origin is the centre of the frame, y points down,
angles are in radians (clockwise on the screen), time is in seconds.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration.motion_look import Look, draw_look

CLASSES = (
    "slide left",
    "slide right",
    "slide up",
    "slide down",
    "rotate clockwise",
    "rotate counter-clockwise",
    "grow",
    "shrink",
    "shake",
    "nod",
    "blink",
    "still",
)
"""The labels of the bundled model, in its output order."""

REVERSED = {
    "slide left": "slide right",
    "slide up": "slide down",
    "rotate clockwise": "rotate counter-clockwise",
    "grow": "shrink",
}
"""Pairs of classes that become each other when a clip is played backwards."""

FRAMES, FPS, INTERVAL, SIZE = 16, 25.0, 2, 112
"""The bundled model's clips: frames per clip, frames per second in training, frames per sampling
period, pixels of height and width."""

SPAN = (FRAMES - 1) * INTERVAL / FPS
"""Seconds from a clip's first frame to its last."""

DURATION = 1.6
"""Length in seconds of a drawn video; the motion is centred on its middle."""

BACKGROUND_CONTRAST = (0.05, 0.5)
"""Range of the background's contrast: 0 is flat, 1 as strong as the patch can be."""

_MOTION: dict[str, dict[str, float]] = {
    "slide left": {"x": -1.0},
    "slide right": {"x": 1.0},
    "slide up": {"y": -1.0},
    "slide down": {"y": 1.0},
    "rotate clockwise": {"angle": 1.0},
    "rotate counter-clockwise": {"angle": -1.0},
    "grow": {"log_scale": 1.0},
    "shrink": {"log_scale": -1.0},
    "shake": {"shake": 1.0},
    "nod": {"nod": 1.0},
    "blink": {"opacity": 1.0},
    "still": {},
}
_CHANNELS = ("x", "y", "angle", "log_scale", "shake", "nod", "opacity")
_BACKGROUND_SPAN = 3.0  # side of the background's texture in frame heights


@dataclass(frozen=True)
class Pose:
    """The place of the patch at one moment (scene units, radians, opacity in 0..1)."""

    x: float
    y: float
    angle: float
    scale: float
    opacity: float


class Scene:
    """One clip: textures and motion, drawn from a seed.

    Args:
        label: one of `CLASSES`.
        seed: any seed of `numpy.random.default_rng`; the same seed draws the same scene.
        background_contrast: in place of `BACKGROUND_CONTRAST`; training starts with less.

    Raises:
        ValueError: the label is not one of `CLASSES`.
    """

    def __init__(
        self,
        label: str,
        seed: int | list[int],
        background_contrast: tuple[float, float] = BACKGROUND_CONTRAST,
    ) -> None:
        if label not in _MOTION:
            raise ValueError(
                f"motion class {label!r} is unknown; it is one of {', '.join(CLASSES)}"
            )
        self.label = label
        rng = np.random.default_rng(seed)
        self._signs = _MOTION[label]

        self._home = rng.uniform(-0.06, 0.06, 2)
        self._turn = rng.uniform(-math.pi, math.pi)
        self._radius = rng.uniform(0.15, 0.24)
        # Rates per second: a clip of 1.2 s slides 0.26 to 0.55 frame heights, turns 60 to 160
        # degrees, grows by a factor of 1.4 to 2.1, and shakes or blinks at 1.8 to 3.2 Hz,
        # well under half of the 12.5 Hz at which a model with 80 ms ticks samples it.
        self._rate = {
            "x": rng.uniform(0.22, 0.46),
            "y": rng.uniform(0.22, 0.46),
            "angle": rng.uniform(0.9, 2.4),
            "log_scale": rng.uniform(0.28, 0.62),
        }
        self._amplitude = rng.uniform(0.045, 0.09, 2)
        self._frequency = rng.uniform(1.8, 3.2)
        self._phase = rng.uniform(0, 2 * math.pi)
        self._dimmest = rng.uniform(0.4, 0.6)
        # The moment and direction that give each channel without motion its constant value.
        self._moment = dict(zip(_CHANNELS, rng.uniform(-SPAN / 2, SPAN / 2, len(_CHANNELS))))
        self._side = dict(zip(_CHANNELS, rng.choice([-1.0, 1.0], len(_CHANNELS))))

        self._rng, self._background_contrast = rng, background_contrast

    @functools.cached_property
    def _look(self) -> Look:
        # Drawn when it is first needed, as poses need no textures.
        return draw_look(self._rng, self._background_contrast)

    def pose(self, time: float) -> Pose:
        """Return the patch's pose `time` seconds after the first moment of the video."""
        value = {name: self._channel(name, time - DURATION / 2) for name in _CHANNELS}
        return Pose(
            x=self._home[0] + value["x"] + value["shake"],
            y=self._home[1] + value["y"] + value["nod"],
            angle=self._turn + value["angle"],
            scale=self._radius * math.exp(value["log_scale"]),
            opacity=value["opacity"],
        )

    def _channel(self, name: str, time: float) -> float:
        moving = name in self._signs
        time = time if moving else self._moment[name]
        sign = self._signs[name] if moving else self._side[name]
        wave = math.sin(2 * math.pi * self._frequency * time + self._phase)
        if name == "shake":
            return float(self._amplitude[0] * wave)
        if name == "nod":
            return float(self._amplitude[1] * wave)
        if name == "opacity":
            return float(self._dimmest + (1 - self._dimmest) * (0.5 + 0.5 * wave))
        return sign * self._rate[name] * time

    def draw(
        self, time: float, *, height: int = 240, width: int = 320, unit: float | None = None
    ) -> npt.NDArray[np.uint8]:
        """Draw the scene `time` seconds after the first moment.

        Args:
            time: in seconds; any number, so that any frame rate can be drawn.
            height: of the picture, in pixels.
            width: of the picture, in pixels.
            unit: pixels per scene unit; by default the height. A larger one draws the centre
                crop of a larger frame.

        Returns:
            uint8 RGB, (height, width, 3).
        """
        import cv2

        unit = float(height) if unit is None else unit
        centre = np.array([(width - 1) / 2, (height - 1) / 2])

        def warp(
            texture: npt.NDArray[np.uint8], pose: Pose, span: float, border: int
        ) -> npt.NDArray[np.uint8]:
            # From output pixel to texel, which cv2 calls the inverse map.
            texels = texture.shape[0] / (span * unit)
            cos, sin = math.cos(pose.angle) * texels, math.sin(pose.angle) * texels
            linear = np.array([[cos, sin], [-sin, cos]])
            origin = centre + unit * np.array([pose.x, pose.y])
            offset = (texture.shape[0] - 1) / 2 - linear @ origin
            matrix = np.column_stack([linear, offset])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            warped = cv2.warpAffine(
                texture, matrix, (width, height), flags=flags, borderMode=border
            )
            return np.asarray(warped, dtype=np.uint8)

        look, pose = self._look, self.pose(time)
        drift = Pose(look.drift[0] * time, look.drift[1] * time, 0.0, 1.0, 1.0)
        background = warp(look.background, drift, _BACKGROUND_SPAN, cv2.BORDER_REFLECT_101)
        patch = warp(look.patch, pose, 2 * pose.scale, cv2.BORDER_CONSTANT)
        alpha = patch[:, :, 3:].astype(np.float32) * np.float32(pose.opacity / 255)
        image = background + (patch[:, :, :3].astype(np.float32) - background) * alpha
        # Sensor noise differs from frame to frame, but not between two drawings of one moment.
        rng = np.random.default_rng([look.noise_seed, round(time * 1e6)])
        noise = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(look.noise)
        pixels = np.clip(image * np.float32(look.gain) + noise, 0, 255)
        return np.asarray(pixels, dtype=np.uint8)
