"""The parts of a small R(2+1)D as the exporter makes them, on the device and in a plain loop."""

import hashlib

import numpy as np
import onnx
import pytest
import quantisation
from networks import SMALL, small_network, spec_for
from onnx import helper

from r2p_edge import Predictor, Stream
from r2p_edge.artifact.onnx_metadata import METADATA_KEY
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.export.graph.float16 import half_from_float
from r2p_edge.export.graph.per_frame.forms import per_frame_form, semi_causal_form
from r2p_edge.export.verify.per_frame_run import PerFrameRun
from r2p_edge.per_frame.state import FrameState
from r2p_edge.spec import PartSpec

FRAMES, SIZE = 16, 32


@pytest.fixture(scope="module")
def spec():
    return spec_for(SMALL["classes"], frames=FRAMES, size=SIZE, graph="conv3d")


@pytest.fixture(scope="module")
def model(spec):
    return small_network(spec)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(2).integers(0, 256, (60, SIZE, SIZE, 3), np.uint8)


def written(folder, model, spec, form):
    """Write a model beside the parts of its form; return its path."""
    parts = {}
    for name, graph in form.parts.items():
        content = graph.SerializeToString()
        (folder / f"test-fp32-{name}.onnx").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        parts[name] = PartSpec(f"test-fp32-{name}.onnx", digest)
    spec = spec.replace(per_frame=form.contract(parts))
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    helper.set_model_props(whole, {METADATA_KEY: spec.to_json()})
    onnx.save(whole, folder / "test-fp32.onnx")
    return folder / "test-fp32.onnx"


@pytest.mark.parametrize("border", ["flush", "wait"])
@pytest.mark.parametrize("stages", [0, 1, 2])
def test_answers_are_those_of_a_plain_loop(tmp_path, model, spec, frames, stages, border):
    form = per_frame_form(model, spec, stages)
    path, loop = written(tmp_path, model, spec, form), PerFrameRun(form, FRAMES)
    for runtime in ("onnxruntime", "openvino"):
        loop.reset()
        with Predictor(path, runtime=runtime, threads=1) as predictor:
            state = FrameState(predictor.per_frame, border)
            for number, frame in enumerate(frames):
                loop.step(frame)
                state.frame[:] = frame
                state.step()
                if number < FRAMES - 1 + state.wait or number % 4:
                    continue
                wanted, found = loop.answer(border), state.answer()[0]
                limit = 1e-5 * float(np.abs(wanted).max())
                np.testing.assert_allclose(found, wanted, rtol=0, atol=limit)


def test_a_form_that_answers_at_each_frame(tmp_path, model, spec, frames):
    form = semi_causal_form(model, spec, 1, wait=3)
    path, loop = written(tmp_path, model, spec, form), PerFrameRun(form, FRAMES)
    with Predictor(path, runtime="onnxruntime", threads=1) as predictor:
        state = FrameState(predictor.per_frame)
        assert state.wait == 3
        for frame in frames:
            state.frame[:] = frame
            state.step()
            wanted = loop.step(frame)
            limit = 1e-5 * float(np.abs(wanted).max())
            np.testing.assert_allclose(state.answer(), wanted, rtol=0, atol=limit)


def test_the_first_window_that_is_flushed_is_the_clip_itself(tmp_path, model, spec, frames):
    """The zeros before a run's first frame are those of a clip, in each layer."""
    path = written(tmp_path, model, spec, per_frame_form(model, spec, 2))
    with Predictor(path, runtime="onnxruntime", threads=1) as predictor:
        state = FrameState(predictor.per_frame, "flush")
        for frame in frames[:FRAMES]:
            state.frame[:] = frame
            state.step()
        (whole,) = predictor.outputs_of(frames[np.newaxis, :FRAMES])
        limit = 1e-5 * float(np.abs(whole).max())
        np.testing.assert_allclose(state.answer()[0], whole, rtol=0, atol=limit)


def test_a_stream_of_them(tmp_path, model, spec):
    path = written(tmp_path, model, spec, per_frame_form(model, spec, 2))
    images = np.random.default_rng(1).integers(0, 256, (40, 48, 91, 3), np.uint8)
    with Predictor(path, runtime="onnxruntime", threads=1) as predictor:
        streams = [Stream(predictor, stride=1)]
        streams += [
            Stream(predictor, stride=1, reuse="features", border=border)
            for border in ("flush", "wait")
        ]
        whole, flushed, waited = (
            [a for k, image in enumerate(images) if (a := stream.push(image, k * 0.08))]
            for stream in streams
        )
    wait = predictor.spec.per_frame.wait
    assert [len(found) for found in (whole, flushed, waited)] == [25, 25, 25 - wait]
    assert [a.live.exact for a in flushed] == [True, *[False] * 24]
    for other in (flushed, waited):
        np.testing.assert_array_equal(other[0].scores, whole[0].scores)
        assert [a.span for a in other] == [a.span for a in whole][: len(other)]
    assert {round(a.live.lag / 0.08) for a in waited[1:]} == {wait}


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    """The small network in int8, opened with the parts of two stages."""
    folder = tmp_path_factory.mktemp("int8")
    source = quantisation.small_artifact(folder)
    quantize_onnx(source, folder / "whole.onnx", lambda: quantisation.CLIPS, profile="cpu-avx2")
    whole, spec = onnx.load(folder / "whole.onnx"), open_artifact(folder / "whole.onnx").spec
    form = per_frame_form(whole, spec, 2)
    with Predictor(written(folder, whole, spec, form), runtime="onnxruntime", threads=1) as opened:
        yield opened, form


@pytest.fixture(scope="module")
def small_frames():
    size = quantisation.SIZE
    return np.random.default_rng(4).integers(0, 256, (40, size, size, 3), np.uint8)


@pytest.mark.parametrize("border", ["flush", "wait"])
def test_bytes_are_kept_of_an_int8_model(int8, small_frames, border):
    predictor, form = int8
    state, loop = FrameState(predictor.per_frame, border), PerFrameRun(form, quantisation.FRAMES)
    assert {ring.dtype for ring in form.rings} == {"uint8"}
    for number, frame in enumerate(small_frames):
        loop.step(frame)
        state.frame[:] = frame
        state.step()
        if number >= quantisation.FRAMES + state.wait:
            np.testing.assert_array_equal(state.answer()[0], loop.answer(border))


@pytest.mark.slow
@pytest.mark.parametrize("border", ["flush", "wait"])
def test_ten_thousand_frames_of_an_int8_model_do_not_drift(int8, small_frames, border):
    """A period later the answers are the same ones, bit by bit."""
    predictor, _ = int8
    state, first = FrameState(predictor.per_frame, border), None
    for period in range(401):
        found = []
        for frame in small_frames[:25]:
            state.frame[:] = frame
            state.step()
            found.append(state.answer()[0].copy())
        if period:
            first = first or found
            np.testing.assert_array_equal(found, first)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_halves_are_kept_of_a_float16_model(tmp_path, model, spec, frames, runtime):
    halves = half_from_float(model)
    half_spec = spec.replace(precision="fp16")
    form = per_frame_form(halves, half_spec, 2)
    assert "float16" in {ring.dtype for ring in form.rings}
    path, loop = written(tmp_path, halves, half_spec, form), PerFrameRun(form, FRAMES)
    with Predictor(path, runtime=runtime, threads=1) as predictor:
        state = FrameState(predictor.per_frame, "flush")
        for frame in frames[:24]:
            loop.step(frame)
            state.frame[:] = frame
            state.step()
        wanted, found = loop.answer("flush"), state.answer()[0]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=0.02 * float(np.abs(wanted).max()))
