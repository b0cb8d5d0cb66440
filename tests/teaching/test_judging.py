"""Folds that keep groups together, and figures of videos that were left out."""

import numpy as np
import pytest

from r2p_edge.teaching.fitting import fit_head, method_for
from r2p_edge.teaching.head import Reject, TaughtHead
from r2p_edge.teaching.judging import (
    confused_pairs,
    doubtful,
    folds_of,
    left_out_answers,
    log_loss,
    reject_rule,
    video_scores,
)


def blobs(counts, features=6, spread=0.3, seed=0):
    """Return features, (videos, 1, C), around a mean for each class, and the targets."""
    random = np.random.default_rng(seed)
    means = random.uniform(0, 2, (len(counts), features))
    targets = np.repeat(np.arange(len(counts)), counts)
    rows = np.maximum(means[targets] + spread * random.normal(size=(len(targets), features)), 0)
    return rows[:, None].astype(np.float32), targets


def test_a_group_is_never_in_two_folds_and_each_class_is_always_learnt():
    targets = np.array([0] * 6 + [1] * 3 + [2] * 2)
    groups = ["a", "a", "b", "b", "c", "c", "d", "e", "e", "f", "g"]
    folds = folds_of(targets, groups)
    for group in set(groups):
        assert len({fold for fold, each in zip(folds, groups) if each == group}) == 1
    for fold in set(folds.tolist()):
        assert set(targets[folds != fold].tolist()) == {0, 1, 2}


def test_a_class_of_one_group_leaves_none_out():
    assert folds_of(np.array([0, 0, 1, 1]), ["a", "b", "c", "c"]) is None


def test_classes_that_share_recordings_are_left_out_together():
    """Dealt by class, both groups of class 1 would lie in one fold."""
    targets = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    groups = ["a", "b", "c", "d", "e", "f", "a", "f"]
    folds = folds_of(targets, groups)
    assert folds[6] != folds[7]
    assert folds[0] == folds[6]


@pytest.mark.parametrize("method", ["mean", "logistic"])
def test_left_out_videos_are_answered_by_heads_that_never_saw_them(method):
    """A video that is like no other of its class is answered rightly by its own head alone."""
    features, targets = blobs([8, 8])
    features[0] = features[targets == 1].mean(axis=0)
    folds = folds_of(targets, [str(n) for n in range(16)])
    found = left_out_answers(features, targets, folds, method)
    answers = video_scores(found.logits).argmax(axis=1)
    assert answers[0] == 1
    assert (answers[1:] == targets[1:]).all()
    assert found.folds == 5


def test_the_strength_of_the_least_log_loss_is_taken():
    features, targets = blobs([10, 10, 10], spread=1.2)
    folds = folds_of(targets, [str(n) for n in range(30)])
    chosen = left_out_answers(features, targets, folds, "logistic")
    single = {
        l2: log_loss(left_out_answers(features, targets, folds, "logistic", [l2]).logits, targets)
        for l2 in (1.0, 0.1, 0.01, 0.001)
    }
    assert chosen.strength == min(single, key=single.get)


def test_the_log_loss_gives_each_class_the_same_weight():
    logits = np.log([[[0.9, 0.1]]] * 9 + [[[0.8, 0.2]]])
    loss = log_loss(logits, np.array([0] * 9 + [1]))
    assert loss == pytest.approx((-np.log(0.9) - np.log(0.2)) / 2)


def test_views_of_a_video_are_averaged_as_a_predictor_does():
    logits = np.log([[[0.8, 0.2], [0.4, 0.6]]])
    np.testing.assert_allclose(video_scores(logits), [[0.6, 0.4]])


