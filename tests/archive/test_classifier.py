"""Rows of videos: the answers of `Predictor.predict`, whatever shares a batch."""

import numpy as np
import pytest
from models import brightness_model, grey_frames

from r2p_edge import Predictor
from r2p_edge.archive.classifier import Classifier
from r2p_edge.archive.listed import Listed
from r2p_edge.archive.sources import list_archive
from r2p_edge.errors import BackendError, VideoError

IDENTITY = {"model": "d1", "runtime": "onnxruntime", "device": "cpu", "precision": "fp32"}


def rows_of(predictor, listed, **options):
    """Return the rows of each video, after checking that each is answered once."""
    answers = list(Classifier(predictor, "d1", **options).answer(enumerate(listed)))
    found = dict(answers)
    assert len(found) == len(answers)
    assert sorted(found) == list(range(len(listed)))
    return [found[number] for number in sorted(found)]


def test_rows_are_the_answers_of_predict(clips, model):
    listed = list_archive([clips])
    with Predictor(model) as predictor:
        for each, rows in zip(listed, rows_of(predictor, listed, top=9)):
            (row,) = rows
            assert row["video"] == each.video
            assert {name: row[name] for name in IDENTITY} == IDENTITY
            if "damaged" in each.video:
                with pytest.raises(VideoError) as caught:
                    predictor.predict(each.video)
                assert (row["error"], row["size"]) == (str(caught.value), 8)
                assert "label" not in row
                continue
            answer = predictor.predict(each.video)
            ranked = [(row["label"], row["score"])]
            ranked += [(row[f"label_{rank}"], row[f"score_{rank}"]) for rank in (2, 3, 4)]
            assert ranked == answer.top(9)
            assert (row["span_start"], row["span_end"]) == pytest.approx(answer.span, abs=1e-6)
            assert (row["coverage"], row["truncated"]) == (answer.coverage, False)
            assert (row["kind"], row["window"], row["start"]) == ("probabilities", 0, None)
            assert "error" not in row


def test_duration_and_size(clips, model):
    with Predictor(model) as predictor:
        ((row,),) = rows_of(predictor, [Listed(str(clips / "a.mp4"))])
    assert row["duration"] == pytest.approx(10 / 25)
    assert row["size"] == (clips / "a.mp4").stat().st_size


def test_each_window_is_a_row(clips, model):
    listed = list_archive([clips / "b.mp4"])
    with Predictor(model) as predictor:
        (rows,) = rows_of(predictor, listed, views=3, top=1)
        mean = predictor.predict(listed[0].video, clips=3)
        each = predictor.scores(predictor.pixels(listed[0].video, clips=3))
    assert [row["window"] for row in rows] == [0, 1, 2]
    assert {(row["video_label"], row["video_score"]) for row in rows} == {mean.top(1)[0]}
    for row, scores in zip(rows, each):
        assert row["score"] == np.float32(scores.max())
        assert row["label"] == predictor.spec.labels[scores.argmax()]
    spans = [(row["span_start"], row["span_end"]) for row in rows]
    assert spans == [(0.0, 0.24), (0.12, 0.36), (0.24, 0.48)]


def test_a_part_has_its_own_span(clips, model):
    whole = str(clips / "b.mp4")
    with Predictor(model) as predictor:
        rows = rows_of(predictor, [Listed(whole, 0.2, None), Listed(whole, 0.2, 9.0)])
    assert rows[0][0]["span_start"] == pytest.approx(0.2)
    assert rows[0][0]["span_end"] == pytest.approx(0.44)
    assert (rows[0][0]["start"], rows[0][0]["end"]) == (0.2, None)
    assert rows[0][0]["duration"] == pytest.approx(13 / 25)
    assert "the list has the part from 0.2 to 9 s" in rows[1][0]["error"]


@pytest.mark.parametrize(("batch", "views"), [(3, 1), (4, 3), (8, 1), (2, 5)])
def test_batches_are_filled_over_videos(clips, model, tmp_path, monkeypatch, batch, views):
    listed = list_archive([clips])
    with Predictor(model) as predictor:
        expected = rows_of(predictor, listed, views=views)
    with Predictor(brightness_model(tmp_path / "batch.onnx", batch=batch)) as predictor:
        sizes, scores = [], predictor.scores
        monkeypatch.setattr(
            predictor, "scores", lambda pixels: sizes.append(len(pixels)) or scores(pixels)
        )
        assert rows_of(predictor, listed, views=views) == expected
    readable = (len(listed) - 1) * views
    full, rest = divmod(readable, batch)
    assert sizes == [batch] * full + [rest] * (rest > 0)


def test_an_answer_of_nan_is_the_fault_of_one_video(clips, tmp_path, monkeypatch):
    listed = list_archive([clips])
    with Predictor(brightness_model(tmp_path / "batch.onnx", batch=4)) as predictor:
        expected = rows_of(predictor, listed, views=2)
        runtime_run = predictor._runtime.run
        (guilty,) = predictor.pixels(listed[0].video, clips=2)[1:]

        def run(batch):
            output = runtime_run(batch)
            output[[np.array_equal(clip, guilty) for clip in batch]] = np.nan
            return output

        monkeypatch.setattr(predictor._runtime, "run", run)
        found = rows_of(predictor, listed, views=2)
    assert "nan" in found[0][0]["error"]
    assert len(found[0]) == 1
    assert found[1:] == expected[1:]


def test_a_runtime_that_fails_ends_all(clips, model, monkeypatch):
    with Predictor(model) as predictor:
        monkeypatch.setattr(predictor._runtime, "run", lambda batch: fail())
        with pytest.raises(BackendError, match="the GPU is gone"):
            rows_of(predictor, list_archive([clips]))


def fail():
    raise BackendError("the GPU is gone")


def test_a_folder_of_images_has_the_rate_that_is_given(model, clips, tmp_path):
    import cv2

    for number, frame in enumerate(grey_frames(range(10, 60, 5))):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    listed = [Listed(str(tmp_path)), Listed(str(clips / "a.mp4"))]
    with Predictor(model) as predictor:
        (slow,), (file,) = rows_of(predictor, listed, fps=20.0)
        assert slow["duration"] == pytest.approx(0.5)
        assert slow["size"] == sum(image.stat().st_size for image in tmp_path.iterdir())
        assert slow["score"] == predictor.predict(tmp_path, fps=20.0).score
    assert "error" not in file


def test_passwords_are_not_written(model):
    with Predictor(model) as predictor:
        ((row,),) = rows_of(predictor, [Listed("http://me:secret@127.0.0.1:1/x.mp4")])
    assert row["video"] == "http://***@127.0.0.1:1/x.mp4"
    assert "secret" not in str(row)
