"""The search for the classifier among what a checkpoint has besides a family's network.

A classifier is a matrix of a row for each class, or several with ReLUs between them. Matrices that
could stand before or after it, or in its place, are never left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError, UsageError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.layers import Layers
from r2p_edge.export.checkpoints.matching import Arrays, Fit, features_of
from r2p_edge.spec.checks import plain

HeadActivation = Literal["relu", "none"]
"""Function between the layers of a classifier."""

LEAVES = ("weight", "bias")
"""Names of the parameters of a layer of a classifier."""

_BETWEEN = re.compile(r"Dropout|AlphaDropout|Identity|Flatten")
_QUANTISED = re.compile(r"\.(_packed_params|zero_point)\b")
_RECURRENT = re.compile(r"(.*\.)?[\w]+\.(weight_hh_l\d+\w*|in_proj_weight)")
# Not "proj" alone, which is what pytorchvideo calls its classifier.
_PROJECTION = re.compile(r"(.*[._])?(projection|projector|proj[._]?(head|mlp))([._\d].*)?")
_SHOWN = 6


@dataclass(frozen=True)
class Head:
    """A classifier, by the names of its modules in the file.

    Attributes:
        modules: its layers in the order of execution, the last of which has a row for each class;
            none if the network ends at its features, which are then its answer.
        activation: function between them.
        left_out: matrices that it does not take.
    """

    modules: tuple[str, ...]
    activation: HeadActivation = "relu"
    left_out: tuple[str, ...] = ()

    def parameters(
        self, arrays: Arrays
    ) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, str]]:
        """Return its parameters, and their names in the file, by canonical names.

        Layers without a function between them are one. Of no modules there are none.
        """
        if not self.modules:
            return {}, {}
        own = [*(f"hidden.{number}" for number in range(len(self.modules) - 1)), "fc"]
        names: dict[str, str] = {}
        found: dict[str, npt.NDArray[np.generic]] = {}
        for name, module in zip(own, self.modules, strict=True):
            weight = arrays[f"{module}.weight"]
            names[f"{name}.weight"] = f"{module}.weight"
            # A convolution of one number in time and space is a matrix too.
            found[f"{name}.weight"] = weight if weight.ndim == 2 else weight[:, :, 0, 0, 0]
            found[f"{name}.bias"] = np.zeros(len(weight), np.float32)
            if f"{module}.bias" in arrays:
                names[f"{name}.bias"] = f"{module}.bias"
                found[f"{name}.bias"] = arrays[f"{module}.bias"]
        if self.activation == "none":
            exact = {name: array.astype(np.float64) for name, array in found.items()}
            weight, bias = (exact[f"{own[0]}.{leaf}"] for leaf in LEAVES)
            for name in own[1:]:
                layer = exact[f"{name}.weight"]
                weight, bias = layer @ weight, layer @ bias + exact[f"{name}.bias"]
            found = {"fc.weight": weight.astype(np.float32), "fc.bias": bias.astype(np.float32)}
        return found, {name: names[name] for name in found if name in names}


def no_head(parameters: Arrays, fit: Fit, network: str) -> Head:
    """Return the head of a network that ends at its features.

    Args:
        parameters: all of the file.
        fit: names that are the network's.
        network: its kind, for errors.

    Raises:
        CheckpointError: the file has a matrix of these features, and so another network's end.
    """
    features, used = features_of(fit, parameters), set(fit.names.values())
    for name, array in parameters.items():
        if name not in used and array.shape[1:] in ((features,), (features, 1, 1, 1)):
            raise CheckpointError(
                f"the network is an {network}, whose own code ends at {features} features, and "
                f"{plain(name)} takes them: weights do not say what stands between the two, such "
                f"as a pool, a norm or a ReLU; {ADVICE}"
            )
    return Head(())


def identity_head(features: int) -> dict[str, npt.NDArray[np.generic]]:
    """Return the parameters of a layer that gives a network's features as its answer."""
    return {
        "fc.weight": np.eye(features, dtype=np.float32),
        "fc.bias": np.zeros(features, np.float32),
    }


