"""The store: where it is, what comes into it by hand, and how it is checked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from weights_server import registry_of, weights_bytes

from r2p_edge.errors import (
    CheckpointError,
    ModelError,
    ModelNotFoundError,
    OutputError,
    UsageError,
)
from r2p_edge.export.published.fetch import add_weights
from r2p_edge.export.published.store import WeightsStore, store_folder

CONTENT = weights_bytes(100_000)


@pytest.fixture
def file(tmp_path):
    """A file that was fetched by hand."""
    path = tmp_path / "fetched.pth"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def store(tmp_path):
    """A store whose registry knows the file by its sha1, and another by nothing."""
    rows = (
        {"digest": f"sha1:{hashlib.sha1(CONTENT).hexdigest()}", "status": "by-hand"},
        {"id": "other"},
    )
    return WeightsStore(tmp_path / "store", registry_of(tmp_path / "registry.json", *rows))


def states(store):
    """Return the state of each file of a store that was checked."""
    return {found.id: found.state for found in store.check()}


def test_where_the_store_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("R2P_WEIGHTS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert store_folder() == tmp_path / ".cache" / "r2p_edge" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert store_folder() == tmp_path / ".cache" / "r2p_edge" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert store_folder() == Path("/cache/r2p_edge/weights")
    monkeypatch.setenv("R2P_WEIGHTS", "~/weights")
    assert store_folder() == tmp_path / "weights"


def test_a_file_that_was_fetched_by_hand(store, file):
    added = add_weights("net", file, store=store)
    assert hashlib.sha256(added.path.read_bytes()).hexdigest() == added.record.sha256
    assert added.record.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert added.record.url is None
    assert store.find(store.entry("net")).record == added.record
    assert add_weights("net", file, store=store).record == added.record
    assert add_weights("net", added.path, store=store).record == added.record
    assert states(store) == {"net": "whole"}


def test_a_flipped_byte_is_refused(store, file):
    wrong = bytearray(CONTENT)
    wrong[50_000] ^= 1
    file.write_bytes(wrong)
    with pytest.raises(CheckpointError) as refused:
        add_weights("net", file, store=store)
    for content in (wrong, CONTENT):
        assert hashlib.sha1(content).hexdigest() in str(refused.value)
    assert list(store.folder.iterdir()) == []
    assert file.read_bytes() == wrong


def test_a_page_that_was_saved(store, file):
    file.write_bytes(b"<!DOCTYPE html>" + b" " * 100)
    with pytest.raises(CheckpointError, match="is a web page; give the file"):
        add_weights("other", file, store=store)


def test_what_cannot_be_added(store, file, tmp_path):
    with pytest.raises(ModelNotFoundError):
        add_weights("net", tmp_path / "absent.pth", store=store)
    with pytest.raises(ModelNotFoundError):
        add_weights("net", tmp_path, store=store)
    with pytest.raises(UsageError):
        add_weights("absent", file, store=store)
    with pytest.raises(CheckpointError, match="was asked for"):
        add_weights("net", file, store=store, sha256="0" * 64)
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("")
    with pytest.raises(OutputError):
        add_weights("net", file, store=store)


def test_weights_without_a_digest_are_pinned(store, file):
    add_weights("other", file, store=store)
    file.write_bytes(weights_bytes(100_000, seed=3))
    with pytest.raises(CheckpointError, match=r"that came before .* delete .*other.pth.json first"):
        add_weights("other", file, store=store)


def test_the_check_finds_what_is_wrong(store, file):
    add_weights("other", file, store=store)
    path = add_weights("net", file, store=store).path
    record = path.with_name("net.pth.json")
    kept = record.read_text()
    path.write_bytes(CONTENT[:-1])
    assert states(store) == {"net": "damaged", "other": "whole"}
    with pytest.raises(ModelError, match=r"is damaged: it has sha256 .* weights get net"):
        store.find(store.entry("net"))
    path.write_bytes(CONTENT)
    record.write_text(json.dumps({**json.loads(kept), "sha256": "0" * 64}))
    assert states(store)["net"] == "damaged"
    record.unlink()
    assert states(store)["net"] == "not recorded"
    with pytest.raises(ModelError, match=r"put there by another program.* weights add net FILE"):
        store.find(store.entry("net"))
    record.write_text(kept)
    path.unlink()
    assert states(store)["net"] == "missing"
    assert store.find(store.entry("net")) is None
    record.unlink()
    path.with_name("net.pth.part").write_bytes(b"PK")
    assert states(store)["net"] == "unfinished"


def test_a_file_that_is_not_what_was_published(store, file):
    """Somebody may change both the weights and the record; not the registry."""
    path = add_weights("net", file, store=store).path
    path.write_bytes(b"PK\x03\x04other")
    record = path.with_name("net.pth.json")
    fields = json.loads(record.read_text()) | {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()
    }
    record.write_text(json.dumps(fields))
    (found,) = store.check()
    assert found.state == "damaged"
    assert "published file has sha1" in found.reason


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "x"},
        {"sha256": None},
        {"size": "1"},
        {"id": "other"},
        {"more": 1},
        {"url": 3},
        {"digest": [[]]},
    ],
)
def test_a_damaged_record_is_one_sentence(store, file, change):
    record = add_weights("net", file, store=store).path.with_name("net.pth.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    with pytest.raises(ModelError, match=r"net.pth.json.*; delete it, and get or add|must be"):
        store.find(store.entry("net"))
    assert states(store) == {"net": "damaged"}


def test_a_record_that_is_no_json(store, file):
    record = add_weights("net", file, store=store).path.with_name("net.pth.json")
    for content in (b"", b"\0" * 100, b"[" * 100_000, b"{" * (2 << 20)):
        record.write_bytes(content)
        with pytest.raises(ModelError, match="delete it"):
            store.find(store.entry("net"))
