"""The streams of Triton's Python model; on a real server they are tests/serve_export's."""

import json
import sys
import types

import numpy as np
import pytest
from models import brightness_model, grey_frames

from r2p_edge import Predictor, Stream
from r2p_edge.errors import UsageError, VideoError
from r2p_edge.integrations.triton import StreamModel, StreamTable
from r2p_edge.serve_export import write_repository

TICK = 0.08
OPTIONS = {"stride": 1}


@pytest.fixture
def predictor(tmp_path):
    with Predictor(brightness_model(tmp_path / "model.onnx")) as opened:
        yield opened


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def table(predictor, clock=None, *, most=8, idle=60.0, options=OPTIONS):
    return StreamTable(predictor, options, most=most, idle=idle, clock=clock or Clock())


def test_streams_do_not_mix_and_give_their_outputs(predictor):
    streams = table(predictor)
    alone = {number: Stream(predictor, stride=1) for number in (1, 2)}
    frames = {1: grey_frames(range(10, 20)), 2: grey_frames(range(200, 190, -1))}
    answered = 0
    for index in range(10):
        for number, images in frames.items():
            edge = {"begins": index == 0, "ends": index == 9}
            answer, outputs = streams.push(number, images[index], index * TICK, **edge)
            expected = alone[number].push(images[index], index * TICK)
            assert (answer is None) == (expected is None)
            if answer is not None:
                answered += 1
                assert answer.span == expected.span
                assert answer.scores.tolist() == expected.scores.tolist()
                assert outputs.tolist() == [
                    images[place][0, 0, 0] for place in range(index - 3, index + 1)
                ]
    assert answered == 14
    assert len(streams) == 0


def test_a_beginning_forgets_what_was_there(predictor):
    streams, frame = table(predictor), grey_frames([1])[0]
    for index in range(3):
        streams.push(1, frame, index * TICK, begins=index == 0)
    answer, _ = streams.push(1, frame, 3 * TICK, begins=True)
    assert answer is None
    assert len(streams) == 1


def test_idle_streams_are_forgotten(predictor):
    clock = Clock()
    streams, frame = table(predictor, clock, idle=60.0), grey_frames([1])[0]
    streams.push(1, frame, 0.0, begins=True)
    clock.now = 30.0
    streams.push(2, frame, 0.0, begins=True)
    clock.now = 60.0
    streams.push(3, frame, 0.0, begins=True)
    assert len(streams) == 3
    clock.now = 61.0
    streams.push(3, frame, TICK)
    assert len(streams) == 2


def test_the_most_idle_gives_way(predictor):
    streams, frame = table(predictor, most=2), grey_frames([1])[0]
    for number in (1, 2, 1, 3):
        streams.push(number, frame, 0.0)
    assert set(streams._streams) == {1, 3}


def test_a_frame_that_cannot_be_used_is_an_error_and_the_stream_goes_on(predictor):
    streams, frames = table(predictor), grey_frames(range(6))
    streams.push(1, frames[0], 0.0, begins=True)
    with pytest.raises(VideoError):
        streams.push(1, np.zeros((4, 4), np.uint8), TICK)
    answers = [streams.push(1, frames[index], index * TICK)[0] for index in range(1, 4)]
    assert [each is not None for each in answers] == [False, False, True]


def test_wrong_options_are_told_when_the_model_is_loaded(predictor):
    with pytest.raises(UsageError, match=r"the parameter r2p_edge\.stream"):
        table(predictor, options={"strid": 1})
    with pytest.raises(UsageError, match="stride"):
        table(predictor, options={"stride": 0})


class Tensor:
    def __init__(self, name, value):
        self.name, self.value = name, value

    def as_numpy(self):
        return self.value


class Request(dict):
    """A request of Triton: arrays by their names."""

    def requested_output_names(self):
        return ["answered", "logits", "label"]


@pytest.fixture
def backend(monkeypatch):
    """Triton's module, as far as the models use it."""
    module = types.ModuleType("triton_python_backend_utils")
    module.Tensor = Tensor
    module.TritonError = str
    module.InferenceResponse = lambda output_tensors, error=None: (output_tensors, error)
    module.get_input_tensor_by_name = lambda request, name: Tensor(name, request[name])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_request_fails_for_itself_and_gets_what_it_asks_for(backend, tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    write_repository(path, "triton", tmp_path / "out")
    folder = tmp_path / "out" / "brightness_stream"
    config = {
        "parameters": {
            "r2p_edge.model": {"string_value": "model.onnx"},
            "r2p_edge.stream": {"string_value": json.dumps(OPTIONS)},
        },
        "sequence_batching": {
            "max_sequence_idle_microseconds": "60000000",
            "oldest": {"max_candidate_sequences": 4},
        },
    }
    model = StreamModel()
    arguments = {"model_repository": str(folder), "model_version": "1"}
    model.initialize({**arguments, "model_config": json.dumps(config)})
    frames = grey_frames(range(4))
    requests = [request(number, frame) for number, frame in enumerate(frames)]
    requests.insert(2, request(2, np.zeros((3, 3), np.uint8)))
    responses = model.execute(requests)
    model.finalize()
    assert [error is None for _, error in responses] == [True, True, False, True, True]
    tensors, _ = responses[-1]
    found = {tensor.name: tensor.value for tensor in tensors}
    assert set(found) == {"answered", "logits", "label"}
    assert found["answered"].tolist() == [True]
    assert found["logits"].tolist() == [0, 1, 2, 3]
    assert found["label"].tolist() == [b"frame 3"]
    assert model.predictor.closed


def request(number, frame):
    return Request(
        frame=frame,
        time=np.array([number * TICK]),
        CORRID=np.array([7], np.uint64),
        START=np.array([float(number == 0)], np.float32),
        END=np.array([0.0], np.float32),
    )
