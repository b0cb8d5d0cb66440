"""`r2p-edge stream`: how its options are read. Its answers are tested with the sources."""

from contextlib import contextmanager

import pytest

from r2p_edge.live.motion_gate import MOTION
from r2p_edge.predictor import Predictor


@pytest.fixture
def asked(run, model, monkeypatch):
    """Return a function that runs `stream` with words, and returns its source and options."""
    calls = []

    @contextmanager
    def stream(_, source, **options):
        calls.append((source, options))
        yield ()

    monkeypatch.setattr(Predictor, "stream", stream)

    def asked(*words):
        code, _, errors = run("stream", *(model if word == "MODEL" else word for word in words))
        assert (code, errors) == (0, "")
        return calls[-1]

    return asked


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["--motion", "MODEL", "0"], MOTION),
        (["MODEL", "--motion", "0"], MOTION),
        (["MODEL", "0", "--motion"], MOTION),
        (["--motion=7.5", "MODEL", "0"], 7.5),
        (["MODEL", "0", "--motion=20"], 20.0),
        (["MODEL", "0"], None),
    ],
)
def test_motion_takes_its_level_after_an_equals_sign_only(asked, words, level):
    source, options = asked(*words)
    assert (source, options["motion"]) == (0, level)


def test_a_login_comes_from_a_file_or_the_environment(asked, tmp_path, monkeypatch):
    file = tmp_path / "secrets.toml"
    file.write_text('user = "me"\npassword = "a/b"\n')
    file.chmod(0o600)
    assert asked("MODEL", "rtsp://h/1", "--credentials", file)[0] == "rtsp://me:a%2Fb@h/1"
    monkeypatch.setenv("R2P_CREDENTIALS", "you:c")
    assert asked("MODEL", "rtsp://h/1")[0] == "rtsp://you:c@h/1"
    assert asked("MODEL", "0")[0] == 0


def test_sources(asked):
    assert asked("MODEL", "0")[0] == 0
    assert asked("MODEL", "rtsp://camera/1")[0] == "rtsp://camera/1"
