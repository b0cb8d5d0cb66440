"""`serve`: its output, and its errors; that it answers is tested in tests/serve."""

import json
import socket

import pytest

from r2p_edge.cli import serve


class Ended:
    """An event in the place of SIGTERM's, that lets a test look before the server ends."""

    def __init__(self, look):
        self.look = look

    def wait(self, _):
        self.look()
        return True


@pytest.fixture
def run_once(run, monkeypatch):
    """Runs `serve` until it waits; calls a function then, and returns what was printed."""

    def run_once(look, *arguments):
        class Manager:
            def __enter__(self):
                return Ended(look)

            def __exit__(self, *_):
                pass

        monkeypatch.setattr(serve, "_until_terminated", Manager)
        return run("serve", *arguments, "--listen", "127.0.0.1:0")

    return run_once


@pytest.mark.slow
def test_for_people_and_for_machines(run_once, model):
    code, printed, _ = run_once(lambda: None, model)
    assert code == 0
    assert printed.startswith("http://127.0.0.1:")
    assert printed.endswith("/v2/models/brightness\n")
    code, printed, _ = run_once(lambda: None, model, "--json", "--name", "a-model")
    report = json.loads(printed)
    assert code == 0
    assert (report["model"], report["token"]) == ("a-model", None)


@pytest.mark.slow
def test_a_token_is_made_and_printed_once(run_once, model, tmp_path):
    _, printed, _ = run_once(lambda: None, model, "--token-file", "auto")
    token = printed.splitlines()[1].removeprefix("token: ")
    assert len(token) == 43
    kept = tmp_path / "token.txt"
    kept.write_text("k" * 32 + "\n")
    _, printed, errors = run_once(lambda: None, model, "--token-file", kept)
    assert "k" * 32 not in printed + errors


def test_errors(fails, model, tmp_path):
    fails(2, "queue is 0; it must be 1 or more", "serve", model, "--queue", "0")
    fails(2, "max-body is 0; it must be 1 or more", "serve", model, "--max-body", "0")
    fails(2, "is no address to listen on", "serve", model, "--listen", "8000")
    fails(2, "there is no token", "serve", model, "--listen", "0.0.0.0:0")
    fails(2, "cannot be read", "serve", model, "--token-file", tmp_path / "absent")
    for name in ("a/b", "a b", "", "a?b"):
        fails(2, f"{name!r} cannot be the name of a model", "serve", model, "--name", name)
    fails(2, "--tls-key is of no use alone", "serve", model, "--tls-key", "key.pem")
    fails(4, "does not exist", "serve", tmp_path / "absent.onnx")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        fails(2, "another program listens", "serve", model, "--listen", where)
