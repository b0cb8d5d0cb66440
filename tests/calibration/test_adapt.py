"""Adapting a model to recordings: what is written, what is accepted, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from networks import SMALL, spec_for
from requirements import needs

from r2p_edge.calibration import adapt, motion
from r2p_edge.calibration.adapt import adapt_form, form_streams
from r2p_edge.calibration.tick_streams import pieces, recordings, scenes_of_one_class
from r2p_edge.errors import ModelError, ParityError, SpecError, UsageError, VideoError
from r2p_edge.export.build import build
from r2p_edge.export.causal_weights import read_causal_weights

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

SPEC = spec_for(SMALL["classes"], name="net", frames=8)


@pytest.fixture(scope="module")
def model(small_checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("model")
    return build(small_checkpoint, spec=SPEC, targets=["onnx"], out=out).built[0].path


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hall")
    for number in range(6):
        scene = motion.scene("calibration", number)
        motion.write_video(scene, folder / f"{number}.mp4", np.arange(90) / 25, height=48, width=64)
    return folder


def test_weights_that_agree_are_written_and_exported(model, small_checkpoint, videos, tmp_path):
    told = []
    found = adapt_form(
        model,
        tmp_path / "net.npz",
        videos,
        longest_wait=3,
        least=0.3,
        progress=lambda *step: told.append(step),
    )
    assert found.wait <= 3
    assert set(found.agreement) == {"uncut", "cuts"}
    assert all(0.3 <= count.share <= 1 for count in found.agreement.values())
    assert told[0][0] == "windows"
    assert all(done <= total for _, done, total in told)
    weights = read_causal_weights(tmp_path / "net.npz")
    assert (weights.stages, weights.wait) == (2, found.wait)
    assert weights.record["held_out"] == found.to_dict()["agreement"]
    from r2p_edge.calibration.form_agreement import AgreementJudge

    (built,) = build(
        small_checkpoint,
        spec=SPEC,
        targets=["onnx"],
        out=tmp_path / "out",
        form="semi-causal",
        form_weights=tmp_path / "net.npz",
        judge=AgreementJudge(videos, least=0.3),
    ).built
    assert built.spec.per_frame.wait == found.wait
    assert built.spec.per_frame.agreement["wait"]["agree"] > 0


def test_weights_that_agree_too_rarely_are_not_written(model, videos, tmp_path, monkeypatch):
    original = adapt.fit_later_stages

    def inverted(*given):
        fit = original(*given)
        fit.constants["fc.weight"] = -fit.constants["fc.weight"]
        fit.constants["fc.bias"] = -fit.constants["fc.bias"]
        return fit

    monkeypatch.setattr(adapt, "fit_later_stages", inverted)
    message = r"the fitted form .* \(uncut\), .* \(cuts\) of recordings in hall.*"
    with pytest.raises(ParityError, match=f"{message}95.0% is the least; give more recordings"):
        adapt_form(model, tmp_path / "net.npz", videos, longest_wait=0)
    assert not list(tmp_path.iterdir())


def test_recordings_are_held_out_whole(videos):
    streams = form_streams(SPEC, videos, 2)
    fitted = [frame.tobytes() for stream in streams.fit for frame in stream.frames]
    judged = {
        frame.tobytes() for each in streams.held_out.values() for s in each for frame in s.frames
    }
    assert len(judged) > 40
    assert len(set(fitted)) > 80
    assert judged.isdisjoint(fitted)


def test_pieces_are_windows_between_cuts(videos):
    whole = list(recordings(SPEC, sorted(videos.glob("*.mp4")), late=2, most=1000))
    stream = pieces(whole, 8, 2, np.random.default_rng(0))
    frames, sources = list(stream.frames), [list(each.frames) for each in whole]
    place = {
        frame.tobytes(): (number, tick)
        for number, source in enumerate(sources)
        for tick, frame in enumerate(source)
    }
    assert len(stream.ends) >= 20
    for end in stream.ends:
        numbers = {place[frame.tobytes()][0] for frame in frames[end - 7 : end + 1]}
        assert len(numbers) == 1
        assert len(frames) > end + 2


def test_scenes_in_a_row_are_of_one_class():
    spec = spec_for(12, frames=16, size=16).replace(labels=motion.CLASSES)
    stream = scenes_of_one_class(spec, "test", 2, scenes=3, tail=5)
    assert len(stream.ends) == 6
    assert len(list(stream.frames)) == 7 * 20
    every = scenes_of_one_class(spec, "test", 2, scenes=3, every=True)
    assert len(every.ends) == 6 * 5


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stages": 3}, UsageError, "stages is 3"),
        ({"longest_wait": -1}, UsageError, "longest wait is -1"),
        ({"least": 2}, UsageError, "least agreement is 2"),
        ({"folder": None}, UsageError, "give --videos"),
        ({"folder": "absent"}, VideoError, "there is no folder"),
        ({"out": "net.onnx"}, UsageError, "no name of an .npz file"),
    ],
)
def test_what_is_impossible(model, videos, tmp_path, options, error, message):
    options = {"folder": videos, "out": "net.npz", **options}
    with pytest.raises(error, match=message):
        adapt_form(model, tmp_path / options.pop("out"), options.pop("folder"), **options)
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_adapted(small_checkpoint, videos, tmp_path):
    for options, error, message in (
        ({"sampling": "index"}, SpecError, "--sampling time"),
        ({"targets": ["openvino"]}, ModelError, "give the fp32 ONNX model"),
        ({"output_kind": "values"}, ModelError, "answers values"),
    ):
        options = {"targets": ["onnx"], **options}
        (built,) = build(small_checkpoint, spec=SPEC, out=tmp_path, replace=True, **options).built
        with pytest.raises(error, match=message):
            adapt_form(built.path, tmp_path / "net.npz", videos)


def test_too_few_recordings(model, tmp_path):
    scene = motion.scene("calibration", 0)
    motion.write_video(scene, tmp_path / "one.mp4", np.arange(90) / 25, height=48, width=64)
    with pytest.raises(VideoError, match="too few recordings"):
        adapt_form(model, tmp_path / "net.npz", tmp_path)


def test_an_amount_of_nothing(videos):
    with pytest.raises(UsageError, match="amount is 0"):
        form_streams(SPEC, videos, 2, 0)
