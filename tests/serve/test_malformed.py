"""Requests that are wrong in one place each: the answer is a 4xx of one sentence, and no more."""

import copy
import http.client
import json
import os
import random
import socket

import pytest
from kserve import (
    ask_server,
    frames_request,
    grey_clip,
    infer,
    serving_brightness,
    video_request,
)

from r2p_edge.calibration import motion

WRONG = (None, True, 0, -1, 1.5, 1 << 70, "", "x", "\ud800\0\n", [], [[]], {}, {"a": [1]})
PATH = "/v2/models/brightness/infer"


def request():
    """Return the head of a request that is right, and the bytes after it."""
    outputs = [
        {"name": "logits", "parameters": {"binary_data": True}},
        {"name": "scores", "parameters": {"classification": 2, "binary_data": False}},
    ]
    head, data = frames_request(grey_clip(1, 2, 3, 4), outputs, binary_data_output=True)
    return {"id": "7", **head}, data


def places(value, path=()):
    """Yield the path of every value in JSON but the outermost."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def of_another_type(head, data, chance):
    """One value of another type of JSON."""
    path = chance.choice(list(places(head)))
    place, key = at(head, path[:-1]), path[-1]
    former = place[key]
    place[key] = chance.choice([each for each in WRONG if type(each) is not type(former)])
    return head, data


def left_out(head, data, chance):
    """One of the fields that must be there is not."""
    (tensor,) = head["inputs"]
    fields = [(head, "inputs"), (head["outputs"][0], "name")]
    fields += [(tensor, name) for name in tensor]
    place, name = chance.choice(fields)
    del place[name]
    return head, data


def of_other_sizes(head, data, chance):
    """Shape, declared bytes and bytes that do not fit each other."""
    (tensor,) = head["inputs"]
    kind = chance.randrange(4)
    if kind == 0:
        tensor["shape"][chance.randrange(5)] += chance.choice([-1, 1, 1 << 40])
    elif kind == 1:
        tensor["parameters"]["binary_data_size"] += chance.choice([-1, 1, 1 << 50])
    elif kind == 2:
        data = data[: chance.randrange(len(data))]
    else:
        data += os.urandom(chance.randrange(1, 50))
    return head, data


def of_other_names(head, data, chance):
    """Names that the model has not, or twice."""
    kind = chance.randrange(4)
    if kind == 0:
        head["inputs"][0]["name"] = chance.choice(["", "Frames", "video", "../x", "é" * 100])
    elif kind == 1:
        head["outputs"][0]["name"] = chance.choice(["", "scores", "other", "x" * 1000])
    elif kind == 2:
        head["inputs"].append(copy.deepcopy(head["inputs"][0]))
    else:
        head["inputs"][0]["datatype"] = chance.choice(["", "INT8", "FP32", "BYTES", "uint8"])
    return head, data


def of_other_numbers(head, _, chance):
    """Numbers in the JSON that are none, or too many."""
    tensor = head["inputs"][0]
    del tensor["parameters"]
    count = 4 * 8 * 8 * 3
    numbers = [0] * count
    wrong = [256, -1, 1.5, "0", None, [0], 10**40, float("nan"), float("inf")]
    numbers[chance.randrange(count)] = chance.choice(wrong)
    tensor["data"] = chance.choice([numbers, [0] * (count - 1), [], [[numbers]] * 2])
    return head, b""


CHANGES = (of_another_type, left_out, of_other_sizes, of_other_names, of_other_numbers)


def broken_json(chance):
    """A body that is not a JSON object of the protocol."""
    head, data = request()
    text = json.dumps(head).encode()
    return chance.choice(
        [
            b"",
            text[: chance.randrange(1, len(text))],
            b"\xff\xfe" + text,
            b"[" * 5000,
            b'{"a":' * 5000,
            b'{"inputs": [%s]}' % (b"9" * 6000),
            b"[]",
            b"null",
            text + data,
        ]
    )


def broken_http(chance):
    """All bytes of a request that is none, or not one that the server has."""
    host = b"Host: localhost\r\n"
    body = b"Content-Length: 2\r\n\r\n{}"
    post = b"POST " + PATH.encode()
    return chance.choice(
        [
            os.urandom(chance.randrange(1, 200)) + b"\r\n\r\n",
            post + b" HTTP/1.1\r\n" + body,
            post + b" HTTP/9.9\r\n" + host + body,
            post + b" HTTP/1.1\r\nHost: evil.example\r\n" + body,
            post + b" HTTP/1.1\r\n" + host + b"Content-Length: -2\r\n\r\n{}",
            post + b" HTTP/1.1\r\n" + host + b"Content-Length: 2\r\n" + body,
            post + b" HTTP/1.1\r\n" + host + b"Content-Length: 99999999999999999999\r\n\r\n",
            post + b" HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            post + b" HTTP/1.1\r\n" + host + b"X: " + b"y" * 70000 + b"\r\n" + body,
            post + b" HTTP/1.1\r\n" + host + b"X: y\r\n" * 200 + body,
            post + b"%00%ff\xc3?a=b HTTP/1.1\r\n" + host + body,
            b"POST /v2/models/" + b"../" * 50 + b"etc/passwd HTTP/1.1\r\n" + host + body,
            b"GET " + PATH.encode() + b" HTTP/1.1\r\n" + host + b"\r\n",
            b"DELETE /v2/models/brightness HTTP/1.1\r\n" + host + b"\r\n",
            b"PUT /v2/health/live HTTP/1.1\r\n" + host + body,
            post + b" HTTP/1.1\r\n" + host + b"Content-Encoding: gzip\r\n" + body,
        ]
    )


def said(server, text):
    """Return the status of the answer to bytes; 0 if the connection ends without one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(client)
        try:
            answer.begin()
        except (http.client.HTTPException, ConnectionError):
            return 0
        return answer.status


