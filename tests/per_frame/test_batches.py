"""Features of several cameras in one call: their arrays are made once."""

import threading
import tracemalloc

import numpy as np
import pytest
from per_frame_models import tiny_spec, write_per_frame_model

from r2p_edge.per_frame.batches import TailBatches
from r2p_edge.runtimes import runtime_type
from r2p_edge.runtimes.base import Options

POSITIONS = [f"feature.p{i}" for i in range(4)]


@pytest.fixture(params=["onnxruntime", "openvino"])
def tail(request, tmp_path):
    write_per_frame_model(tmp_path, size=64)
    opened = runtime_type(request.param)
    path = tmp_path / "tiny-fp32-tail.onnx"
    return opened.open_part(path, tiny_spec(64), Options(threads=1), clips=None)


def features(seed):
    numbers = np.random.default_rng(seed)
    values = numbers.integers(0, numbers.integers(50, 1000, (4, 1, 2, 1, 1)), (4, 1, 2, 64, 64))
    return dict(zip(POSITIONS, values.astype(np.float32)))


def outputs(batches, seen):
    with batches.outputs(seen) as found:
        return found.copy()


def test_each_camera_has_its_answer_in_any_number(tail):
    batches = TailBatches(tail)
    alone = [outputs(batches, [features(seed)])[0] for seed in range(5)]
    assert len({each.tobytes() for each in alone}) == 5
    for order in ([0, 1, 2], [4, 3], [0, 1, 2, 3, 4], [2], [1, 1, 0]):
        found = outputs(batches, [features(seed) for seed in order])
        np.testing.assert_array_equal(found, [alone[seed] for seed in order])


def test_threads_have_arrays_of_their_own(tail):
    batches, wrong = TailBatches(tail), []
    wanted = outputs(batches, [features(0), features(1)])

    def ask(order):
        for _ in range(20):
            found = outputs(batches, [features(seed) for seed in order])
            if not np.array_equal(found, wanted[order]):
                wrong.append(found)

    threads = [threading.Thread(target=ask, args=(order,)) for order in ([0, 1], [1, 0])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_array_is_nobody_elses_as_long_as_it_is_read(tail):
    batches = TailBatches(tail)
    with batches.outputs([features(0)]) as first:
        wanted = first.copy()
        assert (outputs(batches, [features(1)]) != wanted).any()
        np.testing.assert_array_equal(first, wanted)
    with pytest.raises(ZeroDivisionError), batches.outputs([features(2)]):
        _ = 1 / 0
    assert len(batches._idle) == 2


def test_no_array_is_made_twice(tail):
    batches, seen = TailBatches(tail), [features(seed) for seed in range(3)]
    outputs(batches, seen)
    tracemalloc.start()
    try:
        for count in (3, 2, 1, 3, 2):
            outputs(batches, seen[:count])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 15  # a camera's features of one position are as many bytes
