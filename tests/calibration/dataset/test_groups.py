"""Groups by names, against the official lists, which keep each group on one side."""

from __future__ import annotations

import pytest

from r2p_edge.calibration.dataset.groups import group_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("YoYo/v_YoYo_g01_c01.avi", "YoYo/v_YoYo_g01_c07"),
        ("a/v_Yo.Yo_g1_c01.avi", "b/V_yo.yo_G01_C2.mp4"),
        ("fall/kitchen_g3_c1.mp4", "no fall/kitchen_g3_c2.mp4"),
        ("a/x.mp4", "a/x.avi"),
        ("v\n_g02_c1.mp4", "v\n_g02_c2.mp4"),
    ],
)
def test_one_group(one, other):
    assert group_of(one) == group_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("YoYo/v_YoYo_g01_c01.avi", "YoYo/v_YoYo_g02_c01.avi"),
        ("YoYo/v_YoYo_g01_c01.avi", "Biking/v_Biking_g01_c01.avi"),
        ("a/x.mp4", "b/x.mp4"),
        ("C/x.mp4", "C++/x.mp4"),
        ("a/clip_1.mp4", "a/clip_2.mp4"),
        ("a/g01_c01.mp4", "a/g01_c02.mp4"),
        ("a/v_g01_c01.x.mp4", "a/v_g01_c02.x.mp4"),
    ],
)
def test_two_groups(one, other):
    assert group_of(one) != group_of(other)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_official_lists_have_no_group_on_both_sides(data, number):
    sides = [
        {group_of(line.split()[0]) for line in file.read_text().splitlines()}
        for file in (data / f"splits/{side}list0{number}.txt" for side in ("train", "test"))
    ]
    assert not sides[0] & sides[1]
    # 25 groups of each class: https://www.crcv.ucf.edu/data/UCF101.php
    assert len(sides[0] | sides[1]) == 101 * 25
