"""`r2p-edge weights`: what each action prints, its exit codes, and who writes the store."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
from exit_codes import DATA, MODEL, USAGE
from weights_server import serving_weights, weights_bytes

from r2p_edge.export.published.registry import read_registry

CONTENT = weights_bytes(10_000)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """The folder of the store."""
    monkeypatch.setenv("R2P_WEIGHTS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def file(tmp_path):
    """A file that was fetched by hand."""
    (tmp_path / "fetched.pth").write_bytes(CONTENT)
    return tmp_path / "fetched.pth"


@pytest.fixture
def server(monkeypatch):
    """A server that has the file of the registry's first entry, as a test says."""
    entry = next(iter(read_registry().values()))
    monkeypatch.setenv("no_proxy", "*")
    with serving_weights(CONTENT) as server:
        changes = {
            "url": server.url(),
            "size": None,
            "digest": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
        }
        changed = type(entry)(**{**entry.to_dict(), **changes})
        module = "r2p_edge.export.published.store.read_registry"
        monkeypatch.setattr(module, lambda path: {changed.id: changed})
        yield server


def test_the_list_has_every_entry(run, store, file):
    run("weights", "add", "kh-r2p1d34", file)
    code, output, _ = run("weights", "list")
    assert code == 0
    for entry in read_registry().values():
        assert f"{entry.id} " in output
    assert "kh-r2p1d34             in the store" in output
    assert str(store) in output
    code, output, _ = run("weights", "list", "--json")
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["id"] for row in rows] == list(read_registry())
    assert {row["id"] for row in rows if row["stored"]} == {"kh-r2p1d34"}


def test_show_says_licence_and_data(run, store, file):
    code, output, _ = run("weights", "show", "kh-r2p1d34")
    assert code == 0
    for words in ("MIT, https://", "Kinetics-700, whose terms", "none published", "weights add"):
        assert words in output
    _, output, _ = run("weights", "show", "tv-r2plus1d_18")
    assert "weights get tv-r2plus1d_18" in output
    run("weights", "add", "kh-r2p1d34", file)
    shown = json.loads(run("weights", "show", "kh-r2p1d34", "--json")[1])
    assert shown["path"] == str(store / "kh-r2p1d34.pth")


def test_get_shows_licence_before_it_fetches(run, server, store):
    code, output, errors = run("weights", "get", "tv-r2plus1d_18")
    assert (code, errors) == (0, "")
    assert "BSD-3-Clause" in output
    assert f"{hashlib.sha256(CONTENT).hexdigest()} (as published)" in output
    assert "10000 (10000 bytes fetched)" in output
    found = json.loads(run("weights", "get", "tv-r2plus1d_18", "--json", "--offline")[1])
    assert found["fetched"] == 0
    assert found["path"] == str(store / "tv-r2plus1d_18.pth")
    assert found["licence"] == "BSD-3-Clause"


def test_get_into_another_folder(run, server, store, tmp_path):
    assert run("weights", "get", "tv-r2plus1d_18", "--out", tmp_path / "other")[0] == 0
    assert (tmp_path / "other" / "tv-r2plus1d_18.pth").is_file()
    assert not store.exists()


def test_exit_codes(fails, server, store, file, tmp_path):
    get = ("weights", "get", "tv-r2plus1d_18", "--json")
    fails(USAGE, "no published weights are called", "weights", "show", "nobody")
    fails(MODEL, "without --offline", *get, "--offline")
    fails(USAGE, "64 hexadecimal digits", *get, "--sha256", "12")
    server.content = b"<html>" * 100
    fails(DATA, "a web page", *get)
    server.content = weights_bytes(10_000, seed=5)
    fails(DATA, "is kept as", *get)
    fails(MODEL, "has sha256", "weights", "add", "tv-r2plus1d_18", tmp_path / "store" / BAD)
    fails(MODEL, "there is no file", "weights", "add", "tv-r2plus1d_18", tmp_path / "absent")


BAD = "tv-r2plus1d_18.pth.bad"


def test_verify(run, store, file):
    assert run("weights", "verify") == (0, "", "")
    run("weights", "add", "kh-r2p1d34", file)
    code, output, _ = run("weights", "verify")
    assert (code, output) == (0, f"       whole  {store / 'kh-r2p1d34.pth'}\n")
    (store / "kh-r2p1d34.pth").write_bytes(CONTENT[:-1])
    code, output, _ = run("weights", "verify", store, "--json")
    assert code == MODEL
    assert json.loads(output)["state"] == "damaged"


def test_by_hand(fails):
    fails(USAGE, "with a browser", "weights", "get", "kh-r2p1d34", "--json")


def tree(folder):
    """Return every file of a folder with its bytes and the time of its last change."""
    return {
        file: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.slow
def test_get_and_add_alone_write_the_store(run, store, file, model, clip, tmp_path, monkeypatch):
    run("weights", "add", "kh-r2p1d34", file)
    (store / "tv-r2plus1d_18.pth.part").write_bytes(CONTENT)
    before = tree(store), store.stat().st_mtime_ns
    monkeypatch.setattr("socket.socket.connect", None)
    for command in (
        ("weights", "list"),
        ("weights", "show", "kh-r2p1d34"),
        ("weights", "verify"),
        ("export", model, "--out", tmp_path / "out"),
        ("export", "kh-r2p1d34", "--preset", "motion", "--out", tmp_path / "out"),
        ("export", "tv-r2plus1d_18", "--out", tmp_path / "out"),
        ("predict", model, clip),
        ("doctor",),
    ):
        run(*command)
        assert (tree(store), store.stat().st_mtime_ns) == before, command


def test_the_list_imports_little():
    """Hold by what is imported that the list comes at once."""
    code = (
        "import sys; from r2p_edge.cli import main; main(['weights', 'list']);"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = set(done.stdout.splitlines()[-1].split())
    assert not found & {"av", "cv2", "onnx", "onnxruntime", "rich", "ssl", "socket", "torch"}
