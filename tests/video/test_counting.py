"""Frames counted by decoding a whole file."""

import numpy as np
import pytest
from videos import file_levels, read_by_index, written

from r2p_edge.video import container, counting


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_long_avi_is_counted(tmp_path, b_frames):
    path = written(tmp_path / "long.avi", np.arange(70 * 25) / 25, b_frames=b_frames, rate=25)
    wanted = [0, 1, 500, 501, 1200, 1748, 1749]
    shown = file_levels(path, wanted)
    assert np.abs(np.array(shown) - np.array(wanted) % 200).max() <= 1


@pytest.mark.parametrize("count", ["packets", "frames"])
@pytest.mark.parametrize(
    "name", ["ucf101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "kinetics/carving_ice_rpi.mp4"]
)
def test_frames_do_not_depend_on_the_cache(data, monkeypatch, name, count):
    path = data / name
    cached = read_by_index(path, [3, 80, 163], count=count)
    for module in (container, counting):
        monkeypatch.setattr(module, "CACHE_BYTES", 0)
    again = read_by_index(path, [3, 80, 163], count=count)
    assert cached[0] == again[0]
    np.testing.assert_array_equal(cached[1], again[1])


def test_exact_counts_by_decoding(data):
    path = data / "kinetics/carving_ice_rpi.mp4"
    assert len(read_by_index(path, range(131), count="frames")[1]) == 131
