"""The frames of the worst videos: those that the model saw, or why they are not shown."""

from __future__ import annotations

import numpy as np
import pytest
from models import brightness_model
from pages_of_html import CheckedPage
from videos import written

from r2p_edge import Predictor
from r2p_edge.calibration.answered import AnsweredVideo
from r2p_edge.calibration.evaluate import evaluate
from r2p_edge.calibration.report import make_report
from r2p_edge.calibration.report.worst import figure_of, frames_seen, worst_of
from r2p_edge.errors import VideoError, VideoNotFoundError


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "model.onnx", factor=0.01)


@pytest.fixture
def seen(tmp_path, model):
    """A video, its answer, and the frames of it as `Predictor` gives them."""
    path = written(tmp_path / "a <b> & \u05d0\n.mp4", np.arange(30) / 25)
    with Predictor(model) as predictor:
        answer = predictor.predict(path, clips=2)
        frames, spec = predictor.pixels(path, clips=2), predictor.spec
    found = AnsweredVideo(
        str(path), size=path.stat().st_size, span=answer.span, views=2, top=tuple(answer.top(4))
    )
    return found, spec, frames


def changed(answer, **fields):
    return AnsweredVideo(**{**vars(answer), **fields})


def test_the_frames_are_those_that_the_model_saw(seen):
    answer, spec, frames = seen
    np.testing.assert_array_equal(frames_seen(answer, spec), frames)
    part = changed(answer, part=(0.4, 1.0), span=None, views=1)
    assert not np.array_equal(frames_seen(part, spec), frames[:1])
    figure = figure_of(answer, spec)
    assert 'alt="frames that the model saw, 0.' in figure
    assert "clips 1, 2 of 2" in figure
    assert "a &lt;b&gt; &amp; \u05d0\u23ce.mp4" in figure


def test_a_video_that_is_not_what_it_was_is_told(seen, tmp_path):
    answer, spec, _ = seen
    for fields in ({"size": 5}, {"span": (0.0, 0.1)}):
        with pytest.raises(VideoError, match="has changed since, or was read at another rate"):
            frames_seen(changed(answer, **fields), spec)
    with pytest.raises(VideoNotFoundError, match="not there any longer"):
        frames_seen(changed(answer, video=str(tmp_path / "gone.mp4")), spec)
    (tmp_path / "damaged.mp4").write_text("no video")
    damaged = figure_of(changed(answer, video=str(tmp_path / "damaged.mp4"), size=None), spec)
    assert "No frames: " in damaged
    assert "cannot be read as a video" in damaged
    many = figure_of(changed(answer, views=5000), spec)
    assert "the answer is of 5000 clips, which are too many for a picture" in many
    address = figure_of(changed(answer, video="http://u:secret@localhost:9/a.mp4"), spec)
    assert "at an address, which is not asked again" in address
    assert "secret" not in address


def test_the_surest_wrong_answers_are_the_worst():
    def judged(score, truth):
        return AnsweredVideo("v", top=(("a", score),), truth=truth)

    answers = [judged(0.4, "b"), judged(0.9, "b"), judged(0.99, "a"), judged(1.0, None)]
    assert [each.score for each in worst_of(answers, 5)] == [0.9, 0.4]
    unknown = [judged(score, None) for score in (0.9, 0.2, 0.5)]
    assert [each.score for each in worst_of(unknown, 2)] == [0.2, 0.5]


def test_eval_makes_the_page_and_report_the_same_from_its_results(model, tmp_path):
    for label, count in (("frame 3", 12), ("frame 2", 2)):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(count):
            written(tmp_path / "set" / label / f"{number}.mp4", np.arange(20) / 25)
    (tmp_path / "set" / "frame 1").mkdir()
    (tmp_path / "set" / "frame 1" / "bad.avi").write_text("no video")
    options = {"out": tmp_path / "r.csv", "report": tmp_path / "a.html", "worst": 1}
    evaluate([model], tmp_path / "set", **options)
    page = CheckedPage(tmp_path / "a.html")
    assert len(page.alts) == 1
    assert "2 videos were answered wrongly" in page.text
    assert "bad.avi" in page.text
    again = make_report([tmp_path / "r.csv"], tmp_path / "b.html", worst=1)
    assert (again["truth"], again["classes"], again["notes"]) == ("the results", 4, [])
    texts = [(tmp_path / name).read_text().replace("its folder", "the results") for name in
             ("a.html", "b.html")]  # fmt: skip
    assert texts[0] == texts[1]
    (tmp_path / "set" / "frame 2" / "0.mp4").unlink()
    (tmp_path / "set" / "frame 2" / "1.mp4").unlink()
    make_report([tmp_path / "r.csv"], tmp_path / "b.html")
    page = CheckedPage(tmp_path / "b.html")
    assert page.text.count("No frames: the video is not there any longer") == 2
