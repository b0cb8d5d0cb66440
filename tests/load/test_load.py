"""Threads, processes and long work give the same answers and leave nothing behind.

The long runs, and rates, are those of `tests/load/run.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from day import TICKS
from growth import growth, use
from models import brightness_model, grey_frames
from networks import SMALL, small_network, spec_for
from requirements import require
from together import THREADS, alone, clips_for, together
from videos import written

from r2p_edge import Predictor

HERE = Path(__file__).parent
RUNTIMES = ("onnxruntime", "openvino")
VIDEO = grey_frames([10, 60, 110, 160])


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    """The name of a runtime."""
    require(request.param)
    return request.param


@pytest.fixture
def model(tmp_path):
    """A model of brightness."""
    return brightness_model(tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_many_threads_answer_as_one_does(tmp_path, runtime, shared):
    import onnx

    from r2p_edge.export.graph.builder import embed_spec

    spec = spec_for(SMALL["classes"])
    network = small_network(spec)
    embed_spec(network, spec)
    model = tmp_path / "net.onnx"
    onnx.save(network, model)
    clips = clips_for(model, 2 * THREADS)
    for one, other in zip(
        alone(model, runtime, clips).scores, together(model, runtime, clips, shared=shared).scores
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_64_streams_over_one_model_answer_as_one_does(model, tmp_path, runtime):
    files = {
        f"camera {number}": written(tmp_path / f"{number}.mp4", np.arange(12 + number % 5) / 25)
        for number in range(64)
    }
    before = use()
    with Predictor(model, runtime=runtime) as predictor:
        wanted = {}
        for name, file in files.items():
            with predictor.stream(file) as answers:
                wanted[name] = [(a.span, a.scores.tobytes()) for a in answers]
        found = {name: [] for name in files}
        with predictor.stream_many(files) as answers:
            for answer in answers:
                found[answer.live.source].append((answer.span, answer.scores.tobytes()))
    assert all(wanted.values())
    assert found == wanted
    assert use().descriptors == before.descriptors


@pytest.mark.slow
def test_a_day_of_stream_does_not_grow():
    """Measured in a process of its own, in which nothing else takes or gives back memory."""
    count, megabytes, files, threads, files_after, threads_after = in_a_process(
        "from day import day\n"
        "count, found = day(50_000)\n"
        "print(json.dumps([count, found.megabytes, *found.before[:2], *found.after[:2]]))\n"
    )
    assert count > 24_900
    assert megabytes * TICKS / 2 < 5
    assert files_after == files
    assert threads_after < threads  # the reader has ended


def in_a_process(program):
    """Return what a program prints, from JSON."""
    path = os.pathsep.join(map(str, (HERE, HERE.parent / "helpers")))
    done = subprocess.run(
        [sys.executable, "-c", f"import json\n{program}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((path, os.environ.get("PYTHONPATH", "")))},
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.long
def test_a_watched_day_of_three_cameras_and_200_cuts_does_not_grow():
    """As many cuts and events as in a day; each is counted, and ends an event once."""
    answers, gaps, events, pictures, megabytes, files, files_after = in_a_process(
        "from watched_day import watched_day\n"
        "day = watched_day(50_000)\n"
        "events = [[*key, count] for key, count in day.events.items()]\n"
        "print(json.dumps([day.answers, day.gaps, events, day.pictures, day.growth.megabytes,\n"
        "    day.growth.before[0], day.growth.after[0]]))\n"
    )
    assert answers > 72_000
    assert gaps == {"door": 200, "yard": 200, "gate": 200}
    wanted = []
    for name in gaps:
        wanted += [[name, "begin", None, 201], [name, "end", "ended", 1], [name, "end", "gap", 200]]
    assert sorted(events, key=str) == sorted(wanted, key=str)
    assert pictures == 3 * 201
    assert megabytes * answers < 5
    assert files_after <= files


@pytest.mark.slow
def test_opening_and_closing_gives_all_back(model, runtime):
    def step():
        with Predictor(model, runtime=runtime) as predictor:
            predictor.predict(VIDEO)

    found = growth(step, 200)
    assert found.after.descriptors == found.before.descriptors
    assert found.after.threads == found.before.threads
    assert found.megabytes * 10_000 < 50


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_opens_a_model_of_its_own(model, runtime, method):
    code = (
        "import multiprocessing\n"
        "from load_process import answered\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    with context.Pool(2) as pool:\n"
        f"        found = pool.starmap(answered, [({str(model)!r}, {runtime!r})] * 4)\n"
        "    assert all((one == found[0]).all() for one in found)\n"
    )
    file = model.with_name("program.py")
    file.write_text(code)
    model.with_name("load_process.py").write_text(
        "import numpy as np\n"
        "from r2p_edge import Predictor\n"
        "def answered(model, runtime):\n"
        "    with Predictor(model, runtime=runtime) as predictor:\n"
        "        return predictor.predict(np.zeros((4, 8, 8, 3), np.uint8)).scores\n"
    )
    subprocess.run([sys.executable, file], check=True, timeout=120)


@pytest.mark.slow
def test_the_first_import_may_be_in_threads(model, runtime):
    code = (
        "import threading, numpy as np\n"
        "found = []\n"
        "def answer():\n"
        "    from r2p_edge import Predictor\n"
        f"    with Predictor({str(model)!r}, runtime={runtime!r}) as predictor:\n"
        "        found.append(predictor.predict(np.zeros((4, 8, 8, 3), np.uint8)).scores)\n"
        "threads = [threading.Thread(target=answer) for _ in range(8)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "assert len(found) == 8 and all((one == found[0]).all() for one in found)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
