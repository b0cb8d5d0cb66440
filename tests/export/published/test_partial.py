"""Downloads that were cut off by force, damaged, or made by two processes at once."""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading

import pytest
from weights_server import PATH, digest_of, fetch_and_tell, reply

from r2p_edge.errors import DownloadError, ModelError
from r2p_edge.export.published.partial import read_state

PROCESSES = multiprocessing.get_context("spawn")
WHOLE = ["net.pth", "net.pth.json"]


def names(store):
    return sorted(file.name for file in store.folder.iterdir())


def fetched_by_another(store):
    """Fetch in a process of its own; return the process, and what tells how far it is."""
    told, tell = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=fetch_and_tell, args=(store, tell))
    process.start()
    return process, told


def stopped_midway(server, size=100_000):
    """Have the server send so many bytes of the next answer, and then wait.

    Returns:
        Event that lets the rest follow.
    """
    go_on = threading.Event()

    def halting(handler):
        del server.answers[PATH]
        length = len(server.content)
        reply(handler, 200, server.content[:size], length=length, ETag=server.etag)
        handler.wfile.flush()
        go_on.wait(60)
        handler.wfile.write(server.content[size:])
        server.sent += length

    server.answers[PATH] = halting
    return go_on


def wait_for_size(told, size):
    """Wait until another process has written so many bytes."""
    while not (isinstance(said := told.recv(), int) and said >= size):
        pass


def wait_until_it_waits(told):
    """Wait until another process has seen that it is not the only one."""
    while not str(told.recv()).startswith("another process is fetching net"):
        pass


def test_a_process_that_is_killed_leaves_what_came(server, store_of, get):
    store = store_of(server)
    go_on = stopped_midway(server)
    process, told = fetched_by_another(store)
    wait_for_size(told, 100_000)
    process.kill()
    process.join()
    go_on.set()
    assert process.exitcode == -signal.SIGKILL
    assert names(store) == ["net.pth.part", "net.pth.part.json"]
    server.sent = 0
    found = get(store)
    assert digest_of(found.path.read_bytes()) == digest_of(server.content)
    assert found.fetched == len(server.content) - 100_000
    assert names(store) == WHOLE


@pytest.mark.slow
def test_two_processes_make_one_download(server, store_of):
    store = store_of(server)
    go_on = stopped_midway(server)
    first, told = fetched_by_another(store)
    wait_for_size(told, 100_000)
    second, also_told = fetched_by_another(store)
    wait_until_it_waits(also_told)
    go_on.set()
    for process in (first, second):
        process.join(60)
        assert process.exitcode == 0
    assert len(server.requests) == 1
    assert digest_of((store.folder / "net.pth").read_bytes()) == digest_of(server.content)
    assert names(store) == WHOLE


@pytest.mark.slow
def test_the_second_goes_on_where_the_first_is_killed(server, store_of):
    store = store_of(server)
    go_on = stopped_midway(server)
    first, told = fetched_by_another(store)
    wait_for_size(told, 100_000)
    second, also_told = fetched_by_another(store)
    wait_until_it_waits(also_told)
    first.kill()
    first.join()
    second.join(60)
    go_on.set()
    assert second.exitcode == 0
    assert digest_of((store.folder / "net.pth").read_bytes()) == digest_of(server.content)
    assert server.requests[1] == (PATH, "bytes=100000-")


def partial(server, store, get, size=100_000):
    server.cuts = [size] * 6
    with pytest.raises(DownloadError):
        get(store)
    server.cuts, server.requests[:] = [], []
    return store.folder / "net.pth.part"


@pytest.mark.parametrize(
    "change",
    [
        {"validator": "a\r\nHost: evil"},
        {"validator": "x" * 5000},
        {"validator": None},
        {"total": 3},
        {"total": -1},
        {"total": "300000"},
        {"total": True},
        {"url": "http://127.0.0.1/other.pth"},
        {"digest": None},
        {"more": 1},
    ],
)
def test_a_changed_state_begins_anew(server, store_of, get, change):
    store = store_of(server)
    state = partial(server, store, get).with_name("net.pth.part.json")
    state.write_text(json.dumps(json.loads(state.read_text()) | change))
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)
    assert server.requests == [(PATH, None)]


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[]", b"[" * 100_000, b" " * (2 << 20)])
def test_a_damaged_state_is_one_sentence_and_begins_anew(server, store_of, get, damage):
    store = store_of(server)
    state = partial(server, store, get).with_name("net.pth.part.json")
    state.write_bytes(damage)
    with pytest.raises(ModelError, match=r"state of a download .*; delete it|no object"):
        read_state(state)
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)
    assert server.requests == [(PATH, None)]


def test_a_partial_file_that_was_damaged_is_found_out(server, store_of, get):
    store = store_of(server)
    part = partial(server, store, get)
    with part.open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    with pytest.raises(DownloadError, match="sha256"):
        get(store)
    assert names(store) == ["net.pth.bad"]
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)


def test_killed_before_the_last_step(server, store_of, get):
    """All bytes are there, and nothing is fetched again."""
    store = store_of(server)
    part = partial(server, store, get)
    with part.open("ab") as file:
        file.write(server.content[100_000:])
    found = get(store)
    assert found.fetched == 0
    assert server.requests == []
    assert names(store) == WHOLE


def test_killed_after_the_last_step(server, store_of, get):
    store = store_of(server)
    path = get(store).path
    path.with_name("net.pth.part.json").write_text("{}")
    get(store)
    assert names(store) == WHOLE
