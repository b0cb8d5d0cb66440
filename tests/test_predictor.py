"""Predictions on every kind of source: the frames shown, the answers, the refusals."""

import dataclasses
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import onnx
import pytest
from models import FRAMES, brightness_model, grey_frames, levels, spec_of_brightness
from videos import written

from r2p_edge import Predictor, Stream
from r2p_edge.errors import (
    BackendError,
    MissingDependencyError,
    ModelError,
    SpecError,
    UnknownFrameRateWarning,
    UsageError,
    VideoError,
)
from r2p_edge.spec import InputSpec, OutputSpec


@pytest.fixture
def predictor(tmp_path):
    with Predictor(brightness_model(tmp_path / "model.onnx")) as opened:
        yield opened


def relative(frames):
    """Return what `levels` gives for a model that was shown frames of these levels."""
    return [value - min(frames) for value in frames]


def test_an_array_of_the_clips_length_is_the_clip(predictor):
    prediction = predictor.predict(grey_frames([10, 13, 11, 20]))
    assert levels(prediction) == relative([10, 13, 11, 20])
    assert prediction.label == "frame 3"
    assert prediction.score == pytest.approx(1 / (1 + np.exp(-7) + np.exp(-9) + np.exp(-10)), 1e-3)
    assert prediction.scores.sum() == pytest.approx(1)
    assert prediction.coverage == 1
    assert prediction.top(2)[0] == ("frame 3", prediction.score)


def test_any_other_length_is_a_video(predictor):
    video = grey_frames(range(20))
    start = (20 - 7) // 2
    centre = [start, start + 2, start + 4, start + 6]
    assert levels(predictor.predict(video)) == relative(centre)
    faster = predictor.predict(grey_frames(range(40)), fps=50)  # the same motion at twice the rate
    assert levels(faster) == relative([2 * value for value in centre])
    assert predictor.predict(video).span == pytest.approx((start / 25, (start + 6) / 25))


def test_exactly_a_clips_frames_at_a_rate_are_a_video(predictor):
    """At a rate, four frames are shorter than a clip, as three and five are."""
    for count in (3, FRAMES, 5):
        for source in (grey_frames(range(count)), iter(grey_frames(range(count)))):
            prediction = predictor.predict(source, fps=25)
            last = count - 1
            assert levels(prediction) == relative([0, 2, *[min(4, last)], min(6, last)])
            assert prediction.coverage == (count + 1) // 2 / 4


def test_several_clips_are_averaged(predictor):
    video = grey_frames(range(20))
    alone = [predictor.predict(video[i : i + 7 : 2]).scores for i in (0, 6, 13)]
    together = predictor.predict(video, clips=3)
    assert together.clips == 3
    np.testing.assert_allclose(together.scores, np.mean(alone, axis=0), rtol=1e-5)


def test_an_iterable_is_the_same_as_its_array(predictor):
    for count in (1, 3, FRAMES, 5, 30):
        video = grey_frames(range(count))
        from_array = predictor.predict(video)
        from_iterable = predictor.predict(frame for frame in video)
        np.testing.assert_array_equal(from_array.scores, from_iterable.scores)
        assert from_array.coverage == from_iterable.coverage
    assert predictor.predict(list(grey_frames(range(9)))).clips == 1


def test_a_short_video_repeats_its_last_frame(predictor):
    prediction = predictor.predict(grey_frames([5, 6, 7]))
    assert levels(prediction) == relative([5, 7, 7, 7])
    assert prediction.coverage == 0.5


def test_color(tmp_path):
    frames = np.zeros((FRAMES, 9, 9, 3), np.uint8)
    frames[..., 0] = np.array([3, 1, 2, 0])[:, None, None]  # red, or blue if these are BGR
    for wanted in ("RGB", "BGR"):
        spec = spec_of_brightness(input=InputSpec(color=wanted))
        path = brightness_model(tmp_path / f"{wanted}.onnx", spec, channel=0)
        with Predictor(path) as predictor:
            other = "BGR" if wanted == "RGB" else "RGB"
            assert levels(predictor.predict(frames, color=wanted)) == [3, 1, 2, 0]
            assert levels(predictor.predict(frames, color=other)) == [0, 0, 0, 0]


