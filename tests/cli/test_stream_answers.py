"""`r2p-edge stream`: what it prints, and how it ends."""

import dataclasses
import json
import subprocess
import sys

import pytest
from live import free_port, senders
from models import brightness_model

from r2p_edge.cli.stream import show
from r2p_edge.predictor import Predictor


def test_json(run, tmp_path, clip):
    model = brightness_model(tmp_path / "model.onnx")
    code, output, errors = run("stream", model, clip, "--stride", 8, "--json", "--top", 2)
    assert (code, errors) == (0, "")
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["time"] for event in events] == pytest.approx([0.24, 0.88, 1.52])
    assert {key: events[0][key] for key in ("source", "still", "skipped", "dropped", "gaps")} == {
        "source": str(clip), "still": False, "skipped": 0, "dropped": 0, "gaps": 0
    }  # fmt: skip
    assert len(events[0]["top"]) == 2
    assert events[0]["age_ms"] > 0


def test_the_notes_of_an_answer_for_people(tmp_path, clip, capsys):
    with (
        Predictor(brightness_model(tmp_path / "model.onnx")) as predictor,
        predictor.stream(clip) as answers,
    ):
        answer = next(answers)
    for counts, notes in (
        ((0, 0, 0), ""),
        ((1, 1, 1), ", 1 answer skipped, 1 frame dropped, interrupted 1 time"),
        ((2, 3, 4), ", 2 answers skipped, 3 frames dropped, interrupted 4 times"),
    ):
        named = dict(zip(("skipped", "dropped", "gaps"), counts))
        live = dataclasses.replace(answer.live, age_ms=49.2, **named)
        show(dataclasses.replace(answer, live=live))
        assert capsys.readouterr().out.endswith(f"  (49 ms after the newest frame{notes})\n")


@pytest.mark.slow
def test_sigterm_ends_it_in_order(tmp_path):
    model, port = brightness_model(tmp_path / "model.onnx"), free_port()
    url = f"tcp://127.0.0.1:{port}?listen=1"
    command = [sys.executable, "-m", "r2p_edge", "stream", model, url, "--json"]
    with (
        senders(port) as send,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        send(0, 10**6)  # so that the source does not end first, which would be a warning
        assert json.loads(process.stdout.readline())["gaps"] == 0
        process.terminate()
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")


def test_for_people(run, fails, tmp_path, clip):
    model = brightness_model(tmp_path / "model.onnx")
    code, output, _ = run("stream", model, clip, "--stride", 8, "--min-score", 1)
    assert code == 0
    assert all("(no label)" in line for line in output.splitlines())
    fails(3, "there is no camera", "stream", model, 97)
    fails(2, "stride is 0", "stream", model, clip, "--stride", 0)
    fails(2, "top is 0", "stream", model, clip, "--top", 0)
