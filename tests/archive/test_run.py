"""Archives from videos to a table: what is checked first, and what an end by force leaves."""

import csv
import dataclasses
import random
import subprocess
import sys

import pytest

from r2p_edge.archive import run as module
from r2p_edge.archive.run import predict_archive
from r2p_edge.archive.sources import list_archive
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration import motion
from r2p_edge.errors import OutputError, UsageError, VideoError


@pytest.fixture
def no_pool(monkeypatch):
    """Archives whose every video is answered by its number, in this process, last one first."""
    handed = []

    class WorkerPool:
        def __init__(self, arguments, *, opened, answered, **options):
            self.opened, self.answered = opened, answered
            handed.append((arguments, options))

        def run(self, tasks):
            self.opened({"runtime": "onnxruntime"})
            for number, listed in reversed(tasks):
                handed.append(listed.video)
                row = {"video": listed.video, "size": 1, "window": number, "error": None}
                self.answered(number, [{**row, "runtime": "onnxruntime"}])

    monkeypatch.setattr(module, "WorkerPool", WorkerPool)
    monkeypatch.setattr(module, "size_of", lambda video: 1)
    return handed


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_are_in_the_order_of_the_videos(no_pool, clips, model, tmp_path):
    seen = []
    report = predict_archive(
        model, [clips], tmp_path / "r.csv", progress=lambda *counts: seen.append(counts)
    )
    rows = read(tmp_path / "r.csv")
    assert [row["video"] for row in rows] == [each.video for each in list_archive([clips])]
    assert [row["window"] for row in rows] == list("01234")
    assert (report.videos, report.failed, report.new) == (5, 0, 5)
    assert seen == [(done, 5) for done in range(6)]


def test_only_what_is_left_is_answered(no_pool, clips, model, tmp_path, monkeypatch):
    out = tmp_path / "r.csv"
    predict_archive(model, [clips], out, top=2)
    before = out.read_bytes()
    del no_pool[:]
    again = predict_archive(model, [clips], out, top=2, resume=True, workers=3)
    assert (again.new, again.workers, no_pool[1:]) == (0, 0, [])
    # A file that has changed is answered again, and its row takes the place of the former.
    monkeypatch.setattr(module, "size_of", lambda video: 2 if "a.mp4" in video else 1)
    assert predict_archive(model, [clips], out, top=2, resume=True).new == 1
    assert no_pool[-1].endswith("a.mp4")
    assert out.read_bytes() == before


def test_another_run_is_refused(no_pool, clips, model, tmp_path):
    out = tmp_path / "r.csv"
    predict_archive(model, [clips], out)
    for message, changes in {
        "another views, 1, and not 2": {"views": 2},
        "another top, 4, and not 1": {"top": 1},
        "another shard, none, and not 1/2": {"shard": (1, 2)},
        "another list, 5 videos, sha256 [0-9a-f]+, and not 1 videos": {"sources": ["x.mp4"]},
    }.items():
        arguments = {"sources": [clips], **changes}
        with pytest.raises(UsageError, match=message):
            predict_archive(model, out=out, resume=True, **arguments)
    with pytest.raises(UsageError, match="exists; choose another file, or go on"):
        predict_archive(model, [clips], out)
    # More classes than the model has are the same as all.
    assert predict_archive(model, [clips], out, top=4, resume=True).new == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "workers is 0; it must be a whole number from 1 on"),
        ({"workers": "many"}, "workers is 'many'"),
        ({"views": 1.5}, r"views is 1\.5"),
        ({"timeout": 0}, "timeout is 0; it must be a number of seconds"),
        ({"retry_failed": True}, "only with resume"),
        ({"threads": 0}, "threads is 0"),
        ({"out": "results.xml"}, "ends in .xml; results are written to .csv"),
        ({"shard": (3, 2)}, "shard 3/2 does not exist"),
    ],
)
def test_what_is_checked_first(no_pool, clips, model, tmp_path, changes, message):
    arguments = {"out": "results.csv", **changes}
    arguments["out"] = tmp_path / arguments["out"]
    with pytest.raises(UsageError, match=message):
        predict_archive(model, [clips], **arguments)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_nothing_was_done(no_pool, clips, model, tmp_path, monkeypatch):
    monkeypatch.setattr(module.WorkerPool, "run", lambda *_: fail())
    with pytest.raises(VideoError):
        predict_archive(model, [clips], tmp_path / "r.csv")
    with pytest.raises(OutputError, match="there is no folder"):
        predict_archive(model, [clips], tmp_path / "absent" / "r.csv")
    assert list(tmp_path.iterdir()) == []


