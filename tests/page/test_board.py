import gc
import json
import threading
import weakref

import numpy as np
import pytest
from feeding import decoded_jpeg, event, level_of, live_answer
from live import Clock

from r2p_edge.errors import VideoError
from r2p_edge.page.board import LOOKED_SECONDS, Board


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def board(clock):
    return Board(["door", "yard"], about={"model": "net", "runtime": "none"}, clock=clock)


def rows(board, name=None, after=0):
    told, pictures = board.read(name, after)
    return {row["name"]: row for row in told["sources"]}, pictures


def look(board, name="door"):
    """Let a viewer look, which has to wait for nothing."""
    board.wait(name, -1, 0)


def test_what_a_source_shows_and_says(board, clock):
    board.frame("door", level_of(100), 1e9)
    board.answer("door", live_answer("run", gaps=2, dropped=3, skipped=1))
    clock.now = 0.5
    found, pictures = rows(board)
    assert list(found) == ["door", "yard"]
    door, yard = found["door"], found["yard"]
    assert (door["state"], door["age"], door["wall"]) == ("live", 0.5, 1e9)
    answer = door["answer"]
    assert (answer["label"], answer["kind"]) == ("run", "probabilities")
    assert answer["score"] == pytest.approx(0.7)
    assert [label for label, _ in answer["top"]] == ["run", "jump", "walk"]
    assert (answer["gaps"], answer["dropped"], answer["skipped"]) == (2, 3, 1)
    assert answer["lag"] == 0.042
    assert (yard["state"], yard["age"], yard["answer"], yard["bytes"]) == ("opening", None, None, 0)
    assert [len(picture) for picture in pictures] == [door["bytes"]]
    assert pictures[0].startswith(b"\xff\xd8")


def test_a_picture_is_given_once(board):
    board.frame("door", level_of(100), 0)
    told, pictures = board.read(None, 0)
    assert len(pictures) == 1
    assert board.read(None, told["n"])[1] == []
    board.state("door", "lost", "no route to it")
    assert board.read(None, told["n"])[1] == []
    assert rows(board, "door", told["n"])[0]["door"]["note"] == "no route to it"
    assert len(board.read(None, 0)[1]) == 1  # for one who comes later


class Source:
    """Counts how often its frame is asked for."""

    def __init__(self):
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return level_of(self.asked)


def test_while_nobody_looks_hardly_a_frame_is_taken_and_none_encoded(board, clock):
    source = Source()
    for tick in range(100):
        clock.now = tick / 10
        board.frame("door", source, 0)
    assert source.asked == 10
    assert 'r2p_page_pictures_total{source="door"}' not in board.counts.metrics.text()


def test_while_somebody_looks_each_is_taken_and_encoded_once(board, clock):
    source = Source()
    for tick in range(100):
        clock.now = tick / 10
        board.frame("door", source, 0)
        for _ in range(9):
            look(board)
            assert len(board.read("door", 0)[1]) == 1
    # The first viewer came after the first frame, and that was kept for it.
    assert source.asked == 100
    assert 'r2p_page_pictures_total{source="door"} 100.0' in board.counts.metrics.text()


def test_a_viewer_that_left_is_forgotten(board, clock):
    source = Source()
    look(board)
    for tick in range(100):
        clock.now = tick / 10
        board.frame("door", source, 0)
    assert source.asked == pytest.approx(10 * LOOKED_SECONDS + 10 - LOOKED_SECONDS, abs=2)


def test_a_fast_camera_is_shown_at_most_so_often(board, clock):
    source = Source()
    for number in range(600):
        clock.now = number / 60
        look(board)
        board.frame("door", source, 0)
    assert 120 <= source.asked <= 170  # in ten seconds


def test_a_frame_in_full_size_is_let_go_once_it_is_encoded(board, clock):
    image = level_of(7, 480, 640)
    gone = weakref.ref(image)
    board.frame("door", image, 0)
    del image
    assert gone() is not None
    assert board.latest("door", 0)
    gc.collect()
    assert gone() is None


def test_the_frame_of_an_answer_is_let_go(board):
    answer = live_answer()
    gone = weakref.ref(answer)
    board.answer("door", answer)
    del answer
    gc.collect()
    assert gone() is None
    json.dumps(board.answers("door", 0))


def test_a_frame_that_cannot_be_converted_is_passed_over(board):
    def broken():
        raise VideoError("its colours are unknown")

    board.frame("door", broken, 0)
    assert rows(board)[0]["door"]["bytes"] == 0
    assert rows(board)[0]["door"]["state"] == "live"


