"""The mapping of each family's names of parameters to canonical names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError, UsageError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.beside import beside, beside_doubt
from r2p_edge.export.checkpoints.choice import Evidence, choose_family
from r2p_edge.export.checkpoints.families import Family
from r2p_edge.export.checkpoints.folding import folded
from r2p_edge.export.checkpoints.forwards import Forward, forward_of
from r2p_edge.export.checkpoints.head_file import MODULE
from r2p_edge.export.checkpoints.heads import (
    Head,
    HeadActivation,
    bias_doubt,
    find_head,
    identity_head,
    no_head,
)
from r2p_edge.export.checkpoints.layers import Layers, check_kinds
from r2p_edge.export.checkpoints.layouts import InceptionLayout
from r2p_edge.export.checkpoints.matching import (
    best_fit,
    families_of,
    features_of,
    fits_of,
    foreign_within,
)
from r2p_edge.export.checkpoints.network import (
    identity_shortcuts,
    network_from_parameters,
    network_of,
)
from r2p_edge.export.checkpoints.others import (
    refuse_no_network,
    refuse_several,
    unknown_network,
)
from r2p_edge.export.checkpoints.structure import VideoNetwork
from r2p_edge.export.checkpoints.time_kernels import families_of_lengths, other_lengths
from r2p_edge.spec.checks import plain, some_of

_FEW = 0.1  # of a network's tensors; where more are missing, it is another one


@dataclass(frozen=True)
class NamedParameters:
    """Parameters under their canonical names.

    Attributes:
        family: whose names they had, and which says what they do not.
        parameters: arrays by canonical name.
        names: names that they had in the file, by canonical name.
        decided: what chose among families of the same names and shapes: "--family", "--bn-eps",
            "preset" or "layers", those of the file; None where there was nothing to choose.
        layers: what the file says of the layers, by canonical name.
        bn_eps: epsilon of all batch norms, if the caller says it.
        head: the classifier, by its names in the file.
        left_out: names of what stands beside the network and is not used; without matrices that
            could be classifiers, which `head` has.
        doubts: what speaks against reading the network as the family's, a sentence each.
        differs: in what the network differs from the family's that weights do not say, as a
            sentence; "" for nothing.
        file: name of the file, for errors; "" if it is not known.
        head_file: what is recorded of the classifier's own file, if it has one.
    """

    family: Family
    parameters: dict[str, npt.NDArray[np.generic]]
    names: dict[str, str]
    decided: str | None = None
    layers: Layers = field(default_factory=dict)
    bn_eps: float | None = None
    head: Head = field(default_factory=lambda: Head(()))
    left_out: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    differs: str = ""
    file: str = ""
    head_file: Mapping[str, str] | None = None

    @property
    def headless(self) -> bool:
        """True if the network ends at its features."""
        return not self.head.modules

    def network(self) -> VideoNetwork:
        """Return the network that they belong to; see `network_from_parameters`."""
        try:
            return network_from_parameters(self.parameters, self.family, self.names, self.layers)
        except CheckpointError as error:
            raise (
                CheckpointError(f"checkpoint {self.file}: {error}") if self.file else error
            ) from error

    def record(self) -> dict[str, Any]:
        """Return what an artifact's record of its source says of them."""
        record: dict[str, Any] = {}
        if self.decided is not None:
            record["dialect_by"] = self.decided
        if self.bn_eps is not None:
            record["bn_eps"] = self.bn_eps
        if self.layers:
            record["layers_by"] = "file"
        if len(self.head.modules) > 1:
            record["head_activation"] = self.head.activation
        if self.head_file is not None:
            record["head_file"] = dict(self.head_file)
        if self.head.left_out:
            record["head"] = list(self.head.modules)
        if left_out := [*self.head.left_out, *self.left_out]:
            record["left_out"] = left_out
        return record

    def untrained(self) -> bool:
        """Tell whether all batch norms have the statistics that a new network begins with."""
        return all(
            not array.any() if name.endswith(".running_mean") else bool((array == 1).all())
            for name, array in self.parameters.items()
            if name.endswith((".running_mean", ".running_var"))
        )


