"""The parameters that stand in a file beside a network and its classifier.

Training scripts keep losses, metrics and counters there, which no answer depends on; but also what
may be computed with, such as a temperature. Nothing of it is left out in silence.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from r2p_edge.export.checkpoints.heads import LEAVES, Head
from r2p_edge.export.checkpoints.matching import COUNTER, Arrays, Fit
from r2p_edge.spec.checks import plain, some_of

# Names of losses and metrics (Lightning, torchmetrics, pytorch-metric-learning), of which a
# network's scores are no function.
_TRAINING = re.compile(
    r"(?i)(.*[._])?(criterion|criteria|\w*loss(es|_fn|_func)?|\w*metrics?|center_?loss|(train|val|"
    r"valid|test)_?(acc|accuracy|top\d|f1\w*|auroc|map|precision|recall|cm|conf\w*)|confmat)"
    r"([._].*)?"
)
_NORMALISING = re.compile(r"(?i)(.*[._])?(mean|std|var)")  # of pixels, where it has three numbers
_SHOWN = 4


class Beside(NamedTuple):
    """The parameters of a file that are neither the network's nor the classifier's.

    Attributes:
        foreign: those that may well be part of the network.
        left_out: those that are left out.
        doubtful: those of the latter that the scores may depend on.
    """

    foreign: list[str]
    left_out: list[str]
    doubtful: list[str]


def beside(parameters: Arrays, head: Head, fit: Fit) -> Beside:
    """Sort what a file has beside its network.

    Losses, metrics and counters are left out; single numbers and one for each class too, and
    whatever is outside the module that contains both network and classifier, but with a doubt.
    """
    used = {*fit.names.values(), *(f"{name}.{leaf}" for name in head.modules for leaf in LEAVES)}
    classes = parameters[f"{head.modules[-1]}.weight"].shape[:1] if head.modules else ()
    enclosed = fit.prefix and all(name.startswith(fit.prefix) for name in head.modules)
    found = Beside([], [], [])
    for name, array in parameters.items():
        module, _, _ = name.rpartition(".")
        if name in used or name.endswith(COUNTER) or module in head.left_out:
            continue
        small = array.ndim <= 1 and (array.size == 1 or array.shape == classes)
        outside = enclosed and not name.startswith(fit.prefix)
        if _TRAINING.fullmatch(name) or (small and not np.issubdtype(array.dtype, np.floating)):
            found.left_out.append(name)
        elif (small or outside) and not (array.size == 3 and _NORMALISING.fullmatch(name)):
            found.left_out.append(name)
            found.doubtful.append(name)
        else:
            found.foreign.append(name)
    return found


def beside_doubt(found: Beside) -> str | None:
    """Return what speaks against leaving it out, as a sentence; None for nothing."""
    if not found.doubtful:
        return None
    some = some_of([plain(name) for name in found.doubtful], _SHOWN)
    return (
        f"the file has {some} beside the network, which is left out: if the scores are computed "
        "with it they will be wrong; settle it with --golden FILE.npz, or export the whole with "
        "--module FILE:FACTORY"
    )
