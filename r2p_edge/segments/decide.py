"""The label of each window, decided for a whole run of windows at once.

Each second that shows a label earns the label's score, each change of label costs `hysteresis`, and
no stretch of one label is shorter than the minimum. Of all sequences of labels the one that earns
most is taken: the most time right that the scores let expect, less the price of the changes. That
is the Viterbi algorithm (Forney, "The Viterbi algorithm", Proc. IEEE 61, 1973) with a least
duration of each state, and costs as many steps as there are scores.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NONE = -1
"""Number of no label."""


def decide_labels(
    scores: npt.NDArray[np.float32],
    step: float,
    *,
    min_length: float,
    hysteresis: float,
    min_score: float,
) -> npt.NDArray[np.int64]:
    """Return the number of each window's label, int64 (n,); `NONE` where no class is sure.

    Args:
        scores: (n, classes), of windows that follow each other.
        step: seconds from one window to the next.
        min_length: seconds that a label lasts at least, unless all of the run is shorter.
        hysteresis: seconds of a score of 1 by which another label must lead before it is taken.
        min_score: earned by no label, for each second of it.
    """
    earned = step * np.column_stack([scores, np.full(len(scores), min_score)]).astype(np.float64)
    none = scores.shape[1]
    least = max(round(min_length / step), 1)
    sums = np.cumsum(np.vstack([np.zeros(none + 1), earned]), axis=0)
    count = len(scores)
    if count < 2 * least:  # there is no room for a change
        best = int(sums[-1].argmax())
        return np.full(count, NONE if best == none else best)

    # Of the sequences that end with each window: the best in all, and its last label.
    best_sum, best_label = np.full(count, -np.inf), np.zeros(count, np.int64)
    begun = np.zeros((count, none + 1), np.bool_)  # a label's shortest stretch ends here
    ends = sums[least].copy()  # the best sum for each last label
    for now in range(least - 1, count):
        if now >= least:
            ends += earned[now]
        if now >= 2 * least - 1:
            enters = best_sum[now - least] - hysteresis + sums[now + 1] - sums[now + 1 - least]
            begun[now] = enters > ends
            np.maximum(ends, enters, out=ends)
        best_label[now] = ends.argmax()
        best_sum[now] = ends[best_label[now]]

    labels = np.empty(count, np.int64)
    now, label = count - 1, best_label[-1]
    while now >= 0:
        if begun[now, label]:
            labels[now - least + 1 : now + 1] = label
            now -= least
            label = best_label[now]
        else:
            labels[now] = label
            now -= 1
    labels[labels == none] = NONE
    return labels
