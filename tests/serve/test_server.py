"""The server of a model over HTTP: every address, its answers, its rules, and its numbers."""

import json
import socket
import threading

import numpy as np
import pytest
from kserve import (
    CLIP,
    ask_server,
    frames_request,
    grey_clip,
    infer,
    serving_brightness,
    until,
    video_request,
)

from r2p_edge import Predictor
from r2p_edge.errors import BackendError, OutputError
from r2p_edge.serve.model import ServedPredictor
from r2p_edge.serve.server import ModelServer
from r2p_edge.web.listen import parse_listen

pytestmark = pytest.mark.slow

PIXELS = grey_clip(1, 2, 3, 4)


def answers(server, head, data=b"", **headers):
    """Return the arrays of an answer whose outputs are in its bytes, and its fields."""
    status, _, fields, rest = infer(server, head, data, **headers)
    assert status == 200, fields
    found = {}
    for output in fields["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = np.frombuffer(rest[:size], "<f4").reshape(output["shape"])
        rest = rest[size:]
    assert rest == b""
    return found, fields


@pytest.fixture
def blocked(monkeypatch):
    """Serve a model that answers only once its event is set, with a queue of one."""
    go, begun = threading.Event(), threading.Event()
    original = Predictor.outputs_of

    def outputs_of(self, pixels):
        begun.set()
        assert go.wait(60)
        return original(self, pixels)

    yield go, begun, lambda: monkeypatch.setattr(Predictor, "outputs_of", outputs_of)
    go.set()


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v2", {"name": "r2p_edge"}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/brightness", {"name": "brightness", "versions": ["1"]}),
        ("/v2/models/brightness/versions/1", {"name": "brightness"}),
        ("/v2/models/brightness/ready", {"ready": True}),
        ("/v2/models/brightness/config", {"backend": "r2p_edge"}),
    ],
)
def test_what_can_be_asked(server, path, fields):
    status, headers, body = ask_server(server, path)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body).items() >= fields.items()


def test_the_metadata_say_what_is_taken_and_given(server):
    data = json.loads(ask_server(server, "/v2/models/brightness")[2])
    assert data["inputs"] == [
        {"name": "frames", "datatype": "UINT8", "shape": [-1, *CLIP]},
        {"name": "video", "datatype": "BYTES", "shape": [1]},
    ]
    assert [each["name"] for each in data["outputs"]] == ["logits", "scores"]


def test_the_answer_is_that_of_the_predictor_bit_for_bit(server):
    pixels = np.random.default_rng(0).integers(0, 256, (3, *CLIP), np.uint8)
    found, fields = answers(server, *frames_request(pixels, binary_data_output=True))
    predictor = server.model.predictor
    assert np.array_equal(found["logits"], predictor.outputs_of(pixels))
    assert np.array_equal(found["scores"], predictor.scores(pixels).astype(np.float32))
    assert fields["model_name"] == "brightness"


def test_a_clip_in_the_json_answered_in_the_json(server):
    tensor = {"name": "frames", "shape": [1, *CLIP], "datatype": "UINT8"}
    head = {"id": "7", "inputs": [{**tensor, "data": PIXELS.reshape(-1).tolist()}]}
    status, headers, fields, _ = infer(server, head)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert fields["id"] == "7"
    assert fields["outputs"][0] == {
        "name": "logits", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.0, 3.0, 4.0],
    }  # fmt: skip


def test_classes_have_their_names(server):
    outputs = [{"name": "logits", "parameters": {"classification": 2}}]
    _, _, fields, _ = infer(server, *frames_request(PIXELS, outputs))
    assert fields["outputs"][0]["data"] == ["4.000000:3:frame 3", "3.000000:2:frame 2"]


def test_the_bytes_of_a_video(server, clip):
    head, data = video_request(clip.read_bytes())
    head["parameters"] = {"binary_data_output": True}
    found, fields = answers(server, head, data)
    assert np.array_equal(found["logits"], server.model.predictor.outputs(clip))
    result = server.model.predictor.predict(clip)
    assert fields["parameters"] == {
        "coverage": 1.0, "span_start": result.span[0], "span_end": result.span[1],
    }  # fmt: skip


@pytest.mark.parametrize(
    "content", [b"", b"no video", b"/etc/passwd", b"file:///etc/passwd", b"http://127.0.0.1/x.mp4"]
)
def test_what_is_no_video(server, content):
    status, _, fields, _ = infer(server, *video_request(content))
    assert status == 422
    assert "the video" in fields["error"]


