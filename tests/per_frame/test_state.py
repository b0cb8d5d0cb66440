"""The features of a camera: what they answer, what a reset leaves of them, and what they take."""

import tracemalloc

import numpy as np
import pytest
from per_frame_models import (
    FRAMES,
    WAIT,
    causal_outputs,
    noise,
    outputs,
    write_per_frame_model,
    write_semi_causal_model,
)

from r2p_edge import Predictor
from r2p_edge.errors import BackendError, UsageError
from r2p_edge.per_frame.state import FrameState, scores_of_states
from r2p_edge.prediction import Timing

BORDERS = pytest.mark.parametrize("border", ["flush", "wait"])
RUNTIMES = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])


@pytest.fixture(scope="module", params=[False, True], ids=["fp32", "int8"])
def quantised(request):
    return request.param


@pytest.fixture(scope="module")
def predictor(tmp_path_factory, quantised):
    path = write_per_frame_model(tmp_path_factory.mktemp("tiny"), quantised=quantised)
    with Predictor(path, runtime="onnxruntime", threads=1) as opened:
        yield opened


def answers(state, frames):
    """Return the answer after each frame, of which the first ones are on no whole window."""
    found = []
    for frame in frames:
        state.frame[:] = frame
        state.step()
        found.append(state.answer()[0].copy())
    return np.array(found)


@BORDERS
def test_each_window_is_answered_as_numpy_does(predictor, quantised, border):
    frames = noise(40)
    state = FrameState(predictor.per_frame, border)
    wait = WAIT if border == "wait" else 0
    assert state.wait == wait
    found = answers(state, frames)
    for end in range(FRAMES - 1, 40 - wait):
        wanted = outputs(frames, end, wait=wait, quantised=quantised)
        np.testing.assert_array_equal(found[end + wait], wanted)


@BORDERS
def test_openvino_gives_the_same(tmp_path, border):
    frames = noise(20)
    with Predictor(write_per_frame_model(tmp_path), runtime="openvino", threads=1) as predictor:
        found = answers(FrameState(predictor.per_frame, border), frames)
        many = [FrameState(predictor.per_frame, border) for _ in range(3)]
        for number, state in enumerate(many):
            answers(state, frames[number : number + 12])
        together = scores_of_states(many, Timing())
    wait = WAIT if border == "wait" else 0
    for end in range(FRAMES - 1, 20 - wait):
        np.testing.assert_array_equal(found[end + wait], outputs(frames, end, wait=wait))
    for number, scores in enumerate(together):
        wanted = outputs(frames, number + 11 - wait, wait=wait, first=number)
        np.testing.assert_array_equal(scores, wanted)


def test_the_first_window_starts_as_a_clip_does(predictor):
    """To the left of the first frame are zeros, and not what layers make of no frame."""
    frames = noise(FRAMES)
    flushed = answers(FrameState(predictor.per_frame, "flush"), frames)[-1]
    np.testing.assert_array_equal(flushed, predictor.outputs_of(frames[np.newaxis])[0])


@BORDERS
def test_no_bit_depends_on_what_was_before_a_reset(predictor, border):
    frames = noise(30)
    fresh = answers(FrameState(predictor.per_frame, border), frames)
    used = FrameState(predictor.per_frame, border)
    answers(used, noise(23, seed=1))
    used.clear()
    np.testing.assert_array_equal(answers(used, frames), fresh)


@BORDERS
def test_a_window_far_from_the_first_frame_depends_on_its_neighbourhood_alone(predictor, border):
    """Two states that began differently agree once the receptive field is full."""
    frames = noise(60)
    late = answers(FrameState(predictor.per_frame, border), frames[30:])
    early = answers(FrameState(predictor.per_frame, border), frames)[30:]
    np.testing.assert_array_equal(late[FRAMES + 3 :], early[FRAMES + 3 :])
    assert (late[FRAMES - 1] != early[FRAMES - 1]).any()


@pytest.mark.slow
@BORDERS
def test_ten_thousand_frames_of_a_periodic_input_do_not_drift(predictor, border):
    period = noise(25)
    state, first = FrameState(predictor.per_frame, border), None
    answers(state, period)
    for _ in range(400):
        found = answers(state, period)
        first = found if first is None else first
        np.testing.assert_array_equal(found, first)


