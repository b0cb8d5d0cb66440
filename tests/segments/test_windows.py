"""The windows of a file: their times, the parts between holes, and how often a file is decoded."""

import av
import numpy as np
import pytest
from models import brightness_model, spec_of_brightness
from per_frame_models import write_per_frame_model, write_semi_causal_model
from tides import FALLING, RISING, tide, write_levels

from r2p_edge import Predictor
from r2p_edge.errors import LowFrameRateWarning, SpecError, UsageError, VideoError
from r2p_edge.segments.windows import Run, score_block, score_windows
from r2p_edge.spec import ClipSpec, OutputSpec
from r2p_edge.video import container

TICK = 0.08


def winners(predictor, windows):
    return [predictor.spec.labels[k] for k in windows.scores.argmax(axis=1)]


def test_windows_are_those_of_a_stream(predictor, tmp_path):
    video = write_levels(tmp_path / "video.mp4", tide("/\\", 1.0))
    windows = score_windows(predictor, video, every=TICK)
    answers = list(predictor.stream(video, every=TICK))
    assert len(answers) == 22  # 25 ticks, the first three of which end no window
    # Where the motion stays, the windows that are not looked at have the same scores too.
    same = np.abs(windows.times - 1.0) > 0.2
    expected = np.array([answer.scores for answer in answers])
    np.testing.assert_allclose(windows.scores[same], expected[same], atol=1e-3)
    np.testing.assert_allclose(windows.times, [sum(a.span) / 2 for a in answers])
    assert (windows.step, windows.truncated) == (pytest.approx(TICK), False)
    assert windows.duration == pytest.approx(2.0)
    assert windows.runs == [Run(0.0, pytest.approx(2.0), 0, 22)]


def test_the_time_of_a_window_is_its_middle(predictor, tmp_path):
    video = write_levels(tmp_path / "video.mp4", tide("/\\/", 1.0))
    windows = score_windows(predictor, video, every=TICK)
    assert windows.times[0] == pytest.approx(0.12)
    # Windows that lie within a second show its motion, and lie around their time.
    for time, label in zip(windows.times, winners(predictor, windows)):
        if 0.13 < time % 1.0 < 0.87:
            assert label == (FALLING if 1 < time < 2 else RISING), time


@pytest.mark.parametrize(
    ("codec", "gop", "suffix"),
    [("mpeg4", 12, ".mp4"), ("mjpeg", 1, ".avi"), ("libx264", 50, ".mkv")],
)
def test_a_file_is_decoded_once(predictor, tmp_path, monkeypatch, codec, gop, suffix):
    levels = tide("/\\/\\", 1.0)
    video = write_levels(tmp_path / f"video{suffix}", levels, codec=codec, gop=gop)
    decoded, opened = [], []
    decode, open_container = container.decode_packets, container.open_container
    monkeypatch.setattr(
        container,
        "decode_packets",
        lambda *given: (decoded.append(step) or step for step in decode(*given)),
    )
    monkeypatch.setattr(
        container, "open_container", lambda *given: opened.append(given) or open_container(*given)
    )
    windows = score_windows(predictor, video, every=TICK)
    assert len(windows.scores) > 40
    assert sum(step.packet is not None for step in decoded) <= len(levels)
    assert len(opened) == 1


class Scores:
    """Scores of windows that are numbers; counts how often each is asked for."""

    def __init__(self, classes):
        self.table = np.eye(3)[classes]
        self.asked = []

    def __call__(self, windows):
        numbers = windows[:, 0].tolist()
        self.asked += numbers
        return self.table[numbers]


def block(first, stop):
    return [np.array([number]) for number in range(first, stop)]


@pytest.mark.parametrize("change", range(1, 33))
def test_a_change_is_found_by_halving(change):
    scores = Scores([0] * change + [1] * (33 - change))
    np.testing.assert_array_equal(score_block(scores, block(0, 33), None, 4), scores.table)
    assert len(scores.asked) == len(set(scores.asked)) <= 9 + 2
    assert {0, 4, 8, 32} <= set(scores.asked)


