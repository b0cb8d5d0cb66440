"""A watch of three real sources, whose servers die, with receivers that are down for a while.

A file, MPEG-TS over TCP, and GStreamer's RTSP server with sound, which demands a password; a server
of HTTP and a Mosquitto, which is down for seconds, and in the long run for half a minute. A program
is told too, which hangs until the end, and whose queue is small.
"""

import hashlib
import hmac
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from live import TICK, free_port, rtsp_servers, senders
from models import brightness_model
from requirements import require
from videos import written
from watching import Broker, Receiver, Subscriber

USER, PASSWORD = "doorkeeper", "S3cr@t/8"
SECRETS = (USER, "S3cr")  # however it is quoted
SIGNED_WITH = "shared-with-the-server"
HYSTERESIS, THRESHOLD = 0.1, 0.8


SMALL = 1  # messages that may wait for the program
WATCH = f"""
import sys
from r2p_edge.cli import main, watch
from r2p_edge.watch.delivery import SinkQueue
from r2p_edge.watch.text_sinks import ProgramSink

sinks = watch._sinks
watch._sinks = lambda *arguments: [
    SinkQueue(each, size={SMALL}) if isinstance(each, ProgramSink) else each
    for each in sinks(*arguments)
]
sys.exit(main())
"""
"""The command line, whose program has a small queue, which is no option of it."""

HANGS = """
until [ -e {go} ]; do sleep 0.05; done
cat >> {told}
"""


@pytest.fixture(autouse=True)
def _programs():
    for name in ("gst_rtsp", "mosquitto", "paho"):
        require(name)


def expected_events(answers):
    """Return the numbers of events of each source, computed anew from its answers."""
    begun, open_now, gaps = Counter(), {}, {}
    for answer in answers:
        name, score = answer["source"], {t["label"]: t["score"] for t in answer["top"]}["frame 3"]
        if gaps.get(name) != answer["gaps"]:
            open_now[name], gaps[name] = False, answer["gaps"]
        if open_now[name]:
            open_now[name] = score > THRESHOLD - HYSTERESIS
        elif score > THRESHOLD:
            open_now[name] = True
            begun[name] += 1
    return begun


class Lines:
    """The lines that a process prints, read in a thread, with the moment when each came."""

    def __init__(self, pipe):
        self.lines, self._changed = [], threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe):
        for line in pipe:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def answers(self):
        with self._changed:
            found = [json.loads(line) for line in self.lines]
        return [line for line in found if line["type"] == "answer"]

    def wait_for(self, condition, process):
        deadline = time.monotonic() + 120
        while not condition(self.answers()):
            assert process.poll() is None, self.lines[-3:]
            assert time.monotonic() < deadline, Counter(a["source"] for a in self.answers())
            time.sleep(0.05)

    def finish(self):
        self._thread.join(60)

    def wait_for_text(self, pattern, process):
        """Return what a pattern finds in the lines, once it is there."""
        while (found := re.search(pattern, "".join(self.lines))) is None:
            assert process.poll() is None, self.lines[-3:]
            time.sleep(0.05)
        return found[1]


def count(answers, source, gaps=0):
    return sum(answer["source"] == source and answer["gaps"] >= gaps for answer in answers)


