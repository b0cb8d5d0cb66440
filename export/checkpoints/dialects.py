"""The mapping of each family's names of R(2+1)D parameters to canonical names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError, UsageError
from r2p_edge.export.checkpoints.families import FAMILIES, Family
from r2p_edge.export.checkpoints.matching import ADVICE, best_fit, families_of, find_head, left_over
from r2p_edge.spec.checks import plain

# Networks that look like an R(2+1)D and are not, by the name of a convolution in them.
_OTHERS = (
    (r"(.+\.)?layer\d\.\d+\.conv1\.0\.weight", "an R3D or MC3 (3-D convolutions)"),
    (r"(conv1|comp_\d+_conv_\d+)(_middle)?_w", "a VMZ network in Caffe2's format"),
    (r"(.+\.)?[Mm]ixed_\d[a-f]\..*\.weight", "an I3D or S3D"),
)


@dataclass(frozen=True)
class NamedParameters:
    """Parameters under their canonical names.

    Attributes:
        family: whose names they had, and which says what they do not.
        parameters: arrays by canonical name.
        names: names that they had in the file, by canonical name.
        decided: what chose among families of the same names and shapes, "--family" or "preset";
            None where there was nothing to choose.
    """

    family: Family
    parameters: dict[str, npt.NDArray[np.generic]]
    names: dict[str, str]
    decided: str | None


def canonical_parameters(
    parameters: Mapping[str, npt.NDArray[np.generic]],
    family: str | None = None,
    hints: Collection[str] = (),
) -> NamedParameters:
    """Rename parameters to their canonical names, without what surrounds the network.

    Args:
        parameters: arrays by the names in the file.
        family: name in `FAMILIES`, where several fit.
        hints: names of the families that a preset is for, which decides too if it is one of them.

    Raises:
        UsageError: there is no such family.
        CheckpointError: they are of no known family, of another one, of several, or something is
            left of them.
    """
    fit = best_fit(parameters)
    if fit is None or (fit.missing and _other(parameters)):
        raise _unknown(parameters)
    if fit.missing:
        raise CheckpointError(
            f"the parameters are named as those of {families_of(fit, parameters)[0].name}, but "
            f"{_some(fit.missing)} missing; give a whole checkpoint, or {ADVICE}"
        )
    chosen, decided = _chosen(families_of(fit, parameters), family, hints)
    head = find_head(parameters, fit)
    names = fit.names | head
    if left := left_over(parameters, head, fit):
        raise CheckpointError(
            f"the checkpoint has an R(2+1)D as named by {chosen.name}, and {_some(left)} left "
            f"over; {ADVICE}"
        )
    found = {canonical: parameters[name] for canonical, name in names.items()}
    if "fc.bias" not in found:
        found["fc.bias"] = np.zeros(found["fc.weight"].shape[0], np.float32)
    if found["fc.weight"].ndim != 2:  # a convolution of one number in time and space
        found["fc.weight"] = found["fc.weight"].reshape(found["fc.weight"].shape[:2])
    return NamedParameters(chosen, found, names, decided)


def _chosen(
    fitting: list[Family], name: str | None, hints: Collection[str]
) -> tuple[Family, str | None]:
    """Return the family, and what decided where several fit that compute different things."""
    if name is not None:
        if name not in FAMILIES:
            raise UsageError(f"there is no family {name}; choose one of {', '.join(FAMILIES)}")
        if FAMILIES[name] not in fitting:
            raise CheckpointError(
                f"the parameters are not those of family {name} but of "
                f"{' or '.join(each.name for each in fitting)}; leave --family out, or correct it"
            )
        return FAMILIES[name], "--family"
    if len({(each.eps, each.inner_eps, each.pool) for each in fitting}) == 1:
        return fitting[0], None
    hinted = [each for each in fitting if each.name in hints]
    if len(hinted) == 1:
        return hinted[0], "preset"
    shown = "; ".join(f"{each.name}: {_evidence(each)}" for each in fitting)
    raise CheckpointError(
        f"its names and shapes are those of several families, and weights do not say which "
        f"({shown}); say it with --family, or with a preset of one of them"
    )


def _evidence(family: Family) -> str:
    pool = "a max pool after the stem" if family.pool else "no pool"
    return f"batch norms' epsilon {family.eps:g}, {pool}, {family.source}"


def _unknown(parameters: Mapping[str, npt.NDArray[np.generic]]) -> CheckpointError:
    known = ", ".join(FAMILIES)
    if other := _other(parameters):
        return CheckpointError(
            f"the checkpoint is of {other}; expected an R(2+1)D as named by {known}; {ADVICE}"
        )
    some = ", ".join(map(plain, list(parameters)[:6])) or "none"
    return CheckpointError(
        f"the parameter names ({some}, ...) match no known family; expected an R(2+1)D as named "
        f"by {known}; {ADVICE}"
    )


def _other(parameters: Mapping[str, npt.NDArray[np.generic]]) -> str | None:
    """Return what other network this is, if one can tell."""
    for pattern, other in _OTHERS:
        if any(re.fullmatch(pattern, name) and a.ndim == 5 for name, a in parameters.items()):
            return other
    return None


def _some(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(plain, names[:shown])) + more + (" is" if len(names) == 1 else " are")