def test_a_block_goes_on_from_the_one_before():
    scores = Scores([0] * 10 + [1] * 30)
    before = scores.table[9]
    np.testing.assert_array_equal(score_block(scores, block(10, 40), before, 4), scores.table[10:])
    assert len(scores.asked) == 8 + 2
    assert len(score_block(scores, block(10, 11), before, 4)) == 1


def test_windows_between_two_that_agree_lie_between_them():
    scores = Scores([0] * 5)
    scores.table = np.array([[0.6, 0.4], [9, 9], [9, 9], [9, 9], [0.8, 0.2]])
    found = score_block(scores, block(0, 5), None, 4)
    np.testing.assert_allclose(found[:, 0], [0.6, 0.65, 0.7, 0.75, 0.8])


@pytest.mark.parametrize("batch", [1, 8])
def test_the_model_is_run_on_few_windows(tmp_path, monkeypatch, batch):
    video = write_levels(tmp_path / "video.mp4", tide("-", 8.0))
    with Predictor(brightness_model(tmp_path / "net.onnx", batch=batch)) as predictor:
        calls, run = [], predictor._runtime.run
        monkeypatch.setattr(predictor._runtime, "run", lambda x: calls.append(len(x)) or run(x))
        windows = score_windows(predictor, video, every=TICK)
    np.testing.assert_allclose(windows.scores, 0.25, atol=1e-6)
    assert sum(calls) < len(windows.scores) / 2 + 8 * 4
    assert set(calls) == {batch}


def test_missing_frames_part_the_video(predictor, tmp_path):
    times = [k / 25 for k in range(100) if not 25 <= k < 50 and k != 70]
    video = write_levels(tmp_path / "hole.mp4", [100] * len(times), times)
    windows = score_windows(predictor, video, every=TICK)
    first, second = windows.runs
    assert (first.start, first.end) == (0.0, pytest.approx(1.0))
    assert (second.start, second.end) == (pytest.approx(2.0), pytest.approx(4.0))
    assert (first.first, first.stop, second.stop) == (0, second.first, len(windows.times))
    # No window shows frames of both sides, and each has its time on its own.
    assert windows.times[: first.stop].max() < 1.0
    assert windows.times[second.first :].min() > 2.0


def test_a_piece_between_holes_that_is_shorter_than_a_clip_has_no_window(predictor, tmp_path):
    times = [k / 25 for k in (*range(25), *range(50, 54), *range(75, 100))]
    video = write_levels(tmp_path / "pieces.mp4", [100] * len(times), times)
    runs = score_windows(predictor, video, every=TICK).runs
    assert [run.stop > run.first for run in runs] == [True, False, True]


def test_damage_is_a_hole(predictor, data):
    """Frame 30 of 50, ten a second, is refused by the decoder, and a clip is 0.32 s."""
    with pytest.warns(LowFrameRateWarning):
        windows = score_windows(predictor, data / "odd/decord_corrupted.mp4")
    assert [round(run.end, 1) for run in windows.runs] == [3.0, 5.0]


def test_a_video_shorter_than_a_clip_is_one_window(predictor, tmp_path):
    video = write_levels(tmp_path / "short.mp4", tide("/", 1.0)[:6])
    windows = score_windows(predictor, video)
    assert windows.scores.shape == (1, 4)
    np.testing.assert_array_equal(windows.scores[0], predictor.predict(video).scores)
    assert windows.times.tolist() == [pytest.approx(0.12)]
    assert windows.runs == [Run(0.0, pytest.approx(0.24), 0, 1)]


def test_a_video_of_too_few_frames_is_refused(predictor, tmp_path):
    video = write_levels(tmp_path / "lapse.mp4", [100] * 5, [0, 1, 2, 3, 4])
    with pytest.raises(VideoError, match=r"at most 0\.\d+ s apart; give a video of more frames"):
        score_windows(predictor, video)