@pytest.mark.slow
@pytest.mark.parametrize("outage", [3.0, pytest.param(30.0, marks=pytest.mark.long)])
def test_each_event_is_told_once(tmp_path, outage):
    folder, port = tmp_path / "seen", free_port()
    folder.mkdir()
    film = written(tmp_path / "film.mp4", np.arange(150) / 25)
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(
        f'[sources.gate]\nuser = "{USER}"\npassword = "{PASSWORD}"\n'
        f'[webhook]\nsecret = "{SIGNED_WITH}"\n[mqtt]\nuser = "box"\npassword = "S3cr-mqtt"\n'
    )
    secrets.chmod(0o600)
    go, told_to_program = tmp_path / "go", folder / "told.jsonl"
    program = tmp_path / "program.sh"
    program.write_text(HANGS.format(go=go, told=told_to_program))
    broker = Broker(tmp_path / "broker", ("box", "S3cr-mqtt"))
    with (
        Receiver() as receiver,
        broker,
        senders(port) as send,
        rtsp_servers("h264", f"{USER}:{PASSWORD}") as (url, serve),
    ):
        subscriber = Subscriber(broker.port, ("box", "S3cr-mqtt"))
        serve(0)
        command = [
            *(sys.executable, "-c", WATCH, "watch"),
            brightness_model(tmp_path / "model.onnx"),
            *(f"film={film}", f"yard=tcp://127.0.0.1:{port}?listen=1", f"gate={url}"),
            *("--event", f"rises=frame 3>{THRESHOLD}", "--event-hysteresis", str(HYSTERESIS)),
            *("--stride", "1", "--policy", "all", "--json", "--answers", "--verbose"),
            *("--webhook", receiver.url, "--mqtt", f"mqtt://127.0.0.1:{broker.port}"),
            *("--events-file", folder / "events.jsonl", "--pictures", folder / "pictures"),
            *("--exec", f"sh {program}", "--listen", "127.0.0.1:0", "--credentials", secrets),
        ]
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        errors = Lines(process.stderr)
        lines = Lines(process.stdout)
        send(0, 150)
        lines.wait_for(lambda found: count(found, "gate") >= 30 and count(found, "film"), process)
        shown = [Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()]
        # The servers die in the midst of their events, and so does the broker.
        broker.stop()
        begun, before = time.monotonic(), len(lines.answers())
        serve(1000)
        send(50, 150)
        lines.wait_for(lambda found: count(found, "gate", 1) >= 20, process)
        while time.monotonic() < begun + outage:
            time.sleep(0.05)
        meanwhile = lines.answers()[before:]
        broker.start()
        lines.wait_for(
            lambda found: count(found, "yard", 1) >= 60 and count(found, "gate", 1) >= 40, process
        )
        serve(0)
        lines.wait_for(lambda found: count(found, "gate", 2) >= 40, process)
        page = errors.wait_for_text(r"the page is at (\S+)", process)
        with urllib.request.urlopen(f"{page}metrics") as answer:
            metrics = answer.read().decode()
        go.touch()
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
        for each in (errors, lines):
            each.finish()
        process.stdout.close()
        process.stderr.close()
        assert code == 0, errors.lines

        answers = lines.answers()
        wanted = expected_events(answers)
        assert min(wanted.values()) >= 1
        assert wanted["gate"] >= 4
        written_events = [
            json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()
        ]
        assert subscriber.wait_for(
            lambda found: sum(t.endswith("/event") for t, _ in found) >= len(written_events)
        )
        published = [json.loads(text) for t, text in subscriber.messages if t.endswith("/event")]
        subscriber.close()
        printed = [json.loads(line) for line in lines.lines]
        printed = [line for line in printed if line["type"] != "answer"]

        for told in (written_events, printed, receiver.events(), published):
            check_events(told, wanted)
        assert written_events == printed == receiver.events()

        for headers, body in receiver.requests:
            expected = hmac.new(SIGNED_WITH.encode(), body, hashlib.sha256).hexdigest()
            assert headers["X-Hub-Signature-256"] == f"sha256={expected}"
        for event in written_events:
            assert Path(event["snapshot"]).read_bytes()[:2] == b"\xff\xd8"

        check_drops(metrics, "".join(errors.lines), told_to_program, written_events)
        check_rate(meanwhile)
        shown += [metrics]
        shown += [*lines.lines, *errors.lines, str(receiver.requests), str(subscriber.messages)]
        shown += [path.name for path in folder.rglob("*")]
        shown += [path.read_text("latin-1") for path in folder.rglob("*") if path.is_file()]
        shown += [(tmp_path / "broker" / "log").read_text()]
        for secret in SECRETS:
            assert not [text for text in shown if secret in text]


def check_events(told, wanted):
    """Check that each event has one begin and then one end, and that none is missing."""
    of_one = defaultdict(list)
    for event in told:
        of_one[event["id"]].append(event)
    for begin, end in of_one.values():
        assert (begin["type"], end["type"]) == ("begin", "end")
        assert begin["source"] == end["source"]
        assert begin["start"] == end["start"] <= begin["end"] <= end["end"]
        assert begin["wall"] <= end["wall"]
    assert Counter(events[0]["source"] for events in of_one.values()) == wanted


def check_drops(metrics, log, file, events):
    """Check that each event reached the program that hung, or is counted as one that did not.

    Args:
        metrics: those of the page, before the end.
        log: what the watch told on stderr.
        file: lines that the program wrote.
        events: all of them.
    """
    reached = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event for event in events if event in reached] == reached  # in their order, once
    lost, of_all, causes = re.search(
        r"the program sh: lost (\d+) of (\d+) messages: (.*)", log
    ).groups()
    assert len(reached) + int(lost) == int(of_all) == len(events)
    dropped = int(re.search(r"(\d+) dropped, as it is too slow", causes)[1])
    assert dropped > 0

    def counted(receiver, outcome):
        labels = rf'receiver="{receiver}",outcome="{outcome}"'
        return int(re.search(rf"r2p_deliveries_total{{{labels}}} (\d+)", metrics)[1])

    assert 0 < counted("the program sh", "dropped") <= dropped
    for receiver in re.findall(r'receiver="([^"]+)",outcome="dropped"', metrics):
        assert counted(receiver, "dropped") == 0 or receiver == "the program sh"


def check_rate(answers):
    """Check that no tick of the camera went without an answer while the broker was down."""
    runs = defaultdict(list)
    for answer in answers:
        if answer["source"] == "gate":
            runs[answer["gaps"]].append(answer["end"])
    assert sum(map(len, runs.values())) > 20
    for ends in runs.values():
        steps = np.diff(ends)
        assert np.abs(steps - TICK).max(initial=0) < TICK / 2
