"""Tables of answers in each format, read back by other programs."""

import csv
import json

import pytest
from requirements import needs

from r2p_edge.archive.results import check_results_file, write_results
from r2p_edge.archive.rows import columns_of
from r2p_edge.errors import OutputError, UsageError

COLUMNS = columns_of(2, 1)
ROWS = [
    {"video": 'a "b",\n=ü.mp4', "size": 3, "score": 0.1, "truncated": False, "window": 0},
    {"video": "c", "error": "broken; try again"},
    {"video": "\udcff.mp4", "truncated": True, "score": 1e-300, "start": 1.5},
]


def test_columns():
    assert list(COLUMNS) == [
        *("video", "start", "end", "size", "duration", "window", "span_start", "span_end"),
        *("label", "score", "label_2", "score_2", "coverage", "truncated", "kind"),
        *("model", "runtime", "device", "precision", "error"),
    ]
    more = columns_of(1, 3)
    assert more.keys() - COLUMNS.keys() == {"video_label", "video_score"}
    assert more.keys() >= COLUMNS.keys() - {"label_2", "score_2"}


def test_csv(tmp_path):
    write_results(tmp_path / "r.csv", COLUMNS, ROWS)
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        one, two, three = csv.DictReader(file)
    assert list(one) == list(COLUMNS)
    assert (one["video"], one["size"], one["score"]) == (ROWS[0]["video"], "3", "0.1")
    assert (one["truncated"], one["error"], one["window"]) == ("false", "", "0")
    assert (two["error"], two["score"], two["truncated"]) == ("broken; try again", "", "")
    assert (three["video"], three["start"]) == ("\\xff.mp4", "1.5")
    assert float(three["score"]) == 1e-300


def test_lines(tmp_path):
    write_results(tmp_path / "r.jsonl", COLUMNS, ROWS)
    text = (tmp_path / "r.jsonl").read_text(encoding="utf-8")
    read = [json.loads(line) for line in text.splitlines()]
    assert read == [{name: row.get(name) for name in COLUMNS} for row in ROWS]
    assert "ü" in text


@needs("pyarrow")
def test_parquet(tmp_path, monkeypatch):
    from pyarrow import parquet

    monkeypatch.setattr("r2p_edge.archive.results._GROUP", 2)
    write_results(tmp_path / "r.parquet", COLUMNS, iter(ROWS))
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.column_names == list(COLUMNS)
    expected = [{name: row.get(name) for name in COLUMNS} for row in ROWS]
    expected[2]["video"] = "\\xff.mp4"
    assert table.to_pylist() == expected
    write_results(tmp_path / "none.parquet", COLUMNS, [])
    assert parquet.read_table(tmp_path / "none.parquet").schema == table.schema


def test_a_format_that_is_not_there(tmp_path):
    for name in ("r.txt", "r", "r.csv.gz"):
        with pytest.raises(UsageError, match=r"results are written to \.csv, \.jsonl, \.parquet"):
            check_results_file(tmp_path / name)


def test_all_or_nothing(tmp_path):
    def rows():
        yield ROWS[0]
        raise OSError(5, "Input/output error")

    path = tmp_path / "r.csv"
    path.write_text("before")
    with pytest.raises(OutputError, match=r"r\.csv cannot be written: Input/output error"):
        write_results(path, COLUMNS, rows())
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["r.csv"]
