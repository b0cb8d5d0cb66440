"""Doubts about a model's labels, from its answers to labelled clips.

A model whose labels are in another order, or whose recipe is another one's, answers everything
wrongly without a word. Its answers show it: they are no better than chance, and where only the
order is wrong, each class is answered as the same other one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from r2p_edge.errors import count_of
from r2p_edge.export.labels import LISTS, read_labels
from r2p_edge.spec.checks import some_of

_CLIPS = 10  # fewest to judge by: fewer may all be wrong of a model that is right
_CHANCE = 0.05  # probability of so many right answers of a model that knows nothing
_LUCK = 5e-4  # probability at which an order is not taken for luck: several are tried
_SAME = 2 / 3  # share of a class's clips that are answered as the same other class
_SHOWN = 4  # names in a warning


def doubt_of(truths: Sequence[str], answers: Sequence[str], labels: Sequence[str]) -> str | None:
    """Return why a model's labels are doubtful, in a sentence; None if they are not.

    Args:
        truths: the class of each clip, as in `labels`.
        answers: the class that the model gave it.
        labels: the model's, in the order of its outputs.
    """
    if len(truths) < _CLIPS:
        return None
    right = _right(truths, answers)
    blind = _chance_of(right, len(truths), 1 / len(labels)) > _CHANCE
    meant = _meant(truths, answers, labels, blind)
    share = right / len(truths)
    told = f"top-1 is {share:.1%} on {count_of(len(truths), 'clip')}"
    if blind:
        told += f", which is not above chance (1 in {len(labels)})"
    if meant:
        better = _right(truths, [meant.get(answer, answer) for answer in answers]) / len(truths)
        return (
            f"{told}; with the labels in another order it would be {better:.1%}: "
            f"{_listed(meant)}; correct the labels"
        )
    if not blind:
        return None
    return (
        f"{told}, and no other order of the labels explains it; check the weights and the recipe "
        "(clip, normalisation)"
    )


def _right(truths: Sequence[str], answers: Sequence[str]) -> int:
    return sum(a == b for a, b in zip(truths, answers, strict=True))


def _chance_of(right: int, total: int, share: float) -> float:
    """Return the probability of at least so many right answers at a chance of `share` each."""
    if share >= 1:
        return 1.0
    some, none = math.log(share), math.log1p(-share)
    whole = math.lgamma(total + 1)
    return math.fsum(
        math.exp(
            whole - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * some + (total - k) * none
        )
        for k in range(right, total + 1)
    )


def _modes(truths: Sequence[str], answers: Sequence[str]) -> dict[str, str]:
    """Return the answer that most clips of a class are given, where it is the same other class."""
    modes = {}
    for truth, given in _by_class(truths, answers).items():
        (mode, count), *_ = Counter(given).most_common(1)
        if count >= 2 and count >= _SAME * len(given) and mode != truth:
            modes[truth] = mode
    return modes


def _by_class(truths: Sequence[str], answers: Sequence[str]) -> dict[str, list[str]]:
    by_class: dict[str, list[str]] = {}
    for truth, answer in zip(truths, answers, strict=True):
        by_class.setdefault(truth, []).append(answer)
    return by_class


def _meant(
    truths: Sequence[str], answers: Sequence[str], labels: Sequence[str], blind: bool
) -> dict[str, str]:
    """Return the right name by the wrong one, where another order explains the answers."""
    found = _known(truths, answers, labels) if blind else {}
    if not found:
        modes = _modes(truths, answers)
        modes = modes if blind else _exchanged(modes)
        explained = sum(modes.get(t) == answer for t, answer in zip(truths, answers, strict=True))
        most = not blind or 2 * explained >= len(truths)
        distinct = len(set(modes.values())) == len(modes)
        if most and distinct and not _lucky(modes, truths, answers, len(labels)):
            found = {mode: truth for truth, mode in modes.items()}
    return {name: found[name] for name in labels if found.get(name, name) != name}


def _exchanged(modes: dict[str, str]) -> dict[str, str]:
    """Return those classes that are answered as each other.

    A class that is answered as one with answers of its own is confused, not exchanged.
    """
    while True:
        kept = {t: mode for t, mode in modes.items() if mode in modes and t in modes.values()}
        if kept == modes:
            return kept
        modes = kept


def _lucky(
    modes: Mapping[str, str], truths: Sequence[str], answers: Sequence[str], classes: int
) -> bool:
    """Return whether the clips of these classes may agree by chance.

    Whatever one clip of a class is answered, some order explains it: the others count.
    """
    by_class = _by_class(truths, answers)
    others = sum(len(by_class[truth]) - 1 for truth in modes)
    agreeing = sum(by_class[truth].count(mode) - 1 for truth, mode in modes.items())
    return _chance_of(agreeing, others, 1 / classes) > _LUCK


def _known(truths: Sequence[str], answers: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Return the known order that explains most answers: the right name by the wrong one."""

    def right(order: Mapping[str, str]) -> int:
        return _right(truths, [order[answer] for answer in answers])

    best = max((dict(zip(labels, each, strict=True)) for each in _orders(labels)), key=right)
    few = right(best) * 2 < len(truths)
    return {} if few or _chance_of(right(best), len(truths), 1 / len(labels)) > _LUCK else best


def _orders(labels: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the orders in which code is known to number classes."""
    count = len(labels)
    yield sorted(labels)
    yield sorted(labels, key=str.casefold)
    yield [labels[i] for i in sorted(range(count), key=str)]  # numbers sorted as text
    yield [*labels[1:], labels[0]]  # numbered from 1
    yield [labels[-1], *labels[:-1]]
    yield [*labels[::-1]]
    for file in sorted(LISTS.glob("*.txt")):
        known = read_labels(file)
        if set(known) == set(labels):
            yield known


def _listed(meant: Mapping[str, str]) -> str:
    pairs = [f"{wrong!r} is {right!r}" for wrong, right in meant.items()]
    return some_of(pairs, _SHOWN)
