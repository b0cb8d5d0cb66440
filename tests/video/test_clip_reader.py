"""Clips of every kind of source: their frames, the warnings, the log, the refusals."""

import hashlib
import inspect
import logging
import weakref

import numpy as np
import pytest
from models import FRAMES, brightness_model, grey_frames, spec_of_brightness
from videos import written

from r2p_edge import Predictor
from r2p_edge.calibration.manifest import Manifest, SampledVideo, read_clips
from r2p_edge.errors import LowFrameRateWarning, UsageError, VideoError
from r2p_edge.prediction import Timing
from r2p_edge.video.clip_reader import ClipReader

SPEC = spec_of_brightness()


@pytest.fixture
def predictor(tmp_path):
    with Predictor(brightness_model(tmp_path / "model.onnx")) as opened:
        yield opened


def shown(clips):
    """Return the level of each frame of each clip."""
    return np.rint(clips.pixels.mean(axis=(2, 3, 4))).astype(int).tolist()


def test_clips_of_an_array():
    clips = ClipReader(SPEC).read(grey_frames(range(20)), clips=3)
    assert shown(clips) == [[0, 2, 4, 6], [6, 8, 10, 12], [13, 15, 17, 19]]
    assert clips.pixels.dtype == np.uint8
    assert clips.pixels.flags.c_contiguous
    assert clips.span == (0.0, pytest.approx(19 / 25))
    assert (clips.coverage, clips.truncated) == (1.0, False)
    assert len(clips.plans) == 3


def test_coverage_is_that_of_all_clips():
    assert ClipReader(SPEC).read(grey_frames(range(3)), clips=2).coverage == 0.5


def test_the_total_includes_every_stage(data):
    timing = Timing()
    ClipReader(SPEC).read(data / "ucf101/YoYo/v_YoYo_g01_c01.avi", timing=timing)
    assert min(timing.decode, timing.preprocess) > 0
    assert timing.decode + timing.preprocess <= timing.total
    assert timing.inference == 0


def test_of_an_iterable_only_preprocessed_frames_are_kept():
    alive = []

    def frames():
        for level in range(12):
            frame = grey_frames([level])[0]
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(each() is not None for each in alive) <= 1

    assert shown(ClipReader(SPEC).read(frames())) == [[2, 4, 6, 8]]


def test_a_slow_source_warns(predictor):
    with pytest.warns(LowFrameRateWarning, match="10 frames a second .* looks at 12.5"):
        predictor.predict(grey_frames(range(9)), fps=10)


@pytest.mark.parametrize("kind", ["path", "array", "iterable"])
@pytest.mark.parametrize("call", ["predict", "outputs", "pixels", "read"])
def test_a_warning_points_at_the_callers_line(predictor, tmp_path, kind, call):
    source = {
        "path": lambda: written(tmp_path / "slow.mp4", np.arange(10) / 10),
        "array": lambda: grey_frames(range(9)),
        "iterable": lambda: iter(grey_frames(range(9))),
    }[kind]()
    options = {} if kind == "path" else {"fps": 10}
    function = ClipReader(SPEC).read if call == "read" else getattr(predictor, call)
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(LowFrameRateWarning) as warned:
        function(source, **options)
    (warning,) = warned
    assert (warning.filename, warning.lineno) == (__file__, line)


def test_a_warning_of_the_calibration_points_at_its_caller(tmp_path):
    path = written(tmp_path / "slow.mp4", np.arange(10) / 10)
    video = SampledVideo(path.name, "frame 0", 1, hashlib.sha256(path.read_bytes()).hexdigest())
    manifest = Manifest((video,), 0, FRAMES, 0, 0, "all", None, None)
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(LowFrameRateWarning) as warned:
        list(read_clips(manifest, tmp_path, SPEC))
    (warning,) = warned
    assert (warning.filename, warning.lineno) == (__file__, line)


@pytest.mark.slow
def test_the_model_runs_once_on_a_damaged_file(predictor, data, monkeypatch):
    ran = []
    run = predictor._runtime.run
    monkeypatch.setattr(predictor._runtime, "run", lambda batch: ran.append(batch) or run(batch))
    with pytest.warns(LowFrameRateWarning):
        prediction = predictor.predict(data / "odd/decord_corrupted.mp4", clips=3)
    assert prediction.span[1] > 4.8
    assert len(ran) == 3


def test_a_damaged_file_is_logged(data, caplog):
    caplog.set_level(logging.INFO, "r2p_edge")
    with pytest.warns(LowFrameRateWarning):
        ClipReader(SPEC).read(data / "odd/decord_corrupted.mp4", clips=3)
    assert {record.name for record in caplog.records} == {"r2p_edge.video.file"}
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert "is damaged: 49 of its frames can be used, 1 cannot" in warning.getMessage()
    told = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert any("other frames at" in message for message in told)
    assert any("to count its frames" in message for message in told)
    assert not logging.getLogger("r2p_edge").handlers


def test_a_whole_file_is_not_logged(data, caplog):
    caplog.set_level(logging.INFO, "r2p_edge")
    ClipReader(SPEC).read(data / "kinetics/carving_ice_rpi.mp4")
    assert not caplog.records


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a/" * 3000, "nul\0byte", "\0"])
@pytest.mark.parametrize("call", ["predict", "outputs", "pixels"])
def test_names_that_cannot_be_looked_up(predictor, name, call):
    function = getattr(predictor, call)
    with pytest.raises(VideoError):
        function(name)
    with pytest.raises(UsageError, match="fps describes arrays, frames and folders"):
        function(name, fps=25)
    with pytest.raises(UsageError, match="color describes arrays"):
        function(name, color="BGR")


def test_frames_per_second_of_a_folder_are_taken(predictor, tmp_path):
    with pytest.raises(VideoError, match="has no images"):
        predictor.predict(str(tmp_path), fps=25)
