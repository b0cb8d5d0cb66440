"""The choice among families of the same names and shapes, which compute different things."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from r2p_edge.errors import CheckpointError, UsageError, similar_name
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.families import FAMILIES, Family
from r2p_edge.export.checkpoints.layers import Layers, eps_of, pools_of
from r2p_edge.export.checkpoints.matching import Fit
from r2p_edge.spec.checks import plain


class Evidence:
    """Hints that the layers of a file give of its family; none, where it has parameters alone.

    Attributes:
        pools: max pools by name; None if they are not known.
        eps: epsilons of batch norms by name, of those that are known.
        whole: True if nothing is left to choose.

    Raises:
        CheckpointError: they cannot be those of any.
    """

    def __init__(self, fit: Fit, layers: Layers) -> None:
        self.pools = pools_of(layers, fit.layout.idle) if layers else None
        norms = [
            name.rpartition(".")[0]
            for canonical, name in fit.names.items()
            if canonical.endswith(".running_var")
        ]
        found = {name: eps_of(name, layers[name]) for name in norms if name in layers}
        self.eps = {name: eps for name, eps in found.items() if eps is not None}
        self.whole = self.pools is not None and len(self.eps) == len(norms)

    def allows(self, family: Family) -> bool:
        """Tell whether the pools are the family's."""
        wanted = [] if family.pool is None else [family.pool]
        return self.pools is None or list(self.pools.values()) == wanted

    def agrees(self, family: Family) -> bool:
        """Tell whether the epsilons are the family's."""
        inner = family.eps if family.inner_eps is None else family.inner_eps
        return set(self.eps.values()) == {family.eps, inner}

    def check_eps(self, bn_eps: float | None) -> None:
        """Make sure that the caller does not contradict the file.

        Raises:
            CheckpointError: the file has another epsilon.
        """
        for name, eps in self.eps.items():
            if bn_eps is not None and eps != bn_eps:
                raise CheckpointError(
                    f"the file itself says that the epsilon of {plain(name)} is {eps:g}, and "
                    f"bn_eps is {bn_eps:g}; leave bn_eps (--bn-eps) out"
                )


def choose_family(
    fitting: Sequence[Family],
    evidence: Evidence,
    *,
    name: str | None = None,
    bn_eps: float | None = None,
    hints: Collection[str] = (),
) -> tuple[Family, str | None]:
    """Return the family, and what decided where several fit that compute different things.

    Args:
        fitting: families of the names and shapes.
        evidence: what the file says of its layers; decides first.
        name: family that the caller chose.
        bn_eps: epsilon that the caller knows.
        hints: families that a preset is for.

    Raises:
        UsageError: there is no family of that name.
        CheckpointError: none of them fits what is known, or several do.
    """
    if name is not None and name not in FAMILIES:
        raise UsageError(
            f"there is no family {name}; {similar_name(name, FAMILIES)}choose one of "
            f"{', '.join(FAMILIES)}"
        )
    if name is not None and FAMILIES[name] not in fitting:
        raise CheckpointError(
            f"the parameters are not those of family {name} but of "
            f"{_names(fitting)}; leave --family out, or correct it"
        )
    chosen = fitting if name is None else [FAMILIES[name]]
    allowed = [family for family in chosen if evidence.allows(family)]
    if not allowed:
        pools = [f"{plain(own)} of {pool.kernel}" for own, pool in (evidence.pools or {}).items()]
        raise CheckpointError(
            f"the names are those of {_names(chosen)}, but the file has "
            f"{', '.join(pools) or 'none'} for a max pool, and that family "
            f"{_pool(chosen[0])}; {ADVICE}"
        )
    evidence.check_eps(bn_eps)
    if name is not None:
        return allowed[0], "--family"
    if _distinct(fitting) == 1:
        return allowed[0], None
    if evidence.whole:
        return next(filter(evidence.agrees, allowed), allowed[0]), "layers"
    if bn_eps is not None:
        allowed = [family for family in allowed if family.eps == bn_eps] or allowed
        if len({family.pool for family in allowed}) == 1:
            return allowed[0], "--bn-eps"
    hinted = [family for family in allowed if family.name in hints]
    if len(hinted) == 1:
        return hinted[0], "preset"
    if _distinct(allowed) == 1:
        return allowed[0], "layers"
    shown = "; ".join(f"{each.name}: {_described(each)}" for each in allowed)
    raise CheckpointError(
        "the names and shapes are those of several families, which compute different things, and "
        f"weights do not say which; give --family, or the preset of its training ({shown})"
    )


def _distinct(families: Sequence[Family]) -> int:
    return len({(each.eps, each.inner_eps, each.pool) for each in families})


def _names(families: Sequence[Family]) -> str:
    return " or ".join(each.name for each in families)


def _pool(family: Family) -> str:
    return f"one of {family.pool.kernel}" if family.pool else "none"


def _described(family: Family) -> str:
    pool = "a max pool after the stem" if family.pool else "no pool"
    return f"batch norms' epsilon {family.eps:g}, {pool}"
