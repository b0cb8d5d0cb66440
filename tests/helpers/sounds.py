"""Videos with sound, and what a file holds, by PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np


class Content(NamedTuple):
    """The frames and the sound of a file.

    Attributes:
        times: of the frames, in seconds.
        frames: uint8 RGB (H, W, 3).
        sound: time and bytes of each packet.
        codec: of the sound; None without.
    """

    times: np.ndarray
    frames: list[np.ndarray]
    sound: list[tuple[float, bytes]]
    codec: str | None


def content(path: Path) -> Content:
    """Return what PyAV reads from a file."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
        times = np.array([float(frame.pts * frame.time_base) for frame in decoded])
        frames = [frame.to_ndarray(format="rgb24") for frame in decoded]
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return Content(times, frames, [], None)
        codec = container.streams.audio[0].codec_context.codec.canonical_name
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        sound = [(float(p.pts * p.time_base), bytes(p)) for p in packets]
    return Content(times, frames, sound, codec)


def write_with_sound(
    path: Path,
    images: Sequence[np.ndarray],
    times: Sequence[float],
    *,
    codec: str = "libx264",
    sound: str | None = "aac",
    begin: float = 0.0,
) -> Path:
    """Write a video whose image k is shown from times[k] on, with a tone from `begin` on."""
    untimed = path.suffix == ".avi"
    unit = Fraction(1, 25) if untimed else Fraction(1, 1000)
    rate = 48000 if sound == "libopus" else 44100
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.codec_context.time_base = unit
        audio = None if sound is None else container.add_stream(sound, rate=rate)
        if audio is not None:
            audio.layout = "stereo"
        for number, (image, time) in enumerate(zip(images, times)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number if untimed else round(time / unit), unit
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            _add_tone(container, audio, rate, begin, times[-1])
    return path


def _add_tone(container, audio, rate: int, begin: float, seconds: float) -> None:
    wave = (8000 * np.sin(0.06 * np.arange(round(seconds * rate)))).astype(np.int16)
    samples = np.stack([wave, wave], axis=1).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
    frame.rate, frame.pts, frame.time_base = rate, round(begin * rate), Fraction(1, rate)
    size = audio.codec_context.frame_size or 1024
    resampler = av.AudioResampler(audio.format, audio.layout, rate, frame_size=size)
    for piece in (*resampler.resample(frame), *resampler.resample(None), None):
        container.mux(audio.encode(piece))
