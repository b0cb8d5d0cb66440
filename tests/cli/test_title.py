"""The list of processes, in which everybody can read the words of a command."""

import subprocess
import sys
from pathlib import Path

import pytest
from live import free_port

SECRET = "S3cret"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("verb", ["stream", "watch"])
def test_no_password_is_in_the_list_of_processes(tmp_path, verb):
    from models import brightness_model

    model = brightness_model(tmp_path / "model.onnx")
    address = f"rtsp://admin:{SECRET}@127.0.0.1:{free_port()}/one"
    what = [address] if verb == "stream" else [f"door={address}", "--answers"]
    words = [model, *what, "--reconnect", "inf"]
    command = [sys.executable, "-m", "r2p_edge", verb, *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.readline()  # it is at work
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        tasks = [p.read_text() for p in Path(f"/proc/{process.pid}/task").glob("*/comm")]
        process.terminate()
        said += process.stderr.read()
    assert process.returncode == 0
    assert "is opened again" in said
    assert len(shown) == len(command)
    assert shown[:5] == [word.encode() for word in command[:5]]
    assert shown[5].startswith(b"rtsp://***@127" if verb == "stream" else b"door=rtsp://***@127")
    everything = said + str(shown) + str(tasks)
    assert SECRET not in everything
    assert "admin" not in everything
