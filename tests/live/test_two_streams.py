"""Two models in streams: one ring for both, and the windows that each would have alone."""

import logging

import numpy as np
import pytest
from flows import moving
from pairs import two_models

from r2p_edge import Predictor, Stream
from r2p_edge.errors import ModelError
from r2p_edge.spec import FlowSpec


def answers_of(predictor, frames, times, **options):
    stream = Stream(predictor, **{"stride": 2, **options})
    return [answer for frame, time in zip(frames, times, strict=True)
            if (answer := stream.push(frame, float(time)))]  # fmt: skip


@pytest.mark.filterwarnings("ignore:the stream has 15 frames a second")
@pytest.mark.parametrize("rate", [25.0, 15.0, 40.0])
@pytest.mark.parametrize("picture", ["crop", "resized", "full"])
def test_each_stream_answers_as_it_would_alone(rate, picture, tmp_path):
    frames, times = moving(24, right=1), np.arange(24) / rate
    rgb, flow = two_models(tmp_path, FlowSpec("farneback", picture, bound=20.0, levels="uint8"))
    with (
        Predictor([rgb, flow], fusion="r2plus1d") as both,
        Predictor(rgb) as colours,
        Predictor(flow) as of_flow,
    ):
        answers = answers_of(both, frames, times, stride=1)
        # A window of flow is full a tick later than one of colours.
        alone = {"rgb": answers_of(colours, frames, times, stride=1)[-len(answers) :],
                 "flow": answers_of(of_flow, frames, times, stride=1)}  # fmt: skip
    assert len(answers) == len(alone["flow"]) > 8
    for number, answer in enumerate(answers):
        own = {name: each[number] for name, each in alone.items()}
        for name, each in own.items():
            np.testing.assert_array_equal(answer.streams[name].scores, each.scores)
            assert answer.streams[name].live is None
        mean = 0.6 * own["rgb"].scores.astype(float) + 0.4 * own["flow"].scores
        np.testing.assert_allclose(answer.scores, mean, rtol=0, atol=1e-6)
        assert answer.span == own["flow"].span


def test_smoothing_is_of_the_fused_answer(tmp_path):
    with Predictor(two_models(tmp_path), fusion="i3d") as both:
        plain = answers_of(both, moving(24), np.arange(24) / 25)
        smooth = answers_of(both, moving(24), np.arange(24) / 25, smoothing=0.3)
    for one, other in zip(plain[1:], smooth[1:], strict=True):
        assert not np.array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.streams["rgb"].scores, other.streams["rgb"].scores)


def test_no_window_has_frames_of_two_sizes(tmp_path, caplog):
    small, large = moving(12), np.zeros((12, 120, 160, 3), np.uint8)
    frames = [*small[:6], *large[:6], *small[6:]]
    models = two_models(tmp_path, FlowSpec("farneback", "full"))
    with Predictor(models, fusion="i3d") as both, caplog.at_level(logging.INFO):
        answers = answers_of(both, frames, np.arange(18) / 25, stride=1)
    assert [answer.live.gaps for answer in answers] == [0, 0, 1, 1, 2, 2]
    assert "frames changed from 80x60 to 160x120 pixels" in caplog.text


def test_where_nothing_moves_neither_stream_is_asked(tmp_path):
    still = np.repeat(moving(1), 20, axis=0)
    with Predictor(two_models(tmp_path), fusion="i3d") as both:
        answers = answers_of(both, still, np.arange(20) / 25, motion=15.0)
    assert answers
    assert all(answer.live.still and not answer.streams for answer in answers)


def test_there_is_no_per_frame_form(tmp_path):
    with (
        Predictor(two_models(tmp_path), fusion="i3d") as both,
        pytest.raises(ModelError, match="has no per-frame form; leave out reuse"),
    ):
        Stream(both, reuse="features")
