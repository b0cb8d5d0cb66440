"""Labels in another order are found by answers to labelled clips, and confusions are not."""

import math

import numpy as np
import pytest

from r2p_edge.calibration.label_order import _chance_of, doubt_of
from r2p_edge.export.presets import preset

NAMES = [f"class {i:02}" for i in range(20)]


def answers_of(truths, labels, order, wrong=0.0, seed=0):
    """Return the answers of a model whose output i is order[i] and is called labels[i]."""
    rng = np.random.default_rng(seed)
    called = dict(zip(order, labels))
    return [str(rng.choice(labels)) if rng.random() < wrong else called[truth] for truth in truths]


def clips(labels, each):
    return [name for name in labels for _ in range(each)]


@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.7])
def test_a_model_that_is_right_is_not_doubted(wrong):
    truths = clips(NAMES, 3)
    for seed in range(20):
        assert doubt_of(truths, answers_of(truths, NAMES, NAMES, wrong, seed), NAMES) is None


def test_a_model_that_knows_nothing():
    truths = clips(NAMES, 2)
    found = doubt_of(truths, [NAMES[0]] * len(truths), NAMES)
    assert "top-1 is 5.0% on 40 clips, which is not above chance (1 in 20)" in found
    assert "no other order of the labels explains it" in found
    for seed in range(20):
        found = doubt_of(truths, answers_of(truths, NAMES, NAMES, 1.0, seed), NAMES)
        assert found is None or "no other order" in found


@pytest.mark.parametrize("each", [1, 3])
def test_known_orders_are_found_by_one_clip_of_each_class(each):
    names = ["b", "A", "c", "B", *(f"{i}" for i in range(12))]
    truths = clips(names, each)
    for order in (
        sorted(names),
        sorted(names, key=str.casefold),
        [*names[1:], names[0]],
        [*names[-1:], *names[:-1]],
        names[::-1],
        [names[i] for i in sorted(range(len(names)), key=str)],
    ):
        found = doubt_of(truths, answers_of(truths, names, order), names)
        moved = sum(a != b for a, b in zip(names, order))
        if moved == len(names):
            assert f"another order it would be {100:.1f}%" in found
    order = sorted(names)
    found = doubt_of(truths, answers_of(truths, names, order), names)
    i = next(i for i, (a, b) in enumerate(zip(names, order)) if a != b)
    assert f"{names[i]!r} is {order[i]!r}" in found


def test_any_order_is_found_by_several_clips():
    truths = clips(NAMES, 4)
    order = [str(name) for name in np.random.default_rng(3).permutation(NAMES)]
    found = doubt_of(truths, answers_of(truths, NAMES, order, 0.1), NAMES)
    assert "with the labels in another order it would be" in found
    wrong, right = next(pair for pair in zip(NAMES, order) if pair[0] != pair[1])
    assert f"'{wrong}' is" in found or f"is '{right}'" in found


def test_four_exchanged_names_of_ucf101():
    folders = preset("ucf101-mindspore").labels
    class_ind = sorted(folders, key=str.casefold)
    truths = clips(folders, 3)
    found = doubt_of(truths, answers_of(truths, class_ind, folders, 0.05), class_ind)
    assert "not above chance" not in found
    for name in ("HammerThrow", "Hammering", "HandstandPushups", "HandstandWalking"):
        if name in {a for a, b in zip(class_ind, folders) if a != b}:
            assert f"'{name}' is" in found


def test_confused_classes_are_not_exchanged():
    truths = clips(["run", "walk", "jump", "sit"], 4)
    confused = ["walk"] * 4 + ["walk"] * 4 + ["jump"] * 4 + ["sit"] * 4
    assert doubt_of(truths, confused, ["run", "walk", "jump", "sit"]) is None


def test_too_few_clips():
    assert doubt_of(["a"] * 9, ["b"] * 9, ["a", "b"]) is None


def test_the_binomial_tail():
    assert _chance_of(0, 10, 0.5) == pytest.approx(1)
    assert _chance_of(10, 10, 0.5) == pytest.approx(0.5**10)
    expected = sum(math.comb(50, k) * 0.01**k * 0.99 ** (50 - k) for k in range(3, 51))
    assert _chance_of(3, 50, 0.01) == pytest.approx(expected)
    assert _chance_of(5000, 10_000, 0.01) == 0
