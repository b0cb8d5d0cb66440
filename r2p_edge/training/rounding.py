"""Quantisation-aware training: the rounding of int8 in the forward pass, by NNCF.

The weights stay floating-point numbers, and it is they that are saved: what is exported is
calibrated and rounded as every model is, and suffers less from it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from r2p_edge._optional import import_library
from r2p_edge.training.network import UpperSections


def with_rounding(sections: UpperSections, inputs: Sequence[Tensor]) -> UpperSections:
    """Return a copy of a network's sections, with weights and activations rounded as in int8.

    Args:
        sections: in evaluation mode.
        inputs: what they take, from which the ranges of activations follow, which then stay.

    Raises:
        MissingDependencyError: NNCF is not installed.
    """
    # It compiles an extension at first, and gives up after a minute, which slow machines need.
    os.environ.setdefault("NNCF_EXTENSION_LOAD_TIMEOUT", "0")
    nncf = import_library("nncf", "run: pip install nncf")
    with torch.no_grad():
        rounded: UpperSections = nncf.quantize(sections, nncf.Dataset(inputs)).eval()
    return rounded
