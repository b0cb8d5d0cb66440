"""`r2p-edge eval --out`: a row for each video, and runs that are stopped and gone on with."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from exit_codes import DATA, USAGE
from models import brightness_model, spec_of_brightness
from requirements import needs
from videos import written

from r2p_edge import Predictor
from r2p_edge.calibration.evaluate import evaluate


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "model.onnx", factor=0.01)


@pytest.fixture
def videos(tmp_path):
    """Six videos of grey that becomes brighter: the last of four frames is the brightest."""
    for number in range(6):
        path = tmp_path / "set" / f"frame_{3 if number < 4 else 2}" / f"v {number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        written(path, np.arange(20 + number) / 25)
    return tmp_path / "set"


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def without_times(path):
    return [
        {name: cell for name, cell in row.items() if not name.endswith("_ms")}
        for row in rows_of(path)
    ]


class _StoppedError(Exception):
    """The end of a run after some videos, as if it were killed."""


def stop_after(count):
    def progress(done, total):
        if done == count:
            raise _StoppedError

    return progress


def test_a_row_for_each_video_and_model(run, videos, model, tmp_path):
    reverse = spec_of_brightness().labels[::-1]
    other = brightness_model(tmp_path / "other.onnx", spec_of_brightness().replace(labels=reverse))
    out = tmp_path / "rows.csv"
    code, output, _ = run("eval", model, other, "--videos", videos, "--out", out)
    assert code == 0
    assert output.endswith(f"\nanswers: {out}\n")
    rows = rows_of(out)
    assert [row["file"] for row in rows] == [str(model), str(other)] * 6
    first, second = rows[-2:]
    path = videos / "frame_3" / "v 3.mp4"
    assert first["video"] == second["video"] == str(path)
    assert (first["truth"], first["label"], first["rank"]) == ("frame 3", "frame 3", "1")
    assert (second["truth"], second["label"], second["rank"]) == ("frame 3", "frame 0", "4")
    with Predictor(model) as predictor:
        answer = predictor.predict(path)
    assert float(first["score"]) == pytest.approx(answer.top(1)[0][1], rel=1e-6)
    assert [first["label_4"], float(first["score_4"])] == pytest.approx(list(answer.top(4)[3]))
    span = [float(first["span_start"]), float(first["span_end"])]
    assert span == pytest.approx(answer.span, abs=1e-6)
    assert first["size"] == str(path.stat().st_size)
    assert 0 < float(first["inference_ms"]) <= float(first["total_ms"])


def test_a_run_that_is_stopped_is_gone_on_with(videos, model, tmp_path, monkeypatch):
    (videos / "frame_3" / "v_9.avi").write_text("no video")
    whole = evaluate([model, model], videos, views=2, out=tmp_path / "whole.csv")
    out = tmp_path / "parts.csv"
    for count in (2, 5):
        options = {"views": 2, "out": out, "resume": count > 2, "progress": stop_after(count)}
        with pytest.raises(_StoppedError):
            evaluate([model, model], videos, **options)
        assert not out.exists()
    with out.with_name("parts.csv.journal").open("ab") as file:
        file.write(b'[6,[{"video"')  # cut off by kill -9
    seen = []
    done = evaluate(
        [model, model], videos, views=2, out=out, resume=True, progress=lambda *n: seen.append(n)
    )
    assert seen == [(5, 7), (6, 7), (7, 7)]
    assert without_times(out) == without_times(tmp_path / "whole.csv")
    for report in (whole, done):
        for result in report["results"]:
            del result["latency_ms"]
    assert done == whole
    assert [failure["video"] for failure in done["failed"]] == ["frame_3/v_9.avi"]


def test_another_run_is_refused_and_says_what_differs(fails, videos, model, tmp_path):
    out = tmp_path / "rows.jsonl"
    other = brightness_model(tmp_path / "other.onnx", factor=0.5)
    evaluate([model], videos, out=out)
    given = ("--videos", videos, "--out", out)
    fails(USAGE, "exists; choose another file, or go on with an earlier", "eval", model, *given)
    given = (*given, "--resume")
    fails(USAGE, "of a run with another model, ", "eval", other, *given)
    fails(
        USAGE, "of a run with another number of models, 1, and not 2", "eval", model, other, *given
    )
    fails(USAGE, "of a run with another views, 1, and not 3", "eval", model, *given, "--views", 3)
    shutil.rmtree(videos / "frame_2")
    fails(USAGE, "of a run with another list, 6 videos, sha256 ", "eval", model, *given)
    pair = tmp_path / "pair.csv"
    evaluate([model, model], tmp_path / "set", out=pair)
    given = ("--videos", videos, "--out", pair, "--resume")
    fails(USAGE, "of a run with another model 2, ", "eval", model, other, *given)
    fails(USAGE, "give out (--out) too", "eval", model, "--videos", videos, "--resume")
    fails(USAGE, "ends in .txt", "eval", model, "--videos", videos, "--out", tmp_path / "a.txt")
    absent = tmp_path / "absent" / "a.csv"
    fails(DATA, "there is no folder", "eval", model, "--videos", videos, "--out", absent)


def test_what_was_unreadable_or_has_changed_is_answered_again(videos, model, tmp_path):
    out, damaged = tmp_path / "rows.csv", videos / "frame_3" / "v 0.mp4"
    content = damaged.read_bytes()
    damaged.write_bytes(b"no video")
    assert len(evaluate([model], videos, out=out)["failed"]) == 1
    damaged.write_bytes(content)
    written(videos / "frame_3" / "v 1.mp4", np.arange(40) / 25)
    seen = []
    options = {"out": out, "resume": True}
    report = evaluate([model], videos, progress=lambda *n: seen.append(n), **options)
    assert (seen, report["failed"]) == ([(4, 6), (5, 6), (6, 6)], [])
    before = out.read_bytes()
    evaluate([model], videos, progress=lambda *n: seen.append(n), **options)
    assert seen[3:] == [(6, 6)]  # nothing is left to do
    assert out.read_bytes() == before


@needs("pyarrow")
def test_parquet_and_json_lines_have_the_same_columns(videos, model, tmp_path):
    from pyarrow import parquet

    outs = [tmp_path / f"rows{suffix}" for suffix in (".jsonl", ".parquet")]
    for out in outs:
        evaluate([model], videos, out=out)
    lines = [json.loads(line) for line in outs[0].read_text().splitlines()]
    table = parquet.read_table(outs[1]).to_pylist()
    assert [list(row) for row in lines] == [list(row) for row in table]
    assert [row["rank"] for row in lines] == [row["rank"] for row in table] == [2, 2, 1, 1, 1, 1]