def fail():
    raise VideoError("no")


@pytest.mark.parametrize(
    ("suffix", "workers", "threads", "device", "cores", "megabytes", "expected"),
    [
        (".onnx", "auto", None, None, 4, 10_000, (4, 1)),
        (".onnx", "auto", 2, None, 4, 10_000, (2, 2)),
        (".onnx", "auto", None, "cpu", 16, 1000, (3, 5)),
        (".onnx", "auto", None, None, 4, 10, (1, None)),
        (".onnx", "auto", None, "cuda:1", 16, 10_000, (1, None)),
        (".onnx", 1, None, None, 4, 10_000, (1, None)),
        (".onnx", 3, None, None, 4, 10_000, (3, 1)),
        (".onnx", 8, 2, "cuda", 4, 10, (8, 2)),
        (".mindir", "auto", None, None, 4, 10_000, (1, None)),
        (".mindir", 2, None, None, 4, 10_000, (2, 2)),
        (".engine", 2, None, None, 4, 10_000, (2, None)),
        (".rknn", 3, None, "npu:0", 4, 10_000, (3, None)),
    ],
)
def test_shares_of_the_machine(
    model, monkeypatch, suffix, workers, threads, device, cores, megabytes, expected
):
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    monkeypatch.setattr(module, "_free_memory", lambda: megabytes << 20)
    artifact = dataclasses.replace(open_artifact(model), path=model.with_suffix(suffix))
    assert module._shares(workers, threads, device, artifact) == expected


KILLED = """
import os, signal, sys, threading
from r2p_edge.archive.run import predict_archive

model, folder, out, done, seconds = sys.argv[1:]

def end(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if float(seconds):
    threading.Timer(float(seconds), end).start()
predict_archive(
    model, [folder], out, workers=2, views=2, resume=True,
    progress=lambda now, total: now == int(done) and end(),
)
"""


def killed_and_resumed(tmp_path, model, folder, ends):
    """Return the results' bytes of an undisturbed run, and of one that was killed at these ends.

    Args:
        ends: for each kill, the number of videos that are done then, or -1, and seconds, or 0.
    """
    disturbed, undisturbed = tmp_path / "disturbed.csv", tmp_path / "undisturbed.csv"
    for done, seconds in ends:
        command = [sys.executable, "-c", KILLED, model, folder, disturbed, str(done), str(seconds)]
        subprocess.run(command, check=False)
    predict_archive(model, [folder], disturbed, workers=2, views=2, resume=True)
    predict_archive(model, [folder], undisturbed, workers=2, views=2)
    return disturbed.read_bytes(), undisturbed.read_bytes()


@pytest.mark.slow
def test_a_run_that_is_killed_is_gone_on_with(clips, model, tmp_path):
    disturbed, undisturbed = killed_and_resumed(tmp_path, model, clips, [(2, 0)])
    assert disturbed == undisturbed
    rows = read(tmp_path / "disturbed.csv")
    assert len(rows) == 2 * 4 + 1
    assert len({(row["video"], row["window"]) for row in rows}) == len(rows)


@pytest.mark.long
def test_ten_kills_at_random_moments(motion_model, tmp_path):
    (folder := tmp_path / "clips").mkdir()
    for number in range(60):
        motion.write_video(motion.scene("test", number), folder / f"{number}.mp4")
    moments = random.Random(0)
    ends = [(-1, moments.uniform(0.5, 5)) for _ in range(10)]
    disturbed, undisturbed = killed_and_resumed(tmp_path, motion_model, folder, ends)
    assert disturbed == undisturbed
    rows = read(tmp_path / "disturbed.csv")
    assert sorted((row["video"], row["window"]) for row in rows) == sorted(
        (str(folder / f"{number}.mp4"), window) for number in range(60) for window in "01"
    )
    assert not any(row["error"] for row in rows)