@RUNTIMES
@BORDERS
@pytest.mark.parametrize("cameras", [1, 3])
def test_frames_allocate_nothing(tmp_path, runtime, border, cameras):
    size = 96  # a slice of a ring is larger than what is allowed
    frames = np.random.default_rng(0).integers(0, 256, (20, size, size, 3), np.uint8)
    path = write_per_frame_model(tmp_path, size=size)
    with Predictor(path, runtime=runtime, threads=1) as predictor:
        states = [FrameState(predictor.per_frame, border) for _ in range(cameras)]
        timing = Timing()

        def run():
            for frame in frames:
                for state in states:
                    state.frame[:] = frame
                    state.step()
                scores_of_states(states, timing)

        run()
        tracemalloc.start()
        grown, risen = [], []
        try:
            run()
            for _ in range(4):  # what frames do not make, such as a table of Python's, comes once
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                for _ in range(3):
                    run()
                after, peak = tracemalloc.get_traced_memory()
                grown.append(after - before)
                risen.append(peak - before)
        finally:
            tracemalloc.stop()
    assert min(grown) < 1024
    assert min(risen) < 1 << 14


def test_several_cameras_are_answered_in_one_call(predictor, quantised, monkeypatch):
    frames = noise(30)
    states = [FrameState(predictor.per_frame, "flush") for _ in range(3)]
    batches, calls, timing = predictor.per_frame.batches, [], Timing()
    for number, state in enumerate(states):
        answers(state, frames[number : number + 15])
    together = batches.outputs
    monkeypatch.setattr(batches, "outputs", lambda each: calls.append(len(each)) or together(each))
    found = scores_of_states(states, timing)
    assert calls == [3]
    assert timing.total >= timing.inference > 0
    for number, scores in enumerate(found):
        wanted = outputs(frames, number + 14, first=number, quantised=quantised)
        np.testing.assert_array_equal(scores, wanted)
    (alone,) = scores_of_states(states[1:2], Timing())
    np.testing.assert_array_equal(alone, found[1])


def test_the_state_is_as_large_as_its_rings(predictor, quantised):
    elements = 2 * 8 * 8
    size = elements * (1 if quantised else 4)
    # Two ticks back; features of seven ticks, or of the six that are not flushed.
    waiting, flushing = (FrameState(predictor.per_frame, border) for border in ("wait", "flush"))
    for state in (waiting, flushing):
        answers(state, noise(10))
    assert waiting.bytes == (2 + 2 + 7) * size
    assert flushing.bytes == (2 + 2 + 6) * size
    assert predictor.per_frame.spare.bytes == 2 * size  # of the two tensors that a step reads


@RUNTIMES
@pytest.mark.parametrize("wait", [0, 3])
def test_a_part_that_answers_at_each_frame(tmp_path, runtime, wait):
    frames = noise(20)
    path = write_semi_causal_model(tmp_path, wait=wait)
    with Predictor(path, runtime=runtime, threads=1) as predictor:
        state, other = (FrameState(predictor.per_frame) for _ in range(2))
        assert state.wait == wait
        found = answers(state, frames)
        wanted = [causal_outputs(frames, tick) for tick in range(20)]
        np.testing.assert_array_equal(found, wanted)
        answers(other, frames[5:12])
        both = scores_of_states([state, other], Timing())
        np.testing.assert_array_equal(both, [wanted[-1], causal_outputs(frames, 11, first=5)])
        with pytest.raises(UsageError, match="answers at each frame, and has no border; leave it"):
            FrameState(predictor.per_frame, "flush")


def test_an_unknown_border(predictor):
    with pytest.raises(UsageError, match="border is 'mirror'; it must be 'flush' or 'wait'"):
        FrameState(predictor.per_frame, "mirror")


def test_a_closed_model_answers_nothing(tmp_path):
    predictor = Predictor(write_per_frame_model(tmp_path), runtime="onnxruntime")
    state = FrameState(predictor.per_frame, "wait")
    predictor.close()
    for use in (state.step, state.answer, lambda: scores_of_states([state, state], Timing())):
        with pytest.raises(BackendError, match="this model is closed; open it again"):
            use()
    with pytest.raises(BackendError, match="this model is closed"):
        _ = predictor.per_frame
