"""Archives on Ray: the rows of `predict --out`, on one machine and on two, and after a kill.

Ray runs in processes of its own: the example, whose lines are those of the page on archives under
"Many machines: Ray Data", starts it, or connects with a cluster of two nodes.
"""

import shutil
import signal
import subprocess
import sys
import threading

import pytest
from paths import EXAMPLES
from requirements import needs

from r2p_edge._optional import import_library
from r2p_edge.archive.listed import Listed
from r2p_edge.archive.run import predict_archive
from r2p_edge.errors import MissingDependencyError
from r2p_edge.integrations import ray as module
from r2p_edge.integrations.ray import classify, drop_repeated, remaining

real = [pytest.mark.long, pytest.mark.slow, needs("ray"), needs("pyarrow")]

CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def environment(monkeypatch):
    """The environment of Ray's processes: nothing is reported, and a busy machine is waited for."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")
    monkeypatch.setenv("RAY_agent_register_timeout_ms", "300000")
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "300")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def cluster(environment, monkeypatch):
    """Two nodes of one CPU each, which the example connects with."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        lines = iter(process.stdout.readline, "")
        monkeypatch.setenv("RAY_ADDRESS", next(each.strip() for each in lines if ":" in each))
        yield
        process.stdin.close()


@pytest.fixture
def archive(clips, tmp_path):
    """A list of 60 videos, one of them damaged, with a part of each second one."""
    import pyarrow
    from pyarrow import parquet

    videos = sorted(path for path in clips.rglob("*.mp4") if "damaged" not in path.name)
    paths = []
    for number in range(60):
        paths.append(tmp_path / f"{number} ü=.mp4")
        shutil.copy(videos[number % len(videos)], paths[-1])
    paths[7].write_bytes(b"no video")
    starts = [0.04 if number % 2 else None for number in range(60)]
    table = {"path": [str(path) for path in paths], "start": starts, "id": list(range(60))}
    parquet.write_table(pyarrow.table(table), tmp_path / "list.parquet")
    return tmp_path / "list.parquet"


def start(model, archive, out):
    command = [sys.executable, EXAMPLES / "ray_archive.py", model, archive, out, "--views", "2"]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


def check(model, archive, out, tmp_path):
    """Run the example, kill it when the first rows are written, and run it again, twice."""
    from pyarrow import parquet

    pause = threading.Event()
    with start(model, archive, out) as first:
        while not list(out.glob("*.parquet")) and first.poll() is None:
            pause.wait(0.05)
        first.send_signal(signal.SIGKILL)
    with start(model, archive, out) as second:
        assert int(second.stdout.readline().split()[0]) < 60
    assert second.returncode == 0
    predict_archive(model, [], tmp_path / "one.parquet", list_file=archive, views=2, workers=1)
    expected = parquet.read_table(tmp_path / "one.parquet").to_pylist()
    found = parquet.read_table(out).to_pylist()
    assert sorted(found, key=key) == sorted(expected, key=key)
    assert len(found) == 59 * 2 + 1
    with start(model, archive, out) as third:
        assert third.stdout.readline() == "0 videos to answer\n"
    assert third.returncode == 0


def key(row):
    return row["video"], row["window"] or 0


class TestReal:
    pytestmark = real

    def test_two_cpus(self, environment, model, archive, tmp_path):
        check(model, archive, tmp_path / "out", tmp_path)

    def test_two_nodes(self, cluster, model, archive, tmp_path):
        check(model, archive, tmp_path / "out", tmp_path)


@needs("pyarrow")
def test_what_is_written_is_left_out(tmp_path, caplog):
    import pyarrow
    from pyarrow import parquet

    out = tmp_path / "out"
    (tmp_path / "list.csv").write_text(
        "path,start\na.mp4,\na.mp4,1.5\na.mp4,1.5\nhttp://me:secret@host/b.mp4,\nc.mp4,\n"
    )
    every = [Listed("a.mp4"), Listed("a.mp4", 1.5), Listed("http://me:secret@host/b.mp4")]
    every.append(Listed("c.mp4"))
    assert remaining(tmp_path / "list.csv", out) == every
    out.mkdir()
    done = {"video": ["a.mp4", "http://***@host/b.mp4"], "end": [None, None], "n": [1, 2]}
    parquet.write_table(pyarrow.table({**done, "start": [1.5, None]}), out / "1.parquet")
    (out / "2.parquet").write_bytes((out / "1.parquet").read_bytes()[:-7])
    assert remaining(tmp_path / "list.csv", out) == [every[0], every[3]]
    assert "2.parquet is not whole" in caplog.text
    assert [file.name for file in out.iterdir()] == ["1.parquet"]


@needs("pyarrow")
def test_rows_that_a_killed_job_wrote_beside_the_next_one_stand_once(tmp_path):
    import pyarrow
    from pyarrow import parquet

    def write(number, *rows):
        names = ["video", "start", "end", "window", "label"]
        columns = dict(zip(names, map(list, zip(*rows))))
        parquet.write_table(pyarrow.table(columns), tmp_path / f"{number}.parquet")

    one, other = ("a.mp4", 0.0, 1.0, 0, "nod"), ("a.mp4", 0.0, 1.0, 1, "nod")
    write(1, one, other, ("b.mp4", 0.0, 1.0, 0, "grow"))
    write(2, one, other)
    write(3, ("c.mp4", 0.0, 1.0, 0, "nod"), one, ("a.mp4", 2.0, 3.0, 0, "nod"))
    (tmp_path / "4.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:-7])
    untouched = (tmp_path / "1.parquet").read_bytes()
    assert drop_repeated(tmp_path) == 3
    assert (tmp_path / "1.parquet").read_bytes() == untouched
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.parquet", "3.parquet"]
    left = parquet.read_table(tmp_path / "3.parquet").to_pylist()
    assert [(row["video"], row["start"]) for row in left] == [("c.mp4", 0.0), ("a.mp4", 2.0)]
    assert drop_repeated(tmp_path) == drop_repeated(tmp_path / "none") == 0


def test_without_ray(model, monkeypatch):
    monkeypatch.setattr(
        module, "import_library", lambda name, advice: import_library("no_such_ray", advice)
    )
    with pytest.raises(MissingDependencyError, match=r'not installed; pip install "ray\[data\]"'):
        classify(None, model)