def test_it_is_callable_and_says_what_it_is(predictor, tmp_path):
    video = grey_frames(range(20))
    assert predictor(video, clips=2).top() == predictor.predict(video, clips=2).top()
    path = str(tmp_path / "model.onnx")
    shown = f"Predictor({path!r}, runtime='onnxruntime', device='cpu', precision='fp32'"
    assert repr(predictor) == shown + ")"
    predictor.close()
    assert repr(predictor) == shown + ", closed)"


def test_the_duration_is_to_the_end_of_the_last_frame(predictor, tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(60) / 30)
    assert predictor.predict(path).duration == pytest.approx(2)
    assert predictor.predict(grey_frames(range(60)), fps=60).duration == pytest.approx(1)
    assert predictor.predict(iter(grey_frames(range(60))), fps=60).duration == pytest.approx(1)


def test_a_folder_without_its_rate_warns(predictor, tmp_path):
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.png"), grey_frames([number])[0])
    with pytest.warns(UnknownFrameRateWarning, match=r"25 frames a second, .* give its own rate"):
        predictor.predict(tmp_path)
    assert predictor.predict(tmp_path, fps=25).coverage == 1  # and no warning


def test_a_batch_that_is_not_filled_is_told_once(tmp_path, caplog):
    path = brightness_model(tmp_path / "model.onnx", batch=3)
    with Predictor(path) as predictor:
        predictor.warmup()
        predictor.predict(grey_frames(range(20)), clips=3)
        assert not caplog.records
        for _ in range(2):
            predictor.predict(grey_frames(range(20)))
    (record,) = caplog.records
    assert "computes 3 clips in each call" in record.getMessage()
    assert "--batch 1" in record.getMessage()


@pytest.mark.parametrize("layout", ["NTHWC", "NCTHW"])
def test_float32_models_get_normalised_tensors(tmp_path, layout):
    wanted = InputSpec(dtype="float32", layout=layout, normalized_in_graph=False)
    spec = spec_of_brightness(input=wanted, mean=(0.2, 0.2, 0.2), std=(0.5, 0.5, 0.5))
    path = brightness_model(tmp_path / "model.onnx", spec, factor=255 * 0.5)
    with Predictor(path) as predictor:
        assert levels(predictor.predict(grey_frames([4, 9, 2, 1]))) == [3, 8, 1, 0]


@pytest.mark.parametrize("batch", [3, "batch"])
def test_any_batch_axis(tmp_path, batch):
    path = brightness_model(tmp_path / "model.onnx", batch=batch)
    video = grey_frames(range(30))
    with Predictor(path) as batched, Predictor(brightness_model(tmp_path / "one.onnx")) as single:
        for clips in (1, 3, 4, 7):
            np.testing.assert_allclose(
                batched.predict(video, clips=clips).scores,
                single.predict(video, clips=clips).scores,
                rtol=1e-6,
            )


def test_probabilities_are_not_softened_again(tmp_path):
    spec = spec_of_brightness(output=OutputSpec(kind="probabilities"))
    path = brightness_model(tmp_path / "model.onnx", spec, factor=0.01)
    with Predictor(path) as predictor:
        scores = predictor.predict(grey_frames([10, 20, 30, 40])).scores
    np.testing.assert_allclose(scores, [0.1, 0.2, 0.3, 0.4], rtol=1e-5)


def test_sigmoids_are_left_as_they_are(tmp_path):
    spec = spec_of_brightness(output=OutputSpec(kind="sigmoid"))
    path = brightness_model(tmp_path / "model.onnx", spec, factor=1 / 255)
    with Predictor(path) as predictor:
        answer = predictor.predict(grey_frames([51, 204, 255, 102]))
        np.testing.assert_allclose(answer.scores, [0.2, 0.8, 1.0, 0.4], rtol=1e-5)
        assert (answer.label, answer.kind) == ("frame 2", "sigmoid")
        assert answer.to_dict()["kind"] == "sigmoid"
    path = brightness_model(tmp_path / "model.onnx", spec)
    with Predictor(path) as predictor, pytest.raises(SpecError, match="which are not sigmoids"):
        predictor.predict(grey_frames([4, 1, 3, 2]))


