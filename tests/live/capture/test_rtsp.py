"""RTSP from GStreamer's own server, with sound: what is shown while it is killed and comes back."""

import itertools
import json
import signal
import subprocess
import sys

import pytest
from live import TICK, Clock, rtsp_servers, shows, watch
from models import brightness_model
from requirements import require

from r2p_edge.live.open import open_capture

RUNS = (0, 1030, 2085)
"""First frames of the servers that follow each other."""


@pytest.fixture(autouse=True)
def _server():
    require("gst_rtsp")


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_a_server_that_is_killed_twice(nothing_is_left, predictor, codec, caplog):
    with rtsp_servers(codec) as (url, serve):
        serve(RUNS[0])
        capture = open_capture(
            url,
            predictor.spec.clip,
            TICK,
            timeout=60.0,
            reconnect=60.0,
            transport="tcp",
            clock=Clock(),
        )
        found = [[], [], []]
        with watch(predictor, capture, stride=1, policy="all") as answers:
            for answer in answers:
                run = answer.live.gaps
                found[run].append(answer)
                if len(found[run]) == 20 and run < 2:
                    serve(RUNS[run + 1])
                if len(found[2]) == 20:
                    break
    for first, seen in zip(RUNS, found):
        ends = [answer.span[1] for answer in seen]
        # The sender's own times, one tick apart; and every frame is the one of its time.
        assert ends == pytest.approx([ends[0] + k * TICK for k in range(len(ends))], abs=5e-3)
        assert all(shows(answer, first + round(end * 25), 2) for answer, end in zip(seen, ends))
        assert {answer.coverage for answer in seen} == {1.0}
    lost, *more = [record for record in caplog.records if record.levelname == "WARNING"]
    assert {record.name for record in (lost, *more)} == {"r2p_edge.live.capture.reconnecting"}
    assert len(more) == 1
    assert {answer.live.dropped for seen in found for answer in seen} == {0}


def test_udp(nothing_is_left, predictor):
    with rtsp_servers("h264") as (url, serve):
        serve(0)
        with predictor.stream(url, stride=1, transport="udp") as answers:
            answer = next(each for each in answers if each.coverage == 1.0)  # a packet may get lost
    assert shows(answer, round(answer.span[1] * 25), 2)


@pytest.mark.slow
def test_the_command_goes_on(tmp_path):
    """Kill the server twice under `r2p-edge stream`, and then stop it as systemd does."""
    model = brightness_model(tmp_path / "model.onnx")
    with rtsp_servers("h264") as (url, serve):
        serve(RUNS[0])
        command = [sys.executable, "-m", "r2p_edge", "stream", model, url, "--json", "--stride=1"]
        stream = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        found, served = [], 1
        for line in stream.stdout:
            found.append(json.loads(line))
            if found[-1]["gaps"] == served - 1 and found[-10:][0]["gaps"] == served - 1:
                if served == 3:
                    stream.send_signal(signal.SIGTERM)
                    break
                serve(RUNS[served])
                served += 1
        _, errors = stream.communicate()
    assert stream.returncode == 0, errors
    assert errors.count("is lost (") == 2
    for before, after in itertools.pairwise(found):
        assert after["gaps"] - before["gaps"] in (0, 1)
        assert after["gaps"] > before["gaps"] or after["time"] > before["time"]
