"""The decision on all windows of a run, against every sequence of labels there is."""

import itertools

import numpy as np
import pytest

from r2p_edge.segments.decide import NONE, decide_labels


def worth(labels, scores, step, least, hysteresis, min_score):
    """Return what a sequence of labels earns; None if one of its stretches is too short."""
    lengths = [len(list(group)) for _, group in itertools.groupby(labels)]
    if len(lengths) > 1 and min(lengths) < least:
        return None
    earned = [min_score if k == NONE else scores[i, k] for i, k in enumerate(labels)]
    return step * sum(earned) - hysteresis * (len(lengths) - 1)


@pytest.mark.parametrize("seed", range(40))
def test_no_other_sequence_earns_more(seed):
    rng = np.random.default_rng(seed)
    count, classes = int(rng.integers(1, 8)), int(rng.integers(1, 4))
    scores = rng.dirichlet(np.ones(classes + 1), count)[:, :classes].astype(np.float32)
    step, least = float(rng.choice([0.1, 0.64])), int(rng.integers(1, 4))
    hysteresis, min_score = float(rng.choice([0.0, 0.1, 0.5])), float(rng.choice([0.0, 0.3]))
    found = decide_labels(
        scores, step, min_length=least * step, hysteresis=hysteresis, min_score=min_score
    )
    rest = step, least, hysteresis, min_score
    every = itertools.product([NONE, *range(classes)], repeat=count)
    best = max(w for one in every if (w := worth(one, scores, *rest)) is not None)
    assert worth(found.tolist(), scores, *rest) == pytest.approx(best, abs=1e-6)


def scores_of(text):
    """Return the scores of two classes: of "a", "b", "?" for a window each."""
    rows = {"a": (0.9, 0.1), "b": (0.1, 0.9), "?": (0.1, 0.1), "A": (0.6, 0.4), "B": (0.4, 0.6)}
    return np.array([rows[letter] for letter in text], np.float32)


@pytest.mark.parametrize(
    ("shown", "decided"),
    [
        ("aaaaabaaaaa", "aaaaaaaaaaa"),  # too short to be a segment
        ("aaaaabbbbbb", "aaaaabbbbbb"),
        ("aaaaaBBBaaa", "aaaaaaaaaaa"),  # long enough, not sure enough
        ("aaaaabbbaaa", "aaaaabbbaaa"),
        ("aaaa????bbb", "aaaa----bbb"),
        ("aaaa?aaaaaa", "aaaaaaaaaaa"),
        ("b", "b"),
        ("?", "-"),
        ("AB", "aa"),
    ],
)
def test_by_eye(shown, decided):
    labels = decide_labels(
        scores_of(shown), 1.0, min_length=3.0, hysteresis=0.6, min_score=0.3
    ).tolist()
    text = "".join("ab-"[label] for label in labels)
    assert text == decided


def test_an_hour_is_decided():
    scores = np.tile(np.repeat(np.eye(4, dtype=np.float32), 50, axis=0), (28, 1))
    labels = decide_labels(scores, 0.64, min_length=2.0, hysteresis=0.5, min_score=0.2)
    assert np.array_equal(labels, scores.argmax(axis=1))