def test_answers_are_kept_for_a_while(board):
    for _ in range(150):
        board.answer("door", live_answer())
    kept = board.answers("door", 0)
    assert len(kept) == 100
    assert kept[-1]["label"] == "run"
    assert [each["n"] for each in kept] == sorted({each["n"] for each in kept})
    assert board.answers("door", kept[-3]["n"]) == kept[-2:]
    with pytest.raises(KeyError):
        board.answers("cellar", 0)


def test_a_source_that_comes_back_is_live_again(board):
    board.frame("door", level_of(1), 0)
    board.state("door", "lost", "the server has closed the connection")
    assert rows(board)[0]["door"]["state"] == "lost"
    board.frame("door", level_of(2), 0)
    door = rows(board)[0]["door"]
    assert (door["state"], door["note"], door["reconnects"]) == ("live", "", 1)
    board.state("door", "ended", "")
    assert rows(board)[0]["door"]["state"] == "ended"


def test_values_and_no_label_and_no_motion(board):
    board.answer("door", live_answer(None, best=0.4))
    assert rows(board)[0]["door"]["answer"]["label"] is None
    board.answer("door", live_answer(None, still=True))
    assert rows(board)[0]["door"]["answer"]["still"] is True


def test_no_password_is_shown(board):
    address = "rtsp://admin:hunter2@camera/1"
    board.state(address, "lost", f"{address} cannot be opened")
    board.frame(address, level_of(1), 0)
    board.answer(address, live_answer())
    board.event(event(1, source=address, note=f"at {address}"))
    shown = [json.dumps(board.read(None, 0)[0]), board.counts.metrics.text(), *board.names()]
    shown += [each.data for each in board.events.since(0)]
    assert "rtsp://***@camera/1" in board.names()
    assert board.latest("rtsp://***@camera/1", 0)
    assert not [text for text in shown if "hunter2" in text]


def test_a_viewer_waits_for_what_it_asked_for(board):
    board.frame("door", level_of(1), 0)
    number = board.newest
    assert not board.wait("door", number, 0)
    assert board.wait("door", 0, 0)
    assert not board.wait("yard", 0, 0)
    board.answer("door", live_answer())
    assert board.wait("door", number, 0)
    assert not board.wait("door", number, 0, picture=True)
    number = board.newest
    board.event(event(1))
    assert board.wait(None, number, 0)
    assert not board.wait("door", number, 0)


def test_one_who_waits_is_woken(board):
    found = []
    waiting = threading.Thread(target=lambda: found.append(board.wait("door", 0, 60)))
    waiting.start()
    board.frame("door", level_of(1), 0)
    waiting.join(60)
    assert found == [True]


def test_the_newest_picture_is_waited_for_if_an_old_one_was_kept(board, clock):
    board.frame("door", level_of(10), 0)
    clock.now = 0.9
    found = []
    asking = threading.Thread(target=lambda: found.append(board.latest("door", 60)))
    asking.start()
    while True:  # until it is known that somebody looks
        clock.now += 0.1
        board.frame("door", level_of(250), 0)
        asking.join(0.01)
        if found:
            break
    assert decoded_jpeg(found[0]).mean() > 240


def test_health(board, clock):
    assert board.stale(10) == 2
    board.frame("door", level_of(1), 0)
    board.frame("yard", level_of(1), 0)
    assert board.stale(10) == 0
    clock.now = 11.0
    board.frame("door", level_of(1), 0)
    assert board.stale(10) == 1
    board.state("yard", "ended", "")
    assert board.stale(10) == 0


def test_many_threads_feed_and_read_it():
    board = Board()
    over = threading.Event()
    errors = []

    def feed(name):
        for number in range(300):
            board.frame(name, level_of(number % 250), 0)
            board.answer(name, live_answer())
            board.event(event(number, source=name))

    def view():
        after = 0
        while not over.is_set():
            try:
                board.wait(None, after, 0.01)
                told, pictures = board.read(None, after)
                assert told["n"] >= after
                assert sum(map(len, pictures)) == sum(row["bytes"] for row in told["sources"])
                after = told["n"]
                board.counts.metrics.text()
            except BaseException as error:
                errors.append(error)
                raise

    feeders = [threading.Thread(target=feed, args=(f"camera {n}",)) for n in range(4)]
    viewers = [threading.Thread(target=view) for _ in range(3)]
    for thread in [*feeders, *viewers]:
        thread.start()
    for thread in feeders:
        thread.join()
    over.set()
    for thread in viewers:
        thread.join()
    assert not errors
    assert board.events.newest == 1200
    assert np.sum([row["bytes"] > 0 for row in board.read(None, 0)[0]["sources"]]) == 4
