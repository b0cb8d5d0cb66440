"""`r2p-edge watch`: its options, its lines, and what it refuses."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from live import free_port, senders
from models import brightness_model
from requirements import require
from videos import written

from r2p_edge.watch.watching import Watch

SECRET = "S3cret"


@pytest.fixture
def film(tmp_path):
    """A video of 4 s that gets brighter, so that "frame 3" has 0.86 all the time."""
    return written(tmp_path / "film.mp4", np.arange(100) / 25)


@pytest.fixture
def asked(run, model, monkeypatch):
    """Return a function that runs `watch` with words, and returns the arguments of its watch."""
    calls = []

    def init(self, *arguments, **options):
        calls.append((*arguments[1:], options))

    monkeypatch.setattr(Watch, "__init__", init)
    monkeypatch.setattr(Watch, "__iter__", lambda _: iter(()))
    monkeypatch.setattr(Watch, "close", lambda _: None)

    def asked(*words):
        code, _, errors = run("watch", model, *words)
        assert (code, errors) == (0, "")
        return calls[-1]

    return asked


def test_sources_and_events(asked, tmp_path):
    config = tmp_path / "doors.toml"
    config.write_text("[sources]\nhall = 1\n[events]\nalarm = 'frame 1>0.5'\n")
    sources, rules, options = asked(
        *("door=rtsp://camera/1", "yard=0", "--config", config, "--event", "frame 2>0.8"),
        *("--event=x=frame 3>0.7", "--min-length=1", "--cool-down=2", "--event-hysteresis=0.3"),
        *("--every=0.5", "--notify", "--pictures", tmp_path / "p", "--films"),
    )
    assert sources == [("door", "rtsp://camera/1", {}), ("yard", 0, {}), ("hall", 1, {})]
    assert [(rule.name, rule.threshold, rule.min_length) for rule in rules] == [
        ("alarm", 0.5, 0.0),
        ("frame 2", 0.8, 1.0),
        ("x", 0.7, 1.0),
    ]
    assert (options["options"]["every"], options["options"]["reconnect"]) == (0.5, float("inf"))
    assert (options["notify"], options["pictures"], options["clips"]) == (
        True,
        tmp_path / "p",
        True,
    )


def test_who_is_told(asked, tmp_path, monkeypatch):
    require("paho")
    (tmp_path / "secrets.toml").write_text(f"[webhook]\nsecret='{SECRET}'\nurl='https://h/x'\n")
    (tmp_path / "secrets.toml").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        *_, options = asked(
            *("door=0", "--answers", "--events-file", tmp_path / "e.jsonl", "--exec", "true"),
            *("--mqtt", f"mqtt://127.0.0.1:{port}", "--credentials", tmp_path / "secrets.toml"),
        )
        names = [sink.name for sink in options["sinks"]]
        options["sinks"][-1].close()
    assert names == [
        "the standard output",
        f"the file {tmp_path / 'e.jsonl'}",
        "the program true",
        "the webhook https://h",
        f"the MQTT broker 127.0.0.1:{port}",
    ]


@pytest.mark.slow
def test_lines_for_machines_and_for_people(run, model, film, tmp_path):
    words = ("watch", model, f"door={film}", "--event", "frame 3>0.8", "--stride", "1")
    code, output, errors = run(*words, "--json", "--answers", "--top", "1")
    assert (code, errors) == (0, "")
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["type"] for line in lines if line["type"] != "answer"] == ["begin", "end"]
    answers = [line for line in lines if line["type"] == "answer"]
    assert len(answers) == 47
    assert {len(answer["top"]) for answer in answers} == {1}
    assert {"start", "end", "wall", "source"} <= answers[0].keys()
    code, output, errors = run(*words)
    begin, end = output.splitlines()
    assert begin.endswith("frame 3 begins")
    assert "  door  frame 3 " in begin
    assert end.endswith(" s, because the source ended")
    _, output, _ = run(*words, "--answers")
    assert "  door  frame" in output.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is no source to watch"),
        (["0"], "the source '0' has no name; put one and an equals sign in front"),
        (["door=0", "door=1"], "two sources are named door"),
        (["door=0", "--event", "fall>0.8"], "there is no label 'fall' in the model"),
        (["door=0", "--event", "fall"], "'fall' is no event"),
        (["door=0", "--films"], "--films needs a folder; add --pictures DIR"),
        (["door=0", "--answers", "--webhook", f"ftp://{SECRET}"], "the webhook is not one of HTTP"),
        (["door=0", "--event", "frame 1>0.05"], "would begin above 0.05 and never end"),
        (["door=0", "--listen", ""], "'' is no address to listen on"),
        (["door=0", "--answers", "--exec", "/none/such"], "there is no program '/none/such'"),
        (["door=0", "--answers", "--timeout", "0"], "timeout is 0.0"),
        (["door=0", "--config", "none.toml"], "none.toml cannot be read"),
        (["door=0"], "nothing would be told; give --event"),
        (["door=0", "--events-file", "e.jsonl"], "nothing would be told; give --event"),
        (["door=0", "--token-file", "auto"], "a page is shown with --listen alone"),
        (["door=0", "--listen", "0.0.0.0:8080"], "there is no token; give --token-file"),
    ],
)
def test_what_is_refused(fails, model, words, message):
    fails(2, message, "watch", model, *words)


@pytest.mark.parametrize("option", ["--webhook", "--mqtt", "--exec", "--events-file"])
def test_two_receivers_of_one_kind(run, model, capsys, option):
    """The second would take the place of the first, and nobody would miss it for months."""
    with pytest.raises(SystemExit) as raised:
        run("watch", model, "door=0", option, "a", option, "b")
    assert raised.value.code == 2
    assert f"{option}: there can be one only; leave out the other" in capsys.readouterr().err


@pytest.mark.slow
def test_files_that_are_refused(fails, model, tmp_path):
    config = tmp_path / "doors.toml"
    config.write_text("[sources.door]\nsource = 0\nevry = 1\n")
    fails(2, "did you mean every", "watch", model, "--config", config)
    words = ("watch", model, "--answers")
    fails(3, "there is no folder", *words, "a=0", "--events-file", tmp_path / "x" / "y")
    fails(3, "for pictures cannot be made", *words, "a=0", "--pictures", config / "y")
    fails(3, "nowhere.mp4", *words, f"a={tmp_path / 'nowhere.mp4'}")


def started(model, film, *words, **more):
    command = [sys.executable, "-m", "r2p_edge", "watch", model, f"door={film}", "--stride", "1"]
    return subprocess.Popen([*command, *words], stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.slow
def test_a_reader_that_goes_ends_the_watch(model, film):
    words = ("--event", "frame 3>0.8", "--json", "--answers")
    with started(model, film, *words, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode in (0, 1)  # it may have been through
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_full_disk_under_the_lines(model, film):
    with Path("/dev/full").open("w") as full:
        process = started(model, film, "--json", "--answers", stdout=full)
    with process:
        errors = process.stderr.read()
    assert "the output cannot be written (No space left on device)" in errors
    assert process.returncode == 3


@pytest.mark.slow
def test_it_is_stopped_in_order_though_nobody_reads(tmp_path):
    """A pipe that is full holds up neither the model nor the end."""
    model, port = brightness_model(tmp_path / "model.onnx"), free_port()
    address = f"tcp://127.0.0.1:{port}?listen=1"
    with senders(port) as send:
        sending = send(0, 3000)
        process = started(
            model,
            address,
            *("--json", "--answers", "--events-file", str(tmp_path / "e.jsonl")),
            *("--event", "frame 3>0.3", "--top", "99"),
            stdout=subprocess.PIPE,
        )
        events = tmp_path / "e.jsonl"
        while not (events.exists() and events.read_text().count("\n") > 20):
            assert process.poll() is None, process.stderr.read()
            if sending.poll() is not None:  # a busy machine makes fewer answers of so many frames
                sending = send(0, 3000)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()
        process.stderr.close()


@pytest.mark.slow
def test_the_page_shows_what_is_watched(tmp_path):
    model, port = brightness_model(tmp_path / "model.onnx"), free_port()
    address = f"tcp://127.0.0.1:{port}?listen=1"
    with senders(port) as send:
        send(0, 3000)
        process = started(
            model,
            address,
            *("--listen", "127.0.0.1:0", "--token-file", "auto", "--event", "frame 3>0.3"),
            stdout=subprocess.PIPE,
        )
        line = process.stderr.readline()
        url, token = line.removeprefix("r2p-edge: the page is at ").strip().split("?token=")

        def asked(path):
            request = urllib.request.Request(
                url + path, headers={"Authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()

        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}answers", timeout=60)
        while not (told := json.loads(asked("answers")))["sources"][0]["answers"]:
            assert process.poll() is None, process.stderr.read()
        assert told["sources"][0]["name"] == "door"
        assert told["about"]["runtime"] == "onnxruntime"
        with urllib.request.urlopen(
            urllib.request.Request(
                f"{url}events?after=0", headers={"Authorization": f"Bearer {token}"}
            ),
            timeout=60,
        ) as events:
            while not (data := events.readline()).startswith(b"data: "):
                pass
        assert json.loads(data.removeprefix(b"data: "))["type"] == "begin"
        assert asked("frame.jpg").startswith(b"\xff\xd8")
        metrics = asked("metrics").decode()
        assert 'r2p_deliveries_total{receiver="the standard output",outcome="sent"} ' in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()
        process.stderr.close()
