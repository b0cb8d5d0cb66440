"""A client of KServe's protocol in the standard library, and a server of a model of brightness."""

from __future__ import annotations

import contextlib
import http.client
import json
import struct
import time

import numpy as np
from models import brightness_model

from r2p_edge import Predictor
from r2p_edge.serve.model import ServedPredictor
from r2p_edge.serve.server import ModelServer
from r2p_edge.web.listen import parse_listen

NAME = "brightness"
CLIP = (4, 8, 8, 3)


@contextlib.contextmanager
def serving_brightness(folder, *, queue=16, listen="127.0.0.1:0", **options):
    """Serve a model of brightness; yield its server, whose `model` is the `ServedPredictor`."""
    path = brightness_model(folder / "model.onnx")
    with Predictor(path, threads=1) as predictor:
        model = ServedPredictor(predictor, queue=queue)
        server = ModelServer(model, parse_listen(listen), queue=queue, **options)
        server.model = model
        with server:
            yield server


def frames_request(pixels, outputs=None, **parameters):
    """Return the head of a request for clips whose bytes follow, and these bytes."""
    data = np.ascontiguousarray(pixels).tobytes()
    tensor = {"name": "frames", "shape": list(pixels.shape), "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": len(data)}
    head = {"inputs": [tensor]}
    if outputs is not None:
        head["outputs"] = outputs
    if parameters:
        head["parameters"] = parameters
    return head, data


def video_request(content):
    """Return the head of a request for a video file, and the bytes that follow."""
    data = struct.pack("<I", len(content)) + content
    size = {"binary_data_size": len(data)}
    tensor = {"name": "video", "shape": [1], "datatype": "BYTES", "parameters": size}
    return {"inputs": [tensor]}, data


def infer(server, head, data=b"", *, name=NAME, **headers):
    """Return status, headers, fields and the bytes after them of an inference."""
    body = head if isinstance(head, bytes) else json.dumps(head).encode()
    if data:
        headers.setdefault("Inference-Header-Content-Length", str(len(body)))
    path = f"/v2/models/{name}/infer"
    status, told, answer = ask_server(server, path, "POST", body + data, headers)
    length = int(told.get("Inference-Header-Content-Length", len(answer)))
    return status, told, json.loads(answer[:length]), answer[length:]


def ask_server(server, path, method="GET", body=None, headers=None):
    """Return status, headers and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def until(condition):
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def grey_clip(*levels):
    """Return one clip whose frame k is all `levels[k]`, uint8 (1, 4, 8, 8, 3)."""
    clip = np.empty((1, *CLIP), np.uint8)
    clip[0] = np.array(levels, np.uint8)[:, None, None, None]
    return clip