def test_a_folder_of_images_has_the_rate_that_is_given(predictor, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, level in enumerate(tide("/", 1.0)):
        image = np.full((48, 64, 3), level, np.uint8)
        av.VideoFrame.from_ndarray(image, format="rgb24").save(str(folder / f"{number:03}.png"))
    assert score_windows(predictor, folder).duration == pytest.approx(1.0)
    assert score_windows(predictor, folder, fps=12.5).duration == pytest.approx(2.0)
    with pytest.raises(UsageError, match="a file knows its own rate"):
        score_windows(predictor, folder / "000.png", fps=5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"output": OutputSpec(kind="values")}, UsageError, "gives values and no classes"),
        (
            {"clip": ClipSpec(frames=4, interval=2, fps=25.0, sampling="index")},
            SpecError,
            "--order temporal --sampling time",
        ),
    ],
)
def test_a_model_without_windows_of_classes_is_refused(tmp_path, changes, error, message):
    spec = spec_of_brightness(**changes)
    video = write_levels(tmp_path / "video.mp4", [100] * 50)
    model = brightness_model(tmp_path / "other.onnx", spec)
    with Predictor(model) as predictor, pytest.raises(error, match=message):
        score_windows(predictor, video)


def test_progress_ends_with_the_video(predictor, tmp_path):
    told = []
    video = write_levels(tmp_path / "video.mp4", [100] * 50)
    score_windows(predictor, video, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (pytest.approx(1.96), pytest.approx(1.96))


def test_a_hole_is_where_the_frames_are_missing_at_any_rate(predictor, tmp_path):
    """Most of 60 frames a second are not wanted, also next to the hole."""
    times = [k / 60 for k in range(240) if not 61 <= k < 123]
    video = write_levels(tmp_path / "hole.mp4", [100] * len(times), times, rate=60)
    first, second = score_windows(predictor, video).runs
    assert (first.end, second.start) == (
        pytest.approx(61 / 60, abs=2e-3),
        pytest.approx(123 / 60, abs=1e-3),
    )


@pytest.mark.parametrize("wait", [0, 2])
def test_a_form_that_answers_at_each_frame(tmp_path, wait):
    """Its answers are about the windows that ended `wait` ticks before."""
    times = [k / 25 for k in range(60)]
    video = write_levels(tmp_path / "video.mp4", tide("/", len(times) / 25)[: len(times)], times)
    model = write_semi_causal_model(tmp_path, wait=wait, kind="logits")
    with Predictor(model, runtime="onnxruntime") as predictor:
        kept = score_windows(predictor, video, every=TICK, reuse="features")
        with predictor.stream(video, stride=1, reuse="features") as answers:
            found = list(answers)
        whole = score_windows(predictor, video, every=TICK)
    np.testing.assert_array_equal(kept.scores, [answer.scores for answer in found])
    assert len(kept.scores) == len(whole.scores) - wait
    np.testing.assert_allclose(kept.times, whole.times[: len(kept.times)])
    np.testing.assert_array_equal(kept.scores[0], whole.scores[0])
    assert (kept.scores[1:] != whole.scores[1 : len(kept.scores)]).any()
    assert [answer.live.exact for answer in found] == [True] + [False] * (len(found) - 1)


@pytest.mark.parametrize("border", ["flush", "wait"])
def test_features_are_kept_over_each_part_of_a_video(tmp_path, border):
    """All windows are looked at, as a stream looks at them, and no part knows of another."""
    times = [k / 25 for k in (*range(40), *range(60, 110))]
    video = write_levels(tmp_path / "hole.mp4", tide("/", len(times) / 25)[: len(times)], times)
    model = write_per_frame_model(tmp_path, kind="logits")
    with Predictor(model, runtime="onnxruntime") as predictor:
        kept = score_windows(predictor, video, every=TICK, reuse="features", border=border)
        with predictor.stream(video, stride=1, reuse="features", border=border) as answers:
            found = list(answers)
        whole = score_windows(predictor, video, every=TICK)
    np.testing.assert_array_equal(kept.scores, [answer.scores for answer in found])
    np.testing.assert_allclose(kept.times, [sum(answer.span) / 2 for answer in found])
    assert [(run.start, run.end) for run in kept.runs] == [
        (run.start, run.end) for run in whole.runs
    ]
    waited = 1 if border == "wait" else 0
    for run, other in zip(kept.runs, whole.runs):
        assert run.stop - run.first == other.stop - other.first - waited
        np.testing.assert_array_equal(kept.scores[run.first], whole.scores[other.first])
