"""Ten thousand requests leave nothing behind in the server, a process of its own."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kserve import frames_request, grey_clip, video_request
from models import brightness_model

REQUESTS, FIRST = 10_000, 1_000
FREE = {"descriptors": 3, "threads": 2, "megabytes": 10.0}  # of growth


@contextlib.contextmanager
def server_process(model, *options):
    """Run `r2p-edge serve`; yield the process and its port."""
    command = [sys.executable, "-m", "r2p_edge", "serve", model, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            yield process, int(url.rsplit(":", 1)[1].strip("/"))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def use_of(pid):
    """Return the descriptors, threads and megabytes of a process."""
    count = {name: len(os.listdir(f"/proc/{pid}/{name}")) for name in ("fd", "task")}  # noqa: PTH208
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return {
        "descriptors": count["fd"],
        "threads": count["task"],
        "megabytes": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
    }


def send(connection, head, data):
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    connection.request("POST", "/v2/models/brightness/infer", text + data, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.mark.long
def test_ten_thousand_requests(tmp_path, clip):
    model = brightness_model(tmp_path / "model.onnx")
    right = frames_request(grey_clip(1, 2, 3, 4), binary_data_output=True)
    wrong = {"inputs": []}, b"x"
    with server_process(model) as (process, port):
        before = None
        for number in range(REQUESTS):
            if number % 50 == 0:  # clients come and go
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            if number == FIRST:
                before = use_of(process.pid)
            if number % 500 == 7:
                assert send(connection, *video_request(clip.read_bytes())) == 200
            elif number % 10 == 3:
                assert send(connection, *wrong) == 400
            else:
                assert send(connection, *right) == 200
            if number % 50 == 49:
                connection.close()
        after = use_of(process.pid)
    print(before, after)
    for name, most in FREE.items():
        assert after[name] - before[name] <= most, (name, before, after)


@pytest.mark.slow
def test_the_program_ends_in_order(tmp_path):
    model = brightness_model(tmp_path / "model.onnx")
    with server_process(model, "--token-file", "auto") as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/v2")
        assert connection.getresponse().status == 401
        connection.close()
    assert process.returncode == 0
