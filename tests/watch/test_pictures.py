"""Pictures and films of events: in order, whole or not at all, and never in the way."""

import dataclasses
import errno
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from live import Clock, grey

from r2p_edge.errors import OutputError
from r2p_edge.pictures.encoding import reduced_jpeg_of
from r2p_edge.watch import clips, pictures
from r2p_edge.watch.clips import ClipFrame, ClipRecorder, write_clip
from r2p_edge.watch.events import Event
from r2p_edge.watch.pictures import EventPictures


def event(number=1, kind="begin"):
    return Event(
        id=f"{number:032x}",
        type=kind,
        source="the door/1",
        rule="fall",
        label="fall",
        score=0.9,
        scores={},
        wall=1_000_000.5,
        start=1.0,
        end=2.0,
        model="digest",
    )


def test_an_event_is_told_with_the_path_of_its_picture(tmp_path):
    told = []
    writer = EventPictures(tmp_path / "new" / "folder", told.append)
    writer.put(event(), lambda: grey(100, 48, 64))
    writer.put(event(kind="end"))
    writer.close(60)
    begin, end = told
    assert begin.snapshot == end.snapshot
    path = Path(begin.snapshot)
    assert path.name == "19700112T134640Z-the_door_1-fall-00000000.jpg"
    with av.open(str(path)) as picture:
        frame = next(picture.decode(video=0))
    assert (frame.width, frame.height) == (64, 48)
    assert writer.counts == (1, 0)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_without_a_folder_events_are_told_at_once():
    told = []
    writer = EventPictures(None, told.append)
    writer.put(event(), lambda: pytest.fail("nobody wants it"))
    assert told == [event()]
    writer.close(60)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_disk_costs_the_picture_alone(tmp_path, monkeypatch, caplog, code):
    def full(path, data):
        raise OutputError(f"{path} cannot be written: full")

    told = []
    writer = EventPictures(tmp_path, told.append)
    monkeypatch.setattr(pictures, "atomic_write", full)
    writer.put(event(1), lambda: grey(100, 48, 64))
    writer.put(event(1, "end"))
    writer.close(60)
    assert told == [event(1), event(1, "end")]
    assert writer.counts == (0, 1)
    (record,) = caplog.records
    assert "the watch: 1 picture not written (" in record.getMessage()


def test_a_disk_that_hangs_holds_up_no_event_for_long(tmp_path, monkeypatch, caplog):
    clock, told, go, begun = Clock(), [], threading.Event(), threading.Event()

    def hang(path, data):
        begun.set()
        assert go.wait(60)

    monkeypatch.setattr(pictures, "atomic_write", hang)
    writer = EventPictures(tmp_path, told.append, clock=clock)
    for number in (1, 2):
        writer.put(event(number), lambda: grey(100, 48, 64))
    writer.put(event(1, "end"))
    assert begun.wait(60)
    writer.look_after()
    assert told == []
    clock.now += pictures._PATIENCE
    writer.look_after()
    assert told == [event(1), event(2), event(1, "end")]
    assert writer.counts.failed == 2
    go.set()
    writer.close(60)
    assert len(told) == 3
    assert "(the disk is too slow)" in caplog.text


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="for pictures cannot be made"):
        EventPictures(tmp_path / "file" / "folder", lambda _: None)


def frames(count, step=0.1, first=0.0):
    """Return pictures of a film, of which number k is of the grey 10 + 5 k."""
    return [
        ClipFrame(first + k * step, reduced_jpeg_of(grey(10 + 5 * k, 48, 64), 640))
        for k in range(count)
    ]


def test_a_film_shows_each_picture_at_its_time(tmp_path):
    write_clip(tmp_path / "film.mp4", frames(20, step=0.13, first=1e9))
    with av.open(str(tmp_path / "film.mp4")) as film:
        found = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in film.decode()]
    assert [time for time, _ in found] == pytest.approx([0.13 * k for k in range(20)], abs=1e-3)
    levels = np.array([level for _, level in found])
    assert np.abs(np.diff(levels) - 5 * 219 / 255).max() < 2


@pytest.mark.slow
def test_a_film_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="no picture came"):
        write_clip(tmp_path / "film.mp4", [])
    monkeypatch.setattr(clips, "_OPTIONS", {"preset": "no such"})
    with pytest.raises(OutputError, match=r"film\.mp4 cannot be written"):
        write_clip(tmp_path / "film.mp4", frames(3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_recorder_keeps_ten_pictures_a_second_of_the_last_seconds():
    recorder = ClipRecorder()
    for k in range(500):
        recorder.add("door", lambda k=k: grey(k % 200, 48, 64), k / 25)
    assert len(recorder._frames["door"]) == pytest.approx(clips.BEFORE_SECONDS * 25 / 3, abs=2)
    recorder.begin("door")
    for k in range(500, 1000):
        recorder.add("door", lambda k=k: grey(k % 200, 48, 64), k / 25)
    film = recorder.end("door", 25.0, 35.0)
    assert film[0].wall == pytest.approx(25 - clips.BEFORE_SECONDS, abs=0.13)
    assert film[-1].wall == pytest.approx(35, abs=0.13)
    recorder.add("door", lambda: grey(0, 48, 64), 40.2)
    assert recorder._frames["door"][0].wall >= 40.2 - clips.BEFORE_SECONDS
    assert recorder.end("yard", 0.0, 1.0) == []


@pytest.mark.slow
def test_a_film_has_a_length_at_most():
    recorder = ClipRecorder()
    recorder.begin("door")
    for k in range(660):
        recorder.add("door", lambda: grey(10, 16, 16), k / 5)
    film = recorder.end("door", 10.0, 131.0)
    assert film[-1].wall - film[0].wall <= clips.LONGEST_SECONDS


def test_events_are_plain(tmp_path):
    assert dataclasses.replace(event(), clip="x").to_dict()["clip"] == "x"
