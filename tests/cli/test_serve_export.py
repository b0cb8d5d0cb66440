"""`serve-export`: what is printed, and its errors."""

import json


def test_for_people(run, model, tmp_path):
    out = tmp_path / "repository"
    code, printed, _ = run("serve-export", model, "--to", "ovms", "--out", out)
    assert code == 0
    first, second = printed.splitlines()
    assert first == f"{out / 'brightness'}: version 1"
    assert second.startswith("start the server with: docker run ")


def test_for_machines(run, model, tmp_path):
    arguments = ("--to", "triton", "--out", tmp_path / "r", "--name", "mine", "--json")
    code, printed, _ = run("serve-export", model, *arguments)
    assert code == 0
    report = json.loads(printed)
    assert report["models"] == {"mine": 1, "mine_files": 1, "mine_stream": 1}
    assert report["server"] == "triton"
    assert report["folder"] == str(tmp_path / "r")


def test_errors(fails, model, tmp_path):
    out = ("--out", tmp_path / "r")
    fails(2, "unknown server 'tensorflow'", "serve-export", model, "--to", "tensorflow", *out)
    fails(4, "does not exist", "serve-export", tmp_path / "no.onnx", "--to", "triton", *out)
    fails(2, "max_batch is 0", "serve-export", model, "--to", "triton", *out, "--max-batch", "0")
    fails(4, "--input float32", "serve-export", model, "--to", "deepstream", *out)
    (tmp_path / "file").write_text("")
    below = ("--out", tmp_path / "file" / "r")
    fails(3, "cannot be made", "serve-export", model, "--to", "triton", *below)