def test_a_share_of_the_left_out_videos_is_rejected():
    features, targets = blobs([20, 20])
    folds = folds_of(targets, [str(n) for n in range(40)])
    left_out = left_out_answers(features, targets, folds, "logistic")
    rule = reject_rule(features, targets, left_out, 0.1)
    assert (left_out.cosines < rule.cosine).mean() == 0.1
    # A vector at a right angle to all classes is of none of them.
    head = fit_head(features[:, 0].astype(float), targets, "logistic", 0.01)
    head = TaughtHead(head.weight, head.bias, rule)
    means = features.mean(axis=(0, 1))
    aside = np.linalg.svd(np.stack([*rule.means, means]))[2][-1]
    assert head.logits(aside[None]).argmax() == 2
    assert head.logits(features[:, 0]).argmax(axis=1)[left_out.cosines > rule.cosine].max() < 2


def test_none_of_these_wins_just_below_the_cosine():
    rule = Reject(np.eye(2, dtype=np.float32), cosine=0.8, slope=10.0)
    head = TaughtHead(np.eye(2, dtype=np.float32) * 3, np.zeros(2, np.float32), rule)
    for cosine, none in ((0.801, False), (0.799, True)):
        for length in (0.1, 20.0):
            row = length * np.array([[cosine, -np.sqrt(1 - cosine**2)]])
            assert (head.logits(row).argmax() == 2) == none
    assert np.isfinite(head.logits(np.zeros((1, 2)))).all()


def test_means_answer_by_the_largest_cosine():
    features, targets = blobs([2, 3, 2])
    rows = features[:, 0].astype(float)
    head = fit_head(rows, targets, "mean", 50.0)
    means = np.stack([rows[targets == k].mean(axis=0) for k in range(3)])
    trial = np.random.default_rng(3).uniform(0, 2, (50, 6))
    cosines = (
        trial @ means.T / np.outer(np.linalg.norm(trial, axis=1), np.linalg.norm(means, axis=1))
    )
    np.testing.assert_array_equal(head.logits(trial).argmax(axis=1), cosines.argmax(axis=1))


def test_logistic_takes_features_of_any_scale():
    """The standardisation is in the weights: other units give the same answers."""
    features, targets = blobs([6, 6, 6])
    rows = features[:, 0].astype(float)
    units, shift = np.array([0.01, 1, 50, 2, 1, 100]), 7.0
    one = fit_head(rows, targets, "logistic", 0.01).logits(rows)
    other = fit_head(rows * units + shift, targets, "logistic", 0.01).logits(rows * units + shift)
    np.testing.assert_allclose(other, one, atol=1e-2)


def test_a_large_class_does_not_drown_a_small_one():
    features, targets = blobs([60, 6], spread=0.8)
    rows = features[:, 0].astype(float)
    head = fit_head(rows, targets, "logistic", 0.1)
    answers = head.logits(rows).argmax(axis=1)
    assert (answers[targets == 1] == 1).mean() >= (answers[targets == 0] == 0).mean() - 0.2


@pytest.mark.parametrize(
    ("counts", "method"), [([4, 4], "mean"), ([5, 5], "logistic"), ([2, 9, 9], "logistic")]
)
def test_the_method_goes_by_the_videos_of_a_class(counts, method):
    assert method_for(np.repeat(np.arange(len(counts)), counts)) == method


def test_pairs_that_are_confused_most_stand_first():
    truths = ["a", "a", "a", "b", "b", "c"]
    answers = ["b", "b", "a", "a", "b", "c"]
    assert confused_pairs(truths, answers) == [("a", "b", 2), ("b", "a", 1)]


def test_a_label_that_nothing_speaks_for_is_doubtful():
    features, targets = blobs([20, 20, 20])
    wrong = targets.copy()
    wrong[[2, 24]] = 2
    folds = folds_of(wrong, [str(n) for n in range(60)])
    found = doubtful(left_out_answers(features, wrong, folds, "logistic").logits, wrong)
    assert set(np.flatnonzero(found)) == {2, 24}


def test_a_class_that_is_always_taken_for_another_is_not_doubtful():
    logits = np.zeros((8, 1, 2))
    logits[:, 0, 1] = 9.0
    assert not doubtful(logits, np.array([0] * 4 + [1] * 4)).any()
