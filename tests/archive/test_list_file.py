"""Lists of videos as text, CSV and Parquet."""

import pytest
from requirements import needs

from r2p_edge.archive.list_file import read_list
from r2p_edge.archive.listed import Listed
from r2p_edge.errors import UsageError, VideoError

A_PART = [Listed("a b.mp4"), Listed("ü=,;.avi", 1.5, 4.0), Listed("c.mp4", None, 3.0)]


def read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_list(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", "# my clips\na b.mp4\n\nü=,;.avi\t1.5\t4\r\nc.mp4\t\t3\n"),
        ("list.csv", 'path,start,end\na b.mp4,,\n"ü=,;.avi",1.5,4\nc.mp4,,3\n'),
        ("LIST.CSV", '\ufeffEND;label;Path;Start\n;x;a b.mp4;\n4;y;"ü=,;.avi";1.5\n3;;c.mp4;\n'),
        ("bare.csv", 'a b.mp4,,\n"ü=,;.avi",1.5,4.0\nc.mp4,,3\n'),
        ("times.csv", 'start_time,video,end_time\n,a b.mp4,\n1.5,"ü=,;.avi",4\n,c.mp4,3\n'),
    ],
)
def test_forms(tmp_path, name, content):
    assert read(tmp_path, name, content) == A_PART


def test_any_name_of_a_file_can_be_listed(tmp_path):
    assert read(tmp_path, "a.txt", b" spaces \n#1.mp4\n\xff.mp4\n") == [
        *(Listed(" spaces "), Listed("#1.mp4"), Listed("\udcff.mp4"))
    ]
    assert read(tmp_path, "a.csv", 'video\n"new\nline ""x"".mp4"\n') == [
        Listed('new\nline "x".mp4')
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "x", "ends in .tsv; give a .txt, .csv or .parquet file"),
        ("a", "x", "ends in no suffix"),
        ("a.txt", "\n# only a comment\n", "names no video"),
        ("a.txt", "a.mp4\t1\n b.mp4\tx\n", "line 2 of .* has 'x' where the start"),
        ("a.txt", "a.mp4\t-1\n", "has '-1' where"),
        ("a.txt", "a.mp4\tnan\n", "has 'nan' where"),
        ("a.txt", "a.mp4\t\tinf\n", "has 'inf' where"),
        ("a.txt", "a.mp4\t3\t3\n", "a part from 3 to 3 s; the end must come after"),
        ("a.txt", "a.mp4\t1\t2\tfall\n", "expected the path of a video"),
        ("a.csv", "path,start\nx.mp4,1\n,2\n", "line 3 of .* expected the path of a video"),
        ("a.csv", "path\n" + "x" * 200_000, "line 2 of .* is not CSV"),
        ("a.csv", "", "names no video"),
    ],
)
def test_refusals(tmp_path, name, content, message):
    with pytest.raises((UsageError, VideoError), match=message) as caught:
        read(tmp_path, name, content)
    assert len(str(caught.value)) < 600


def test_lists_that_cannot_be_read(tmp_path):
    for name in ("absent.txt", "absent.csv"):
        with pytest.raises(VideoError, match="cannot be read"):
            read_list(tmp_path / name)


@needs("pyarrow")
def test_parquet(tmp_path):
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "list.parquet"
    columns = {"Path": ["a b.mp4", "ü=,;.avi", "c.mp4"], "n": [1, 2, 3]}
    parquet.write_table(
        pyarrow.table({**columns, "start": [None, 1.5, None], "end": [None, 4, 3]}), path
    )
    assert read_list(path) == A_PART
    parquet.write_table(pyarrow.table(columns), path)
    assert read_list(path) == [Listed(name) for name in columns["Path"]]
    parquet.write_table(pyarrow.table({"label": ["x"]}), path)
    with pytest.raises(VideoError, match="has the columns label; expected one named video or"):
        read_list(path)
    parquet.write_table(pyarrow.table({"path": [1, 2]}), path)
    with pytest.raises(VideoError, match=r"row 1 of .* expected the path"):
        read_list(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(VideoError, match="cannot be read as Parquet"):
        read_list(path)