def find_head(
    parameters: Arrays,
    fit: Fit,
    *,
    chosen: str | None = None,
    activation: HeadActivation | None = None,
    layers: Layers | None = None,
) -> Head:
    """Return the classifier.

    Args:
        parameters: all of the file.
        fit: names that are the network's.
        chosen: name of its module, or names of its layers with commas between them.
        activation: function between its layers, where the file does not say it.
        layers: what the file says of its modules.

    Raises:
        CheckpointError: there is none, there are several and none is chosen, its layers do not
            follow each other, or nothing says what is between them.
        UsageError: there is none of the chosen name.
    """
    features, used = features_of(fit, parameters), set(fit.names.values())
    matrices = {
        name.removesuffix(".weight"): array.shape[:2]
        for name, array in parameters.items()
        if name not in used
        and name.endswith(".weight")
        and array.shape[2:] in ((), (1, 1, 1))
        and array.ndim in (2, 5)
    }
    quantised = next((name for name in parameters if _QUANTISED.search(name)), None)
    if quantised is not None and not any(features in shape for shape in matrices.values()):
        raise CheckpointError(
            f"the classifier is quantised ({plain(quantised)}); save the floating-point model, "
            "and quantise it here with --precision int8"
        )
    if inner := next((name for name in parameters if _RECURRENT.fullmatch(name)), None):
        raise CheckpointError(
            f"{plain(inner.rpartition('.')[0])} is a recurrent or attention layer, which stands "
            f"between the network and its classifier; {ADVICE}"
        )
    modules = _modules(matrices, features) if chosen is None else _chosen(matrices, chosen)
    _check_row(parameters, modules)
    columns = features
    for module in modules:
        if matrices[module][1] != columns:
            raise CheckpointError(
                f"the classifier's layer {plain(module)} takes {matrices[module][1]} numbers, and "
                f"what is before it gives {columns}; choose others with --head, or {ADVICE}"
            )
        columns = matrices[module][0]
    others = [
        module
        for module in matrices
        if module not in modules and parameters[f"{module}.weight"].ndim == 2
    ]
    if chosen is None:
        _check_apart(matrices, modules, others, features)
    between: HeadActivation = "relu"
    if len(modules) > 1:
        between = activation or _between(modules, layers or {})
    return Head(tuple(modules), between, tuple(others))


def bias_doubt(head: Head, parameters: Arrays, layers: Layers) -> str | None:
    """Return what speaks against a classifier without a bias, as a sentence; None for nothing.

    Args:
        head: the classifier.
        parameters: all of the file.
        layers: what the file says of its modules, which then have all that they compute with.
    """
    if not head.modules:
        return None
    module = head.modules[-1]
    if f"{module}.bias" in parameters or module in layers:
        return None
    return (
        f"the classifier {plain(module)} has no bias in the file, and is taken to have none: if it "
        "was trained with one the answers will be wrong; save the whole network again "
        "(model.state_dict()), or settle it with --golden FILE.npz"
    )