def test_values_are_no_classes(tmp_path):
    spec = spec_of_brightness(output=OutputSpec(kind="values"), labels=("EF",))
    path = brightness_model(tmp_path / "model.onnx", spec, outputs=1)
    with Predictor(path) as predictor:
        answer = predictor.predict(grey_frames([55, 0, 0, 0]))
        stream = Stream(predictor, smoothing=0.5)
        with pytest.raises(UsageError, match="min_score chooses between classes"):
            Stream(predictor, min_score=0.5)
        tick = spec.clip.tick
        answers = [stream.push(frame, k * tick) for k, frame in enumerate(grey_frames([50] * 8))]
    assert answer.top() == [("EF", pytest.approx(55, rel=1e-5))]
    assert (answer.label, answer.score, answer.kind) == ("", answer.top()[0][1], "values")
    assert answer.shown(answer.score) == "      55"
    plain = answer.to_dict()
    assert (plain["label"], plain["kind"]) == (None, "values")
    last = [each for each in answers if each is not None][-1]
    assert (last.label, last.score, last.kind) == ("", pytest.approx(50, rel=1e-5), "values")


def test_a_folder_and_its_array_agree(predictor, tmp_path):
    video = grey_frames(range(0, 60, 3))
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(video):
        cv2.imwrite(str(folder / f"{number}.png"), frame)
    for options in ({"fps": 25}, {"fps": 50}, {"clips": 4, "fps": 25}):
        np.testing.assert_array_equal(
            predictor.predict(folder, **options).scores, predictor.predict(video, **options).scores
        )


def test_seed_order_reads_frames_as_text(tmp_path):
    clip = dataclasses.replace(
        spec_of_brightness().clip, sampling="index", order="lexicographic", offsets="linspace"
    )
    path = brightness_model(tmp_path / "model.onnx", spec_of_brightness(clip=clip))
    order = sorted(range(30), key=str)
    start = (30 - 8) // 2
    offsets = np.linspace(0, 8, 4).clip(0, 7).astype(int)
    with Predictor(path) as predictor:
        shown = levels(predictor.predict(grey_frames(range(30))))
    assert shown == relative([order[start + offset] for offset in offsets])


def test_threads_get_their_own_answers(predictor):
    clips = [grey_frames(np.roll([1, 5, 3, 0], k) + k) for k in range(4)]
    expected = [levels(predictor.predict(clip)) for clip in clips]
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        return [levels(predictor.predict(clips[(number + i) % 4])) for i in range(25)]

    with ThreadPoolExecutor(8) as pool:
        for number, answers in enumerate(pool.map(work, range(8))):
            assert answers == [expected[(number + i) % 4] for i in range(25)]


def test_timing_adds_up(predictor, data):
    timing = predictor.predict(data / "ucf101/YoYo/v_YoYo_g01_c01.avi").timing
    assert min(timing.decode, timing.preprocess, timing.inference) > 0
    assert timing.decode + timing.preprocess + timing.inference <= timing.total


def test_close(predictor):
    predictor.warmup()
    predictor.close()
    predictor.close()
    with pytest.raises(BackendError, match="closed"):
        predictor.predict(grey_frames(range(FRAMES)))


