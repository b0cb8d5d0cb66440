"""The choice of the calls that a sweep spoils, and of how."""

from __future__ import annotations

from spoil import ACTIONS, chosen, in_turn


def test_of_calls_that_are_alike_the_first_and_the_last_are_chosen():
    steps = [
        "open /out/videos/.nod.mp4.1f2e3d4c.part.mp4",
        "write /out/videos/.nod.mp4.1f2e3d4c.part.mp4",
        "write /out/videos/.wave.mp4.aabbccdd.part.mp4",
        "write /out/videos/.grow.mp4.00112233.part.mp4",
        "rename /out/videos/grow.mp4",
        "rename /out/net.xml",
        "rename /out/net.bin",
        "unlink /scratch/r2p_edge-0011223344556677/draft.onnx",
        "unlink /scratch/r2p_edge-8899aabbccddeeff/qdq2.onnx",
    ]
    assert chosen(steps) == [0, 1, 3, 4, 5, 6, 7, 8]


def test_a_call_is_killed_and_finds_the_disk_full_and_meets_one_other_error():
    actions = tuple(ACTIONS)
    for over in (False, True):
        turns = [in_turn(turn, over, actions, slow=False) for turn in range(4)]
        assert all(each[:3] == ["killed before", "killed after", "disk full"] for each in turns)
        assert [each[3:] for each in turns] == [[action] for action in actions[3:]]
    assert in_turn(0, False, ("read-only",), slow=False) == ["read-only"]


def test_a_slow_verb_meets_every_action():
    actions = tuple(ACTIONS)
    assert in_turn(0, False, actions, slow=True) == ["killed before", "killed after"]
    assert in_turn(1, False, actions, slow=True) == ["killed after"]
    met = [action for turn in range(10) for action in in_turn(turn, True, actions, slow=True)]
    assert met == list(actions[2:])
