"""The comparison of what a network's own code calls with the calls of its family.

Where they are the same the code is the family's, whatever its words; where they are not, the
parameters alone would answer as another network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from r2p_edge.export.checkpoints.calls import INPUT, Call, Calls
from r2p_edge.export.checkpoints.heads import Head
from r2p_edge.export.checkpoints.layouts import Pool
from r2p_edge.export.checkpoints.structure import Conv, Norm, Step, VideoNetwork
from r2p_edge.spec.checks import plain


class Difference(NamedTuple):
    """The first call that the family does not make.

    Attributes:
        does: what the code does there, as the end of "its own code ...".
        certain: False for means, shapes and unknown operators behind the blocks, which may come
            to the same.
    """

    does: str
    certain: bool


def _named(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


_KINDS = {
    **_named("layer", "conv3d _convolution convolution Conv3d linear addmm mm Linear"),
    **_named(
        "norm",
        "batch_norm BatchNorm3d SyncBatchNorm native_batch_norm cudnn_batch_norm "
        "_native_batch_norm_legit_no_training",
    ),
    **_named("relu", "relu ReLU"),
    **_named("pool", "max_pool3d max_pool3d_with_indices MaxPool3d"),
    **_named("mean", "mean adaptive_avg_pool3d AdaptiveAvgPool3d avg_pool3d AvgPool3d"),
    **_named("sum", "add"),
    **_named("shape", "flatten view _unsafe_view reshape squeeze unsqueeze permute transpose"),
    **_named("shape", "Flatten"),
    **_named("same", "Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout dropout"),
    **_named("same", "FeatureAlphaDropout feature_dropout dropout3d contiguous clone detach alias"),
    **_named("softmax", "softmax _softmax log_softmax _log_softmax Softmax LogSoftmax"),
}


_OF_WEIGHTS = ("layer", "norm")


@dataclass(frozen=True)
class _Value:
    """A result: which operation of which others, by numbers that are the same for the same."""

    number: int
    kind: str
    positive: bool = False  # no number below zero
    mean: bool = False  # over time and space, or computed of such a mean


class _Values:
    """The results of calls, each the same object for the same operation of the same results."""

    def __init__(self, last: str) -> None:
        self._last = last  # module of the classifier
        self.known: dict[tuple[str, str, tuple[int, ...]], _Value] = {}
        self.input = _Value(INPUT, "input")
        self.scores: set[_Value] = set()

    def of(self, kind: str, inputs: Iterable[_Value], layer: str = "") -> _Value:
        """Return the result of an operation; of one that changes nothing, its input."""
        given = list(inputs)
        first = given[0] if given else self.input
        changes_nothing = len(given) == 1 and (
            kind == "same"
            or (kind == "relu" and first.positive)
            or (kind in ("shape", "mean") and first.mean and first.kind != "mean")
            or (kind == "shape" and first.mean)
            or (kind == "softmax" and first in self.scores)
        )
        if changes_nothing:
            return first
        numbers = [value.number for value in given]
        key = (
            kind,
            layer if kind in _OF_WEIGHTS else "",
            tuple(sorted(numbers) if kind == "sum" else numbers),
        )
        if key not in self.known:
            self.known[key] = _Value(
                len(self.known),
                kind,
                kind == "relu" or (kind in ("pool", "mean", "shape") and first.positive),
                kind == "mean" or first.mean,
            )
        value = self.known[key]
        if layer and layer == self._last:
            self.scores.add(value)
        return value


def compare_calls(
    calls: Calls, network: VideoNetwork, names: Mapping[str, str], head: Head
) -> Difference | None:
    """Return where calls first differ from a family's network; None if they do not.

    Args:
        calls: those of the file's code.
        network: what its parameters are taken for.
        names: names of parameters in the file by canonical name.
        head: its classifier.
    """
    values = _Values(head.modules[-1])
    features, answer = _of_network(values, network, names, head)
    expected = set(values.known.values()) | {values.input}
    found: list[_Value] = []
    differing: Call | None = None
    certain = True

    def at(number: int) -> _Value:
        return values.input if number == INPUT else found[number]

    for call in calls.calls:
        kind = _KINDS.get(call.operator, f"other {call.operator}")
        inputs = [at(number) for number in call.inputs]
        value = values.of(kind, inputs, call.layer)
        if value not in expected and differing is None:
            differing = call
            after = all(each == features or each.mean for each in inputs)
            certain = not after or kind in ("relu", "softmax", "layer", "norm", "pool", "sum")
        found.append(value)
    if at(calls.output) == answer:
        return None
    if differing is None:
        return Difference(f"ends with {_result(calls, calls.output)}", True)
    return Difference(_does(calls, differing), certain)


def _of_network(
    values: _Values, network: VideoNetwork, names: Mapping[str, str], head: Head
) -> tuple[_Value, _Value]:
    """Return the last features of a network and its answer."""

    def layer(canonical: str) -> str:
        return names.get(f"{canonical}.weight", "").rpartition(".")[0]

    def along(value: _Value, steps: Iterable[Step]) -> _Value:
        for step in steps:
            if isinstance(step, Conv):
                value = values.of("layer", [value], layer(step.name))
            elif isinstance(step, Norm):
                value = values.of("norm", [value], layer(step.name))
            else:
                value = values.of("pool" if isinstance(step, Pool) else "relu", [value])
        return value

    features = along(values.input, network.stem)
    for block in network.residual_blocks:
        paths = [along(features, block.steps), along(features, block.shortcut)]
        features = values.of("sum", paths)
        if block.relu:
            features = values.of("relu", [features])
    value = values.of("mean", [features])
    for number, module in enumerate(head.modules):
        if number and head.activation == "relu":
            value = values.of("relu", [value])
        value = values.of("layer", [value], module)
    return features, value


def _does(calls: Calls, call: Call) -> str:
    """Say what a call does, as the end of "its own code ..."."""
    given = " and ".join(_result(calls, number) for number in call.inputs) or "no tensor"
    if call.layer:
        return f"gives {plain(call.layer)} {given}"
    return f"calls {plain(call.operator)} on {given}"


def _result(calls: Calls, number: int) -> str:
    if number == INPUT:
        return "its input"
    call = calls.calls[number]
    return f"what {plain(call.layer or call.operator)} gives"