def test_arguments(predictor, tmp_path, data):
    video = data / "ucf101/YoYo/v_YoYo_g01_c01.avi"
    frames = grey_frames(range(9))
    for options, message in (
        ({"clips": 0}, "clips is 0"),
        ({"clips": 1.5}, "clips is 1.5"),
        ({"clips": "3"}, "clips is '3'"),
        ({"fps": "25"}, "fps is '25'"),
        ({"fps": 1e-9}, "fps is 1e-09"),
        ({"fps": 0.0}, "fps is 0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"color": "rgb"}, "color is 'rgb'"),
    ):
        with pytest.raises(UsageError, match=message):
            predictor.predict(frames, **options)
    with pytest.raises(UsageError, match="a file knows its own rate"):
        predictor.predict(video, fps=30)
    with pytest.raises(UsageError, match="color describes arrays"):
        predictor.predict(video, color="BGR")
    for source, message in (
        (3, "3 is not a video"),
        ([grey_frames([1])[0], None], "an item of the iterable is None"),
        (["frame.png"], "an item of the iterable is 'frame.png'"),
        (iter(()), "gave no frame"),
        ([np.zeros((8, 8), np.uint8)], r"shape \(8, 8\)"),
        ([np.zeros((8, 8, 3), float)], "dtype float64"),
        (np.zeros((8, 8, 3), np.uint8), r"shape \(8, 8, 3\)"),
    ):
        with pytest.raises(VideoError, match=message):
            predictor.predict(source)


def test_runtimes_and_devices(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="unknown runtime 'tflite'; choose one of onnxruntime"):
        Predictor(path, runtime="tflite")
    with pytest.raises(BackendError, match=r"no device 'npu' here; it has .*cpu"):
        Predictor(path, device="npu")
    with pytest.raises(BackendError, match="no device 'cpu:x'"):
        Predictor(path, device="cpu:x")
    with pytest.raises(UsageError, match="threads is 0"):
        Predictor(path, threads=0)
    engine = tmp_path / "model.bin"
    engine.write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match=r"not a model file for any .*onnxruntime runs \.onnx"):
        Predictor(engine, spec=spec_of_brightness())
    with pytest.raises(BackendError, match="no device 'azure'"):
        Predictor(path, device="azure")
    with Predictor(path, runtime="onnxruntime", device="CPU", threads=1) as predictor:
        assert (predictor.runtime, predictor.device) == ("onnxruntime", "cpu")


def test_a_spec_that_contradicts_the_model(tmp_path):
    path = brightness_model(tmp_path / "model.onnx", outputs=6)
    with pytest.raises(SpecError, match=r"shape \(1, 6\) but its spec has 4 labels"):
        Predictor(path)
    path = brightness_model(tmp_path / "model.onnx")
    clip = dataclasses.replace(spec_of_brightness().clip, frames=8)
    labels = tuple("abcd")
    with pytest.raises(SpecError, match=r"takes uint8 \(1, 4, 8, 8, 3\) but its spec says uint8"):
        Predictor(path, spec=spec_of_brightness(clip=clip, labels=labels))
    planes = InputSpec(dtype="float32", layout="NTHWC", normalized_in_graph=False)
    with pytest.raises(SpecError, match="spec says float32"):
        Predictor(path, spec=spec_of_brightness(input=planes))


def test_outputs_are_found_by_name(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    other = onnx.helper.make_tensor_value_info("levels", onnx.TensorProto.FLOAT, [1, FRAMES])
    model.graph.output.insert(0, other)
    onnx.save(model, path)
    frames = grey_frames([4, 1, 3, 2])
    with Predictor(path) as predictor:
        assert levels(predictor.predict(frames)) == [3, 0, 2, 1]
    absent = spec_of_brightness(output=OutputSpec(name="scores"))
    with pytest.raises(SpecError, match="no output 'scores' but levels, logits"):
        Predictor(path, spec=absent)


def test_logits_that_are_called_probabilities(tmp_path):
    spec = spec_of_brightness(output=OutputSpec(kind="probabilities"))
    path = brightness_model(tmp_path / "model.onnx", spec)
    with Predictor(path) as predictor, pytest.raises(SpecError, match=r"set output\.kind"):
        predictor.predict(grey_frames([4, 1, 3, 2]))


def test_nan_is_an_error(tmp_path):
    path = brightness_model(tmp_path / "model.onnx", factor=float("nan"))
    with (
        Predictor(path) as predictor,
        pytest.raises(ModelError, match="answers nan on onnxruntime"),
    ):
        predictor.predict(grey_frames(range(FRAMES)))


def test_a_damaged_model(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes().replace(b"ReduceMean", b"ReduceBean"))
    with pytest.raises(ModelError, match=r"onnxruntime .* cannot load .*model\.onnx"):
        Predictor(path)


def test_missing_packages_name_their_extra(tmp_path, monkeypatch):
    path = brightness_model(tmp_path / "model.onnx")
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="pip install onnxruntime"):
        Predictor(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning")
@pytest.mark.parametrize("clips", [1, 10])
def test_every_real_file_answers(motion_model, data, clips):
    with Predictor(motion_model) as predictor:
        for path in sorted(data.glob("odd/*.*")) + sorted(data.glob("kinetics/*.mp4")):
            prediction = predictor.predict(path, clips=clips)
            assert prediction.scores.sum() == pytest.approx(1, abs=1e-5)
            assert not prediction.truncated