def _modules(matrices: Mapping[str, tuple[int, ...]], features: int) -> list[str]:
    """Return the layers of the one classifier."""
    takers = [name for name, shape in matrices.items() if shape[1] == features]
    wider = [name for name, shape in matrices.items() if shape[1] > features > 1]
    several = [name for name in wider if matrices[name][1] % features == 0]
    if not takers and several:
        count = matrices[several[0]][1] // features
        raise CheckpointError(
            f"the classifier takes {count} numbers of each of the {features} features "
            f"({_listed(several, matrices, 2)}), and that of an R(2+1)D their mean over all of "
            f"time and space; {ADVICE}"
        )
    if not takers and matrices:
        near = sorted(matrices, key=lambda name: features not in matrices[name])
        raise CheckpointError(
            f"the network has {features} features and no classifier of them, which is a matrix of "
            f"classes x {features} (there are {_listed(near, matrices, 2)}); give the file whose "
            "classifier was trained with this network"
        )
    if not takers:
        raise CheckpointError(
            f"the network has no classifier: it ends at {features} features; give the file that "
            f"was saved after training, with its last layer (classes x {features})"
        )
    if all(map(_PROJECTION.fullmatch, takers)):
        raise CheckpointError(
            f"the network has no classifier that is named as one: {_listed(takers, matrices)} is a "
            "projection, as of self-supervised pre-training; train a classifier on the network "
            "and give that file, or, if this is the classifier, name it with --head"
        )
    # What is in one module of numbered layers is one classifier.
    rows = {name.rpartition(".")[0] for name in takers if name.rpartition(".")[2].isdecimal()}
    if len(rows) == 1 and all(name.rpartition(".")[0] in rows for name in takers):
        (row,) = rows
        below = {name: name.rpartition(".") for name in matrices}
        return [name for name, (of, _, own) in below.items() if of == row and own.isdecimal()]
    gates = [
        (name, other)
        for name in takers
        for other, shape in matrices.items()
        if shape == (features, matrices[name][0]) and other != name
    ]
    if len(takers) > 1 and gates:
        raise CheckpointError(
            f"{' and '.join(map(plain, gates[0]))} take the network's {features} features and give "
            f"as many back, as a gate before the classifier does (squeeze-and-excitation); {ADVICE}"
        )
    if len(takers) > 1:
        raise CheckpointError(
            f"the checkpoint has several classifiers ({_listed(takers, matrices)}); choose one "
            "with --head NAME"
        )
    return takers


def _check_row(parameters: Arrays, modules: Sequence[str]) -> None:
    """Make sure that a classifier of numbered layers has no others with numbers of their own."""
    rows = {name.rpartition(".")[0] for name in modules if name.rpartition(".")[2].isdecimal()}
    for name in parameters:
        module = name.rpartition(".")[0]
        row, _, own = module.rpartition(".")
        if row in rows and own.isdecimal() and module not in modules:
            raise CheckpointError(
                f"the classifier has {plain(module)} between its layers ({plain(name)}), such as a "
                f"batch norm, and only matrices with ReLUs are read; {ADVICE}"
            )


def _chosen(matrices: Mapping[str, tuple[int, ...]], chosen: str) -> list[str]:
    found = []
    for name in chosen.split(","):
        own = [each for each in matrices if each == name or each.startswith(f"{name}.")]
        if not own:
            raise UsageError(
                f"the checkpoint has no classifier {plain(name)}; choose one of "
                f"{_listed(list(matrices), matrices) or 'none'}"
            )
        found += own
    return found


def _check_apart(
    matrices: Mapping[str, tuple[int, ...]],
    modules: Sequence[str],
    others: Sequence[str],
    features: int,
) -> None:
    """Make sure that no other matrix could be the classifier's, before or after it."""
    classes = matrices[modules[-1]][0]
    near = [
        name
        for name in others
        if matrices[name][1] in (classes, features) or matrices[name][0] == features
    ]
    if near:
        raise CheckpointError(
            f"the classifier may have several layers ({_listed([*modules, *near], matrices)}), "
            "and weights do not say which; name those that it has in their order, with commas "
            f"between them, with --head and --head-activation, or {ADVICE}"
        )


def _between(modules: Sequence[str], layers: Layers) -> HeadActivation:
    """Return what a file says is between the layers of a classifier."""
    row = modules[0].rpartition(".")[0]
    kinds = [
        layer.name
        for name, layer in layers.items()
        if name.rpartition(".")[0] == row and not _BETWEEN.match(layer.name)
    ]
    if layers and {module.rpartition(".")[0] for module in modules} == {row}:
        linear = ["Linear"] * len(modules)
        if kinds == linear:
            return "none"
        if kinds == [kind for one in linear for kind in (one, "ReLU")][:-1]:
            return "relu"
    raise CheckpointError(
        f"the classifier has several layers ({', '.join(map(plain, modules[:_SHOWN]))}), and "
        "weights do not say what is between them; say it with --head-activation relu or none, "
        f"or {ADVICE}"
    )


def _listed(
    names: Sequence[str], matrices: Mapping[str, tuple[int, ...]], most: int = _SHOWN
) -> str:
    shown = [f"{plain(name)} {matrices[name][0]}x{matrices[name][1]}" for name in names[:most]]
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more
