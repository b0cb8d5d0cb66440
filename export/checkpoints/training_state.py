"""Names under which MindSpore stores training state beside a network's parameters.

They come from MindSpore 2.10: nn/optim, nn/wrap/loss_scale.py and train/callback/_checkpoint.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection

# Optimisers keep copies of each parameter under a prefix, and counters.
_COPIES = re.compile(
    r"(?:(?:accum|accum_update|stat|moment|moments|moment1|moment2|vhat|adam_m|adam_v|lamb_m|lamb_v"
    r"|mean_grad|mean_square|linear|prev|step_size|exp_avg|ax_)\."
    r"|(?:mu|eta|exp_avg_sq|exp_avg_sq_row|exp_avg_sq_col)_)(?P<parameter>.+)"
)
_COUNTERS = re.compile(
    r"learning_rate(_group_\d+)?|momentum|global_step|beta[12]_power|scale_sense|afactor_step"
    r"|cov_step|current_iterator_step|last_overflow_iterator_step|epoch_num|step_num"
)


def is_training_state(name: str) -> bool:
    """Tell whether a name is one that an optimiser or training wrapper gives, of whatever."""
    return bool(_COUNTERS.fullmatch(name) or _COPIES.fullmatch(name))


def training_state(names: Collection[str]) -> set[str]:
    """Return those of the names that MindSpore's optimisers and training wrappers added.

    A prefixed name counts only if the parameter that it copies is there too: a network may well
    call a layer of its own `linear` or `moments`.
    """
    found = set()
    for name in names:
        copy = _COPIES.fullmatch(name)
        if _COUNTERS.fullmatch(name) or (copy and copy["parameter"] in names):
            found.add(name)
    return found
