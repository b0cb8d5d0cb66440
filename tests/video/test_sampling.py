"""Frames that make a clip, compared with the published recipes written out by hand."""

import contextlib

import numpy as np
import pytest

from r2p_edge.spec import ClipSpec
from r2p_edge.video.sampling import nearest, plan_clips
from r2p_edge.video.source import open_source

BY_TIME = ClipSpec(frames=16, interval=2, fps=25.0)
BY_INDEX = ClipSpec(frames=16, interval=2, fps=25.0, sampling="index")
SEED = ClipSpec(
    frames=16, interval=2, fps=25.0, sampling="index", order="lexicographic", offsets="linspace"
)


def frames(spec, times, clips=1):
    return [nearest(times, plan.times).tolist() for plan in plan_clips(spec, times, clips)]


@pytest.mark.parametrize("count", [1, 2, 15, 16, 30, 31, 32, 33, 164, 1000])
@pytest.mark.parametrize("base", [1 / 25, 1 / 600, 1 / 1000, 1 / 12800, 1 / 15360, 1 / 90000])
def test_time_equals_counting_at_the_training_rate(count, base):
    ideal = np.arange(count) / 25
    stamped = np.round(ideal / base) * base  # as a container of this time base stores them
    assert frames(BY_TIME, stamped, 5) == frames(BY_INDEX, ideal, 5)


def test_centre_clip():
    (clip,) = frames(BY_INDEX, np.arange(164) / 25)
    start = (164 - 31) // 2
    assert clip == list(range(start, start + 31, 2))


def test_uniform_clips_follow_vmz():
    for count, wanted in ((164, 10), (121, 11), (400, 30)):  # 121, 11: 7 / 10 * 90 is 62.99...
        clips = frames(BY_INDEX, np.arange(count) / 25, wanted)
        starts = [i * (count - 31) // (wanted - 1) for i in range(wanted)]
        assert [clip[0] for clip in clips] == starts
        assert clips[-1][-1] == count - 1


@pytest.mark.parametrize("rate", [12.5, 15, 24, 29.97, 30, 50, 59.94, 60, 120])
def test_any_rate_shows_the_same_moments(rate):
    times = np.arange(round(6 * rate)) / rate
    (plan,) = plan_clips(BY_TIME, times, 1)
    picked = times[nearest(times, plan.times)]
    assert np.abs(picked - plan.times).max() <= 0.5 / rate + 1e-9
    assert np.allclose(np.diff(plan.times), 0.08)
    assert plan.coverage == 1


def test_short_video_repeats_its_last_frame():
    (plan,) = plan_clips(BY_TIME, np.arange(11) / 25, 1)
    assert nearest(np.arange(11) / 25, plan.times).tolist() == [0, 2, 4, 6, 8] + [10] * 11
    assert plan.coverage == 6 / 16
    (single,) = plan_clips(BY_TIME, np.zeros(1), 1)
    assert single.coverage == 1 / 16


def test_frames_around_a_hole_count_once():
    """Two seconds, a hole of three, two seconds: the middle is two pictures that stand still."""
    times = np.concatenate([np.arange(60) / 30, 5 + np.arange(60) / 30])
    (plan,) = plan_clips(BY_TIME, times, 1)
    assert len(set(nearest(times, plan.times).tolist())) == 2
    assert plan.coverage == 2 / 16
    # The first clip ends 0.4 s into the hole: of five moments there one is the last frame's own.
    (plan, _, _) = plan_clips(BY_TIME, np.delete(np.arange(150) / 25, range(21, 60)), 3)
    assert plan.coverage == 11 / 16
    short = np.delete(np.arange(150) / 25, range(60, 75))  # no longer than half a clip
    assert plan_clips(BY_TIME, short, 1)[0].coverage == 1


def test_lost_frames_are_not_real():
    times = np.arange(150) / 25
    clip = frames(BY_TIME, times)[0]
    for count, gone in ((1, clip[:1]), (3, range(clip[4], clip[7])), (16, range(50, 100))):
        kept = np.delete(times, list(gone))
        (plan,) = plan_clips(BY_TIME, kept, 1, times[list(gone)])
        missing = len(set(gone) & set(clip))
        assert plan.coverage == (16 - missing) / 16, count
    # A video whose end is lost is as long as it was.
    *_, end = plan_clips(BY_TIME, times[:140], 3, times[140:])
    assert end.times[-1] == times[149]
    assert end.coverage == 11 / 16


# Computed once by running the sampling lines of mindspore-ai/models
# research/cv/r2plus1d/src/dataset.py by hand: linspace(start, end, 16) clipped to end - 1.
SEED_OFFSETS = [0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31]


def test_seed_offsets_and_order():
    count = 164
    names = sorted(f"0000{i}.jpg" for i in range(count))
    order = [int(name[4:-4]) for name in names]
    (clip,) = frames(SEED, np.arange(count) / 25)
    start = (count - 32) // 2
    assert clip == [order[start + offset] for offset in SEED_OFFSETS]
    assert order[:5] == [0, 1, 10, 100, 101]


@pytest.mark.parametrize("count", [1, 2, 3, 9, 20, 31, 32])
def test_seed_short_videos(count):
    order = sorted(range(count), key=lambda i: f"0000{i}.jpg")
    offsets = np.clip(np.linspace(0, count, max(count // 2, 1)), 0, count - 1).astype(int).tolist()
    wanted = offsets + [count - 1] * (16 - len(offsets))
    (clip,) = frames(SEED, np.arange(count) / 25)
    assert clip == [order[offset] for offset in wanted]


def test_nearest_prefers_the_earlier_of_two():
    times = np.array([0.0, 1.0, 2.0])
    assert nearest(times, np.array([-1, 0.4, 0.5, 0.6, 1.5, 9])).tolist() == [0, 0, 0, 1, 1, 2]
    assert nearest(np.zeros(1), np.array([0.0, 5.0])).tolist() == [0, 0]


def test_real_files_by_time_and_by_counting(data):
    """Sample 25 fps clips of UCF101: their times give the frames that counting gives."""
    found = 0
    for path in sorted(data.glob("ucf101/YoYo/*.avi")):
        with contextlib.closing(open_source(path, 25.0)) as source:
            assert frames(BY_TIME, source.times, 3) == frames(BY_INDEX, source.times, 3)
            found += 1
    assert found > 20
