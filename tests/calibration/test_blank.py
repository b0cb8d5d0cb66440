"""Clips that show nothing, as codecs and cameras deliver them."""

from __future__ import annotations

import itertools
import shutil
import warnings
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from exit_codes import DATA
from requirements import needs
from videos import real_files

from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.blank import LOOKAHEAD, showing, what_is_blank
from r2p_edge.calibration.clipset import clips_for
from r2p_edge.errors import CalibrationWarning, VideoError
from r2p_edge.export.presets import preset
from r2p_edge.video.clip_reader import ClipReader

SPEC = preset("ucf101-mindspore").spec(name="x")
RANDOM = np.random.default_rng(0)
PICTURE = cv2.GaussianBlur(RANDOM.integers(0, 256, (240, 320, 3), np.uint8), (0, 0), 3)

PIXELS = {"mjpeg": "yuvj420p"}


def encode(path, frames, codec="libx264"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 320, 240, PIXELS.get(codec, "yuv420p")
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def flat(level, noise=0.0):
    """Fifty frames of one colour with the noise of a sensor."""
    for _ in range(50):
        noisy = np.full((240, 320, 3), level) + RANDOM.normal(0, noise, (240, 320, 3))
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def moving(size):
    """Fifty frames of a picture with a white square that moves."""
    for number in range(50):
        frame = PICTURE.copy()
        cv2.rectangle(
            frame, (20 + 4 * number, 80), (20 + 4 * number + size, 80 + size), (255,) * 3, -1
        )
        yield frame


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
@pytest.mark.parametrize(
    ("frames", "what"),
    [
        (lambda: flat(0), "black"),
        (lambda: flat(3, noise=1.5), "black"),
        (lambda: flat((0, 200, 30)), "of one colour"),
        (lambda: flat(255), "of one colour"),
        (lambda: itertools.repeat(PICTURE, 50), "frozen"),
        (lambda: moving(12), None),
        (lambda: moving(60), None),
        (lambda: (f // 8 for f in moving(60)), None),
        (lambda: (np.full((240, 320, 3), 4 * k, np.uint8) for k in range(50)), None),
    ],
    ids=["black", "noisy black", "green", "white", "frozen", "small", "large", "dark", "fade"],
)  # fmt: skip
def test_what_is_blank(tmp_path, frames, what, codec):
    path = encode(tmp_path / "a.mov", frames(), codec)
    assert what_is_blank(ClipReader(SPEC).read(path).pixels[0]) == what


def test_a_camera_on_a_scene_without_motion_is_not_frozen():
    clip = np.clip(PICTURE[:112, :112] + RANDOM.normal(0, 2, (16, 112, 112, 3)), 0, 255)
    assert what_is_blank(clip.astype(np.uint8)) is None


@pytest.mark.slow
def test_which_real_clips_are_blank(data):
    found = {file.name: what_is_blank(ClipReader(SPEC).read(file).pixels[0])
             for file in real_files(data)}  # fmt: skip
    blank = {name: what for name, what in found.items() if what}
    # Ten frames of one picture, by an encoder that is being tested.
    assert blank == {"torchcodec_h265_video.mp4": "frozen"}


def named(*blank):
    """Clips that are blank or show something."""
    shown = RANDOM.integers(0, 256, (4, 16, 16, 3), np.uint8)
    for number, nothing in enumerate(blank):
        yield f"v_{number}", np.zeros_like(shown) if nothing else shown


def test_blank_clips_are_warned_of_or_refused():
    assert len(list(showing(named(*[False] * 10), 10))) == 10
    message = r"^2 of the first 10 calibration clips show nothing \(v_3 is black\)"
    with pytest.warns(CalibrationWarning, match=message):
        assert len(list(showing(named(*[False] * 3, True, True, *[False] * 5), 10))) == 10
    with pytest.warns(CalibrationWarning, match=r"8 of the first 10 .*v_0 is black"):
        assert len(list(showing(named(*[True] * 8, False, False), 10))) == 10
    with pytest.raises(VideoError, match=r"9 of the first 10 .* such as the model will see"):
        list(showing(named(*[True] * 4, False, *[True] * 5), 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(showing(named(True, False), 2, warn=False))


def test_no_blank_clip_is_given_before_one_that_shows_something():
    clips = showing(named(*[True] * 1000), 1000)
    with pytest.raises(VideoError, match=f"{LOOKAHEAD} of the first {LOOKAHEAD} calibration clips"):
        next(clips)


@pytest.fixture
def black(tmp_path):
    """A folder of ten black videos of a class of the bundled model."""
    first = encode(tmp_path / "black/still/v_0.mp4", flat(0))
    for number in range(1, 10):
        shutil.copy(first, first.with_name(f"v_{number}.mp4"))
    return tmp_path / "black"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the 10 calibration clips show 1 of the model's 12 classes")
@needs("onnx")
@needs("onnxruntime")
@needs("safetensors")
def test_calibrating_on_black_videos_is_refused(run, small_motion_model, black, tmp_path):
    few = ("--num-clips", "10", "--out")
    for verb in (("calibrate", small_motion_model, "--videos", black, *few, tmp_path / "int8.onnx"),
                 ("export", small_motion_model, "--to", "onnx", "--precision", "int8", "--videos",
                  black, *few, tmp_path / "out")):  # fmt: skip
        code, _, errors = run(*verb)
        assert code == DATA
        assert "calibration clips show nothing" in errors
        assert "still/v_" in errors
    assert not list(tmp_path.rglob("*int8*"))


@pytest.mark.slow
def test_blank_clips_are_in_the_record(motion_model, videos, tmp_path):
    spec = open_artifact(motion_model).spec
    folder = shutil.copytree(videos, tmp_path / "videos")
    for label in ("nod", "shake"):
        path = next((folder / label).iterdir())
        encode(path, flat(0))
    chosen = clips_for(spec, folder, num_clips=24, judged=1)
    with pytest.warns(CalibrationWarning, match="2 of the first 24 calibration clips show nothing"):
        assert len(list(chosen.calibration())) == 24
    assert chosen.record()["blank"] == 2
    sound = clips_for(spec, videos, num_clips=24, judged=1)
    list(sound.calibration())
    assert "blank" not in sound.record()