def test_errors_are_those_of_the_protocol(server):
    status, headers, fields, _ = infer(server, {"inputs": []})
    assert (status, headers["Content-Type"]) == (400, "application/json")
    assert fields == {"error": "the inputs are none; give either frames or video"}
    for path, method, expected in (
        ("/v2/models/other", "GET", 404),
        ("/v2/models/brightness/versions/2", "GET", 404),
        ("/v2/models/../../etc/passwd", "GET", 404),
        ("/v2/models/brightness/infer", "GET", 405),
        ("/v2/models/brightness", "POST", 405),
    ):
        status, _, body = ask_server(server, path, method)
        assert status == expected
        assert "\n" not in json.loads(body)["error"]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 5, 8, 8, 3), np.uint8),
        np.zeros(CLIP, np.uint8),
        np.zeros((0, *CLIP), np.uint8),
    ],
)
def test_clips_of_another_shape(server, pixels):
    status, _, fields, _ = infer(server, *frames_request(pixels))
    assert status == 400
    assert "it must be [N, 4, 8, 8, 3]" in fields["error"]


def test_an_unknown_output_and_both_inputs(server):
    status, _, fields, _ = infer(server, *frames_request(PIXELS, [{"name": "other"}]))
    assert (status, "ask for logits or scores" in fields["error"]) == (400, True)
    head, data = frames_request(PIXELS)
    more, video = video_request(b"x")
    status, _, fields, _ = infer(server, {"inputs": head["inputs"] + more["inputs"]}, data + video)
    assert (status, "give either frames or video" in fields["error"]) == (400, True)


def test_compressed_and_partial_bodies_are_refused(server):
    assert infer(server, b"{}", **{"Content-Encoding": "gzip"})[0] == 415
    body = b"2\r\n{}\r\n0\r\n\r\n"
    headers = {"Transfer-Encoding": "chunked"}
    assert ask_server(server, "/v2/models/brightness/infer", "POST", body, headers)[0] == 411


def test_a_body_that_is_too_large_is_refused_by_its_header(tmp_path):
    with serving_brightness(tmp_path, most_bytes=1000) as server:
        status, _, fields, _ = infer(server, b" " * 1001)
        assert (status, "at most 1000 are allowed" in fields["error"]) == (413, True)
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(
                b"POST /v2/models/brightness/infer HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: 2000000000000\r\n\r\n"
            )
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_token_is_needed_for_all_but_the_health(tmp_path):
    token = "t" * 32
    with serving_brightness(tmp_path, token=token) as server:
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert ask_server(server, path)[0] == 200
        for path in ("/v2", "/v2/models/brightness", "/metrics", "/other"):
            assert ask_server(server, path)[0] == 401
        head, data = frames_request(PIXELS)
        assert infer(server, head, data)[0] == 401
        assert infer(server, head, data, Authorization="Bearer wrong")[0] == 401
        assert infer(server, head, data, Authorization=f"Bearer {token}")[0] == 200


def test_the_rules_for_host_and_origin(server):
    head, data = frames_request(PIXELS)
    assert infer(server, head, data, Host="evil.example")[0] == 421
    assert infer(server, head, data, Origin="http://evil.example")[0] == 403
    assert ask_server(server, "/v2", headers={"Host": "evil.example"})[0] == 421


def test_a_full_queue_is_503_and_the_ones_before_are_answered(tmp_path, blocked):
    go, begun, block = blocked
    with serving_brightness(tmp_path, queue=1) as server:
        block()
        head, data = frames_request(PIXELS)
        found = []

        def send():
            found.append(infer(server, head, data)[0])

        threads = [threading.Thread(target=send) for _ in range(2)]
        threads[0].start()
        assert begun.wait(60)
        threads[1].start()
        until(lambda: len(server.model.turns) == 1)
        status, headers, fields, _ = infer(server, head, data)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "try again" in fields["error"]
        assert ask_server(server, "/v2/health/ready")[0] == 200
        go.set()
        for thread in threads:
            thread.join()
        assert found == [200, 200]
        assert infer(server, head, data)[0] == 200


