"""Models that are asked for clips, and for the frames of a stream."""

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
from r2p_edge.benchmark.asked import AskedForClips, AskedForFrames


def test_a_clip_is_answered_as_it_is(tmp_path):
    clip = noise(FRAMES)
    with Predictor(write_per_frame_model(tmp_path), runtime="onnxruntime") as predictor:
        asked = AskedForClips(predictor)
        asked.start()
        found = asked.answer(clip)
        assert asked.repeat(clip, 0.0) > 0
    assert found.keys() == {"ms", "scores"}
    assert found["ms"] > 0
    np.testing.assert_array_equal(found["scores"], outputs(clip, FRAMES - 1))


@pytest.mark.parametrize("border", ["flush", "wait"])
def test_clips_are_scenes_of_one_stream(tmp_path, border):
    clips = [noise(FRAMES, seed) for seed in range(4)]
    black = np.zeros_like(clips[0])
    with Predictor(write_per_frame_model(tmp_path), runtime="onnxruntime") as predictor:
        asked = AskedForFrames(predictor, border)
        asked.start()
        found = [asked.answer(clip) for clip in clips]
        assert asked.repeat(clips[0], 0.0) > 0
    wait = WAIT if border == "wait" else 0
    shown, ends = [black[:1]], []
    for before, clip in zip([black, *clips], clips):
        shown += [clip, before[:wait]]
        ends.append(sum(map(len, shown)) - 1 - wait)
    frames = np.concatenate(shown)
    for end, answer in zip(ends, found):
        np.testing.assert_array_equal(answer["scores"], outputs(frames, end, wait=wait))
        assert answer["ms"] > 0 < answer["frame_ms"]


def test_a_form_that_answers_at_each_frame(tmp_path):
    clip = noise(FRAMES)
    path = write_semi_causal_model(tmp_path, wait=2)
    with Predictor(path, runtime="onnxruntime") as predictor:
        found = AskedForFrames(predictor, None).answer(clip)
    shown = np.concatenate([clip, np.zeros_like(clip[:2])])
    np.testing.assert_array_equal(found["scores"], causal_outputs(shown, len(shown) - 1))
