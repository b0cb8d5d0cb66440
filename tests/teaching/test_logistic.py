"""Logistic regression, against what a minimum of its loss has to be."""

import numpy as np
import pytest

from r2p_edge.teaching.logistic import fit_logistic


def problem(clips, features, classes, seed=0):
    """Return standardised features, targets and weights of clips whose classes overlap."""
    random = np.random.default_rng(seed)
    targets = np.arange(clips) % classes
    rows = random.normal(size=(classes, features))[targets] + 2 * random.normal(
        size=(clips, features)
    )
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    return rows, targets, random.uniform(0.5, 2, clips)


def loss_of(head, rows, targets, weights, l2):
    """Return the loss, spelled out clip by clip."""
    total = 0.0
    for row, target, weight in zip(rows, targets, weights):
        logits = head[:, :-1] @ row + head[:, -1]
        total += weight * (np.logaddexp.reduce(logits) - logits[target])
    return total / weights.sum() + l2 / 2 * (head[:, :-1] ** 2).sum()


@pytest.mark.parametrize(("clips", "features"), [(60, 8), (12, 40)])
def test_no_step_in_any_direction_makes_the_loss_smaller(clips, features):
    rows, targets, weights = problem(clips, features, 4)
    l2, step = 0.02, 1e-5
    head = fit_logistic(rows, targets, weights, l2, tolerance=1e-10)

    def loss(moved):
        return loss_of(moved, rows, targets, weights, l2)

    slopes = np.empty_like(head)
    for place in np.ndindex(head.shape):
        aside = np.zeros_like(head)
        aside[place] = step
        slopes[place] = (loss(head + aside) - loss(head - aside)) / (2 * step)
    # The differences of losses near 1 have eleven digits.
    assert np.abs(slopes).max() < 1e-8
    random = np.random.default_rng(1)
    for _ in range(20):  # it is convex, so that this holds far away too
        assert loss(head + random.normal(size=head.shape)) > loss(head)


def test_two_balanced_classes_of_one_feature_have_a_known_answer():
    """With one feature of +1 and -1, half of each class right: the log odds are the bias's."""
    rows = np.array([[1.0], [1.0], [1.0], [-1.0], [-1.0], [-1.0]])
    targets = np.array([1, 1, 0, 0, 0, 1])
    head = fit_logistic(rows, targets, np.ones(6), 1e-9, tolerance=1e-12)
    # Where x is 1, two of three clips are of class 1: log(2) apart.
    assert head[1, 0] - head[0, 0] == pytest.approx(np.log(2), abs=1e-6)
    assert head[:, 1] == pytest.approx([0, 0], abs=1e-9)


def test_a_weight_counts_like_as_many_clips():
    rows, targets, _ = problem(30, 5, 3)
    twice = np.where(np.arange(30) < 9, 2, 1)
    one = fit_logistic(rows, targets, twice.astype(float), 0.05)
    other = fit_logistic(
        np.repeat(rows, twice, axis=0), np.repeat(targets, twice), np.ones(twice.sum()), 0.05
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_same_clips_give_the_same_bits_wherever_it_begins():
    rows, targets, weights = problem(40, 6, 3)
    one, same = (fit_logistic(rows, targets, weights, 0.01) for _ in range(2))
    assert one.tobytes() == same.tobytes()
    start = np.random.default_rng(2).normal(size=one.shape)
    far = fit_logistic(rows, targets, weights, 0.01, start=start)
    np.testing.assert_allclose(far, one, atol=1e-4)


def test_features_that_are_copies_or_constant_do_no_harm():
    rows, targets, weights = problem(40, 4, 3)
    more = np.concatenate([rows, rows[:, :2], np.zeros((40, 1))], axis=1)
    head = fit_logistic(more, targets, weights, 0.01)
    assert np.isfinite(head).all()
    assert np.abs(head[:, 6]).max() == 0
    np.testing.assert_allclose(head[:, :2], head[:, 4:6], atol=1e-5)
