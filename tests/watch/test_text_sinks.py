"""Events in a file and to a program: whole lines, full disks, programs that fail or hang."""

import errno
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from watching import message

from r2p_edge.errors import OutputError, UsageError
from r2p_edge.watch import text_sinks
from r2p_edge.watch.delivery import DeliveryError
from r2p_edge.watch.text_sinks import FileSink, ProgramSink

STOP = threading.Event()


def test_lines_are_appended_even_if_the_file_is_moved_away(tmp_path):
    path = tmp_path / "events.jsonl"
    sink = FileSink(path)
    sink.send(message(1, label="T\u00fcr"), STOP)
    sink.send(message(2), STOP)
    path.rename(tmp_path / "events.1")
    sink.send(message(3), STOP)
    sink.close()
    lines = (tmp_path / "events.1").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["id1", "id2"]
    assert json.loads(path.read_text())["id"] == "id3"
    assert "T\u00fcr" in (tmp_path / "events.1").read_text()


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    sink = FileSink(tmp_path / "events.jsonl")
    sink.send(message(1), STOP)
    write, room = os.write, [40]

    def full(descriptor, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = write(descriptor, data[: room[0]])
        room[0] = 0
        return count

    monkeypatch.setattr(text_sinks.os, "write", full)
    with pytest.raises(DeliveryError, match="No space left on device; make room there"):
        sink.send(message(2), STOP)
    monkeypatch.undo()
    sink.send(message(3), STOP)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["id1", "id3"]


@pytest.mark.parametrize(
    ("end", "ids"),
    [
        ('{"id": "id', ["id1", "id2"]),  # of a program that was killed: it is told by nobody
        ("{", ["id1", "id2"]),
        ('{"id": "whole"}', ["id1", "whole", "id2"]),
        ("", ["id1", "id2"]),
    ],
)
def test_a_line_that_was_left_half_is_not_gone_on_with(tmp_path, end, ids):
    path = tmp_path / "events.jsonl"
    FileSink(path).send(message(1), STOP)
    with path.open("a") as file:
        file.write(end)
    FileSink(path).send(message(2), STOP)
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ids


def test_lines_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(text_sinks, "_LONGEST_LINE", 8)
    path = tmp_path / "events.jsonl"
    for before in ("a note", "{ that is longer than an event"):
        path.write_text(before)
        FileSink(path).send(message(1), STOP)
        first, second = path.read_text().splitlines()
        assert (first, json.loads(second)["id"]) == (before, "id1")


@pytest.mark.slow
def test_the_full_disk_of_the_system():
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with pytest.raises(DeliveryError, match="No space left on device"):
        FileSink("/dev/full").send(message(), STOP)


def test_a_file_in_no_folder(tmp_path):
    with pytest.raises(OutputError, match="there is no folder"):
        FileSink(tmp_path / "none" / "events.jsonl")


def test_a_file_that_is_write_protected(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    path.touch()
    monkeypatch.setattr(os, "access", lambda where, _: where != path)  # root may write anything
    with pytest.raises(OutputError, match=r"events\.jsonl cannot be written: it is write-protec"):
        FileSink(path)


def test_a_file_that_cannot_be_opened_any_more(tmp_path):
    sink = FileSink(tmp_path / "events.jsonl")
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(DeliveryError, match=r"^Is a directory$"):
        sink.send(message(), STOP)


PROGRAM = """
import json, os, sys
seen = {k: v for k, v in os.environ.items() if k.startswith("R2P_")}
with open(sys.argv[1], "a") as file:
    json.dump([seen, json.loads(sys.stdin.read()), sys.argv[2:]], file)
print("this is for nobody")
"""


def command(tmp_path, *more):
    (tmp_path / "program.py").write_text(PROGRAM)
    return f"{sys.executable} {tmp_path / 'program.py'} {tmp_path / 'seen'} " + " ".join(more)


@pytest.mark.slow
def test_a_program_reads_each_event(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("R2P_CREDENTIALS", "a:S3cret")
    monkeypatch.setenv("R2P_WEBHOOK_SECRET", "S3cret")
    sink = ProgramSink(command(tmp_path, "'two words'", "'$(touch x)'"))
    sink.send(message(), STOP)
    seen, event, words = json.loads((tmp_path / "seen").read_text())
    assert event == message()
    assert words == ["two words", "$(touch x)"]
    assert {k: v for k, v in seen.items() if "EVENT" in k} == {
        "R2P_EVENT_TYPE": "begin",
        "R2P_EVENT_ID": "id1",
        "R2P_EVENT_SOURCE": "door",
        "R2P_EVENT_RULE": "fall",
        "R2P_EVENT_LABEL": "fall",
    }
    assert "S3cret" not in str(seen)
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_program_that_fails_or_hangs(tmp_path):
    with pytest.raises(DeliveryError, match="its exit code was 3"):
        ProgramSink("sh -c 'exit 3'").send(message(), STOP)
    ProgramSink("sh -c 'exec <&-; exit 0'").send(message(), STOP)  # it need not read
    mark = tmp_path / "mark"
    hangs = ProgramSink(f"sh -c 'sleep 600 & echo $! > {mark}; wait'", seconds=0.5)
    with pytest.raises(DeliveryError, match=r"it ran for more than 0\.5 s"):
        hangs.send(message(), STOP)
    started = Path("/proc", mark.read_text().strip(), "exe")
    deadline = time.monotonic() + 60
    while started.exists():  # the kernel takes its time
        assert time.monotonic() < deadline
    stop = threading.Event()
    stop.set()
    with pytest.raises(DeliveryError, match="the watch ended first"):
        ProgramSink("sleep 600").send(message(), stop)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("", "no program ''"),
        ("/none/such -x", "no program '/none/such'"),
        ("a 'b", "is no command"),
    ],
)
def test_what_is_no_program(command, text):
    with pytest.raises(UsageError, match=text):
        ProgramSink(command)
