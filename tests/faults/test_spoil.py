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


def test_a_slow_verb_meets_every_action():
    actions = tuple(ACTIONS)
    assert in_turn(1, False, actions) == ["killed before", "killed after"]
    met = [action for turn in range(10) for action in in_turn(turn, True, actions)]
    assert met == list(actions[2:])