def one_case(server, chance, films):
    """Send one request that is wrong; return what was sent, and the status of the answer."""
    kind = chance.randrange(10)
    if kind < 6:
        change = chance.choice(CHANGES)
        head, data = change(*request(), chance)
        text = json.dumps(head).encode()
        length = str(len(text))
        if chance.random() < 0.1:
            length = chance.choice(
                ["", "x", "-1", str(len(text) + 1), str(len(text) - 1), "9" * 40]
            )
            change = "length"
        headers = {"Inference-Header-Content-Length": length} if data or length != "x" else {}
        return change, infer(server, text, data, **headers)[0]
    if kind < 7:
        return "json", infer(server, broken_json(chance))[0]
    if kind < 9:
        text = broken_http(chance)
        return text[:80], said(server, text)
    film = bytearray(chance.choice(films))
    for _ in range(chance.randrange(1, 200)):
        film[chance.randrange(len(film))] = chance.randrange(256)
    content = bytes(film[: chance.randrange(1, len(film))])
    return "video", infer(server, *video_request(content))[0]


def check_cases(server, folder, count, seed):
    films = []
    for number, name in enumerate(("a.mp4", "b.avi", "c.mkv")):
        motion.write_video(motion.scene("test", number), folder / name)
        films.append((folder / name).read_bytes())
    chance = random.Random(seed)
    for number in range(count):
        what, status = one_case(server, chance, films)
        fine = 400 <= status < 500
        if what == "video":  # damage that the decoder gets over is none
            fine = status in (200, 422)
        elif isinstance(what, bytes):  # bytes that are no request end the connection
            fine = fine or status == 0
        assert fine, f"case {number} of seed {seed}: {what} gave {status}"
    head, data = request()
    assert infer(server, head, data)[0] == 200
    assert ask_server(server, "/v2/health/ready")[0] == 200


@pytest.mark.slow
def test_some_hundred(tmp_path):
    with serving_brightness(tmp_path) as server:
        check_cases(server, tmp_path, 400, seed=0)


@pytest.mark.long
def test_five_thousand(tmp_path):
    with serving_brightness(tmp_path) as server:
        check_cases(server, tmp_path, 5_000, seed=1)