def test_who_leaves_is_not_answered(tmp_path, blocked):
    go, begun, block = blocked
    with serving_brightness(tmp_path, queue=4) as server:
        block()
        head, data = frames_request(PIXELS)
        first = threading.Thread(target=lambda: infer(server, head, data))
        first.start()
        assert begun.wait(60)
        body = json.dumps(head).encode()
        leaver = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        leaver.sendall(
            b"POST /v2/models/brightness/infer HTTP/1.1\r\nHost: localhost\r\n"
            b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
            % (len(body), len(body + data))
            + body
            + data
        )
        until(lambda: len(server.model.turns) == 1)
        leaver.close()
        until(lambda: len(server.model.turns) == 0)
        go.set()
        first.join()
        assert numbers_of(server)["r2p_clips_total"] == 1


def test_eight_clients_have_every_eighth_turn(tmp_path, monkeypatch):
    """So the one that waits longest waits for seven others, and never for one of them twice."""
    original, turns = Predictor.outputs_of, []
    with serving_brightness(tmp_path) as server:

        def outputs_of(self, pixels):
            turns.append(int(pixels.flat[0]))
            until(lambda: len(server.model.turns) == min(7, 80 - len(turns)))
            return original(self, pixels)

        def ask(number):
            head, data = frames_request(grey_clip(number, 0, 0, 0))
            for _ in range(10):
                assert infer(server, head, data)[0] == 200

        monkeypatch.setattr(Predictor, "outputs_of", outputs_of)
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(turns[:8]) == list(range(8))
    assert turns == turns[:8] * 10


def test_eight_clients_are_all_answered(server):
    def ask(number, found):
        for level in range(10):
            head, data = frames_request(grey_clip(number, level, 0, 0))
            head["parameters"] = {"binary_data_output": True}
            found.append(
                answers(server, head, data)[0]["logits"].tolist() == [[number, level, 0, 0]]
            )

    right = [[] for _ in range(8)]
    threads = [
        threading.Thread(target=ask, args=(number, found)) for number, found in enumerate(right)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [[True] * 10] * 8


def numbers_of(server):
    """Return the numbers of a server by their names and labels, as Prometheus reads them."""
    text = ask_server(server, "/metrics")[2].decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_the_numbers(tmp_path):
    with serving_brightness(tmp_path) as server:
        infer(server, *frames_request(np.concatenate([PIXELS, PIXELS])))
        infer(server, {"inputs": []})
        found = numbers_of(server)
    assert found['r2p_requests_total{status="200"}'] == 1
    assert found['r2p_requests_total{status="400"}'] == 1
    assert found["r2p_clips_total"] == 2
    assert found["r2p_inference_seconds_count"] == 1
    assert found['r2p_queue_length{turn="model"}'] == 0
    assert any(name.startswith("r2p_build_info{") for name in found)


def test_faults_of_the_server_are_no_faults_of_the_request(tmp_path, monkeypatch):
    """A disk without room for the decoder's messages, a runtime that fails, and a bug."""
    faults = [
        (OutputError("temporary files cannot be written (no room); make room"), "no room"),
        (BackendError("the device is gone; restart it"), "the device is gone"),
        (ZeroDivisionError("division by zero"), "which its log describes"),
    ]
    with serving_brightness(tmp_path) as server:
        for fault, message in faults:

            def fail(*_, fault=fault):
                raise fault

            monkeypatch.setattr(server.model.decoder, "decode", fail)
            status, _, fields, _ = infer(server, *video_request(b"x"))
            assert (status, message in fields["error"]) == (500, True)
        assert numbers_of(server)['r2p_requests_total{status="500"}'] == 3
        assert infer(server, *frames_request(PIXELS))[0] == 200


def test_a_model_of_other_inputs_takes_the_same_clips(tmp_path):
    """Frames are those of `pixels`, whatever the graph itself takes."""
    from r2p_edge.export.build import build

    (artifact,) = build("motion", targets=["onnx"], input="float32", out=tmp_path).built
    with Predictor(artifact.path) as predictor:
        model = ServedPredictor(predictor, name="floats")
        with ModelServer(model, parse_listen("127.0.0.1:0")) as server:
            pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 112, 112, 3), np.uint8)
            head, data = frames_request(pixels, binary_data_output=True)
            status, _, fields, rest = infer(server, head, data, name="floats")
            assert status == 200, fields
            logits = np.frombuffer(rest[:48], "<f4")
            assert np.array_equal(logits, predictor.outputs_of(pixels)[0])