def canonical_parameters(
    parameters: Mapping[str, npt.NDArray[np.generic]],
    family: str | None = None,
    hints: Collection[str] = (),
    *,
    layers: Layers | None = None,
    bn_eps: float | None = None,
    head: str | None = None,
    head_activation: HeadActivation | None = None,
) -> NamedParameters:
    """Rename parameters to their canonical names, without what surrounds the network.

    Args:
        parameters: arrays by the names in the file.
        family: name in `FAMILIES`, where several fit.
        hints: names of the families that a preset is for, which decides too if it is one of them.
        layers: what the file says of its layers, which decides first.
        bn_eps: epsilon of all batch norms, in place of the family's.
        head, head_activation: the classifier and what is between its layers; see `find_head`.

    Raises:
        UsageError: there is no such family or classifier, or `bn_eps` is not positive.
        CheckpointError: they are of no known family, of another one, of several, something is
            left of them, or the file's layers are not those of the family.
    """
    layers, parameters = layers or {}, folded(parameters)
    if bn_eps is not None and not 0 < bn_eps < 1:
        raise UsageError(
            f"bn_eps is {bn_eps}; it must be between 0 and 1, such as 1e-5 (PyTorch) or 1e-3"
        )
    fits = fits_of(parameters)
    fit = best_fit(fits)
    refuse_no_network(parameters, whole=fit is not None and not fit.missing)
    if fit is None or len(fit.missing) > _FEW * (len(fit.names) + len(fit.missing)):
        raise unknown_network(parameters, fit)
    refuse_several(parameters, fits)
    fitting = families_of(fit, parameters)
    own_names, kind = fitting[0].name, fitting[0].network
    if fit.missing:
        whole, inside = len(fit.names) + len(fit.missing), foreign_within(fit, parameters)
        if others := _rebuilt(fit.missing, inside):
            raise CheckpointError(
                f"{_listed(others)} in the network {'has' if len(others) == 1 else 'have'} other "
                f"layers than in an {kind} as {own_names} names it ({_listed(inside)}), as where "
                f"a pool stands before the convolution of a shortcut (ResNet-D); {ADVICE}"
            )
        raise CheckpointError(
            f"the network is an {kind} as {own_names} names it that lacks {len(fit.missing)} of "
            f"its {whole} tensors: {_listed(fit.missing)}"
            + (f", and has {_listed(inside)} in it" if inside else "")
            + "; save the whole network again (model.state_dict())"
        )
    if foreign := foreign_within(fit, parameters):
        raise CheckpointError(
            f"{_some(foreign)} within the network and not part of an {kind} as "
            f"{own_names} names it; {ADVICE}"
        )
    if layers and isinstance(fit.layout, InceptionLayout):
        raise CheckpointError(
            f"the file is a whole module or program of an {kind}, of which only weights are read; "
            f"save model.state_dict(), or {ADVICE}"
        )
    check_kinds(layers)
    fitting = families_of_lengths(fitting, fit, parameters)
    evidence = Evidence(fit, layers)
    chosen, decided = choose_family(fitting, evidence, name=family, bn_eps=bn_eps, hints=hints)
    if bn_eps is not None:
        chosen = replace(chosen, eps=bn_eps, inner_eps=None)
    if chosen.headless and head != MODULE:
        classifier = no_head(parameters, fit, chosen.network)
    else:
        classifier = find_head(
            parameters, fit, chosen=head, activation=head_activation, layers=layers
        )
    rest = beside(parameters, classifier, fit)
    if rest.foreign:
        raise CheckpointError(
            f"the checkpoint has an {kind} as named by {chosen.name}, and {_some(rest.foreign)} "
            f"left over; {ADVICE}"
        )
    own, head_names = classifier.parameters(parameters)
    if not classifier.modules:
        own = identity_head(features_of(fit, parameters))
    names = fit.names | head_names
    found = {canonical: parameters[name] for canonical, name in fit.names.items()} | own
    found |= identity_shortcuts(found, chosen)
    known = {
        canonical.rpartition(".")[0]: layers[module]
        for canonical, name in names.items()
        if (module := name.rpartition(".")[0]) in layers
    }
    forward = Forward([])
    if layers:
        network = network_of(found, chosen, names, known)
        forward = forward_of(layers, fit, chosen, network, names, classifier)
    lengths = other_lengths(found, chosen, names, known)
    doubts = [
        *forward.doubts,
        lengths.blocks,
        bias_doubt(classifier, parameters, layers),
        beside_doubt(rest),
    ]
    return NamedParameters(
        chosen,
        found,
        names,
        decided,
        known,
        bn_eps,
        classifier,
        tuple(rest.left_out),
        tuple(doubt for doubt in doubts if doubt is not None),
        forward.differs or lengths.stem,
    )


def _rebuilt(missing: list[str], inside: list[str]) -> list[str]:
    """Return the modules whose layers are others, if all that is missing is of these."""
    absent, present = ({name.rpartition(".")[0] for name in names} for names in (missing, inside))
    around, found = ({name.rpartition(".")[0] for name in names} for names in (absent, present))
    return [] if absent & present else sorted(around) if around <= found else []


def _some(names: list[str]) -> str:
    return _listed(names) + (" is" if len(names) == 1 else " are")


def _listed(names: list[str], shown: int = 3) -> str:
    return some_of([plain(name) for name in names], shown)
