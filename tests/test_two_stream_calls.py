"""Two models that answer together: against NumPy, against each alone, and in other processes."""

import pickle

import numpy as np
import pytest
from flows import moving
from models import brightness_model
from pairs import CLASSES, pair_file, scene, taught_models, two_models

from r2p_edge import Predictor
from r2p_edge.errors import ModelError, UsageError, VideoError
from r2p_edge.preprocess.flow import FlowPreprocessor
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec import ClipSpec, FlowSpec, FusionSpec, OutputSpec

WEIGHTED = FusionSpec("logits", rgb=2.0, flow=0.5)


def softmax(logits):
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def fused(fusion, rgb, flow):
    """Return the mean scores of logits of both streams, (clips, classes), as published."""
    if fusion == "i3d":
        return softmax(rgb.astype(np.float64) + flow).mean(axis=0)
    if fusion == "r2plus1d":
        return (0.6 * softmax(rgb) + 0.4 * softmax(flow)).mean(axis=0)
    return softmax(2 * rgb.astype(np.float64) + 0.5 * flow).mean(axis=0)


@pytest.mark.parametrize("fusion", ["i3d", "r2plus1d", WEIGHTED], ids=str)
@pytest.mark.parametrize("runtime", [None, "openvino+onnxruntime"])
@pytest.mark.parametrize("interval", [1, 2])
def test_the_answer_is_that_of_numpy_and_each_stream_answers_as_alone(
    fusion, runtime, interval, tmp_path
):
    frames = moving(23)
    rgb, flow = two_models(tmp_path, clip=ClipSpec(frames=4, interval=interval, fps=25.0))
    with (
        Predictor([rgb, flow], fusion=fusion, runtime=runtime) as both,
        Predictor(rgb) as colours,
        Predictor(flow) as of_flow,
    ):
        for clips in (1, 3):
            answer = both.predict(frames, clips=clips, fps=25)
            alone = [each.outputs(frames, clips=clips, fps=25) for each in (colours, of_flow)]
            np.testing.assert_allclose(answer.scores, fused(fusion, *alone), rtol=0, atol=1e-6)
            assert answer.clips == clips
            pixels = both.pixels(frames, clips=clips, fps=25)
            for name, each in (("rgb", colours), ("flow", of_flow)):
                expected = each.predict(frames, clips=clips, fps=25)
                own = answer.streams[name]
                np.testing.assert_allclose(own.scores, expected.scores, rtol=0, atol=1e-6)
                assert (own.label, own.kind) == (expected.label, "probabilities")
                np.testing.assert_array_equal(
                    pixels[name], each.pixels(frames, clips=clips, fps=25)
                )
        assert both.runtime == (runtime or "onnxruntime")
        assert answer.streams["rgb"].runtime == both.runtime.split("+")[0]
        shown = answer.to_dict(2)["streams"]
        assert shown["flow"]["label"] == answer.streams["flow"].label
        assert len(shown["rgb"]["top"]) == 2


@pytest.mark.slow
def test_each_stream_is_right_where_the_other_is_not_and_both_are_better(tmp_path):
    models = taught_models(tmp_path, range(100, 112))
    clips = [(scene(label, seed), label) for label in CLASSES for seed in range(10)]
    for fusion in ("i3d", "r2plus1d"):
        with Predictor(models, fusion=fusion) as predictor:
            answers = [(predictor.predict(clip, fps=25), label) for clip, label in clips]

        def right(pick, classes=CLASSES, answers=answers):
            found = [pick(each).label == label for each, label in answers if label in classes]
            return sum(found) / len(found)

        both, discs, spots = right(lambda each: each), CLASSES[:2], CLASSES[2:]
        rgb, flow = (lambda each: each.streams["rgb"]), (lambda each: each.streams["flow"])
        assert right(rgb, discs) >= 0.95 > 0.7 >= right(rgb, spots)
        assert right(flow, spots) >= 0.95 > 0.7 >= right(flow, discs)
        assert both >= 0.95
        assert both > max(right(rgb), right(flow)) + 0.1


@pytest.mark.parametrize("picture", ["crop", "resized", "full"])
def test_a_frame_is_resized_once_for_both(picture, tmp_path, monkeypatch):
    resized, frame = [], Preprocessor.frame
    monkeypatch.setattr(
        Preprocessor, "frame", lambda self, *rest: resized.append(self) or frame(self, *rest)
    )
    pairs, displacements = [], FlowPreprocessor.displacements
    monkeypatch.setattr(
        FlowPreprocessor,
        "displacements",
        lambda self, *pair: pairs.append(pair) or displacements(self, *pair),
    )
    frames = iter(moving(5))
    with Predictor(two_models(tmp_path, FlowSpec("farneback", picture)), fusion="i3d") as both:
        both.predict(frames)
    assert len(resized) == 5  # flow of whole frames needs no resized one
    assert len(pairs) == 4


def test_frames_are_those_of_the_colours(tmp_path):
    rgb, flow = two_models(tmp_path)
    with Predictor([rgb, flow], fusion="i3d") as both, Predictor(rgb) as colours:
        answer = both.predict(moving(20), fps=25, keep_frames=True)
        np.testing.assert_array_equal(answer.frames(), colours.pixels(moving(20), fps=25))


def test_another_process_opens_the_same_pair(tmp_path):
    models = two_models(tmp_path)
    path = pair_file(tmp_path / "pair.json", *models, of="logits", rgb=2.0, flow=0.5)
    for given in ({"path": path}, {"path": models, "fusion": WEIGHTED}):
        with Predictor(**given) as predictor:
            wanted = predictor.predict(moving(20), fps=25)
            again = pickle.loads(pickle.dumps(predictor))
            np.testing.assert_array_equal(again.predict(moving(20), fps=25).scores, wanted.scores)
            assert str(models[1]) in repr(again)
            again.close()


def test_probabilities_of_other_kinds(tmp_path):
    sigmoid = OutputSpec(kind="sigmoid")
    models = two_models(tmp_path, output=sigmoid)
    with Predictor(models, fusion="r2plus1d") as predictor:
        assert predictor.spec.output.kind == "sigmoid"
    brightness_model(models[1], predictor.spec.of_flow.replace(output=OutputSpec()))
    with pytest.raises(ModelError, match="give sigmoid and logits; two streams are fused by"):
        Predictor(models, fusion="r2plus1d")
    with pytest.raises(ModelError, match="give sigmoid and logits, and their logits cannot be"):
        Predictor(models, fusion="i3d")


def test_what_two_streams_do_not_have(tmp_path):
    with Predictor(two_models(tmp_path), fusion="i3d") as predictor:
        with pytest.raises(ModelError, match="features are of one; open one of its models"):
            predictor.features(moving(20))
        with pytest.raises(ModelError, match="has no per-frame form; leave out reuse"):
            _ = predictor.per_frame
        with pytest.raises(VideoError, match="expected records of rgb and flow"):
            predictor.scores(np.zeros((1, 4, 48, 48, 3), np.uint8))
    for options in ({"runtime": "a+b+c"}, {"device": "cpu+cpu+cpu"}):
        with pytest.raises(UsageError, match="two streams have one"):
            Predictor(two_models(tmp_path), fusion="i3d", **options)
