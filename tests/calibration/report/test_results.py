"""Files of results that are read again, damaged ones among them."""

from __future__ import annotations

import csv

import pytest
from answers_of_models import answered, of_pairs, write_rows
from requirements import needs

from r2p_edge.archive.results import write_results
from r2p_edge.calibration.examined import evaluation_columns
from r2p_edge.calibration.report.results import read_results
from r2p_edge.errors import SpecError, UsageError, VideoError


@pytest.mark.parametrize(
    "suffix", [".csv", ".jsonl", pytest.param(".parquet", marks=needs("pyarrow"))]
)
def test_rows_are_what_was_written(tmp_path, suffix):
    rows = of_pairs([("a,b", 'c"d'), ("e\nf", "\u00e9 =1+1")], truncated=True, duration=1.25)
    columns = evaluation_columns(2)
    write_results(tmp_path / f"r{suffix}", columns, rows)
    wanted = [{name: row.get(name) for name in columns} for row in rows]
    assert read_results(tmp_path / f"r{suffix}") == wanted


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"", "have no rows"),
        ("r.csv", b"video,label\na.mp4,run\n", "no column score"),
        ("r.csv", b"video,label,score,model,error\na,b\n", "row 1 of .* has more or fewer cells"),
        (
            "r.csv",
            b"video,label,score,model,error\na,b,x,m,\n",
            "'x' in column score, which is a n",
        ),
        ("r.csv", b"video,label,score,model,error\na,b,nan,m,\n", "nan in column score, which is"),
        ("r.csv", b"video,label,score,model,error\na,,0.5,m,\n", "nothing in column label"),
        # Before 3.11, Python reads no NUL.
        ("r.csv", b"\xff\xfe\x00\n\x00", "no column video|is not CSV .*NUL"),
        ("r.jsonl", b"[1]\n", "row 1 of .* has no JSON object"),
        ("r.jsonl", b'{"video": 5, "label": "a"', "no JSON object"),
        ("r.jsonl", b'{"video":5,"label":"a","score":1,"model":"m","error":null}', "5 in column v"),
        ("r.parquet", b"PAR1", "cannot be read as Parquet"),
        (
            "r.csv",
            b"video,label,score,model,error,views\na,b,1,m,,0\n",
            "'?0'? in column views, whi",
        ),
    ],
)
def test_a_damaged_file(tmp_path, name, content, message):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=message):
        read_results(tmp_path / name)


def test_a_long_error_is_read_and_other_readers_keep_their_bound(tmp_path):
    bound = csv.field_size_limit()
    (row,) = of_pairs([("walk", "run")])
    rows = [{**row, "label": "a" * 200_000}]
    write_results(tmp_path / "r.csv", evaluation_columns(1), rows)
    assert read_results(tmp_path / "r.csv")[0]["label"] == rows[0]["label"]
    assert csv.field_size_limit() == bound


def test_what_are_no_results(tmp_path):
    with pytest.raises(UsageError, match="ends in no suffix; results are"):
        read_results(tmp_path / "results")
    values = write_rows(tmp_path / "r.csv", [answered("a.mp4", "speed", 3.5, kind="values")])
    with pytest.raises(SpecError, match="gives values and no classes"):
        read_results(values)
