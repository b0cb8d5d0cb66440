"""Weights in parts, as PyTorch's own norms and pruning store them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from requirements import needs

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.folding import folded


def pruned(conv: Any, utils: Any) -> None:
    utils.prune.random_unstructured(conv, "weight", 0.5)
    utils.prune.random_unstructured(conv, "bias", 0.5)


STORED = {
    "pruned": pruned,
    "spectral norm": lambda conv, utils: utils.spectral_norm(conv),
    "spectral norm, parametrized": lambda c, utils: utils.parametrizations.spectral_norm(c),
    "weight norm": lambda conv, utils: utils.weight_norm(conv),
    "weight norm of the whole": lambda conv, utils: utils.weight_norm(conv, dim=None),
    "weight norm of columns": lambda conv, utils: utils.weight_norm(conv, dim=1),
    "weight norm, parametrized": lambda conv, utils: utils.parametrizations.weight_norm(conv),
}


@needs("torch")
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*spectral_norm:FutureWarning")
@pytest.mark.parametrize("stored", STORED)
def test_what_pytorch_stores_in_parts(stored):
    import torch
    import torch.nn.utils.parametrizations
    import torch.nn.utils.prune

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(3, 5, (1, 3, 3)), torch.nn.Conv3d(5, 2, 1))
    STORED[stored](network[0], torch.nn.utils)
    with torch.no_grad():
        network(torch.ones(1, 3, 2, 5, 5))  # one step of the power iteration, as in training
        network.eval()
        network(torch.ones(1, 3, 2, 5, 5))
    found = folded({name: value.numpy() for name, value in network.state_dict().items()})
    assert set(found) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for name, value in found.items():
        module, leaf = network[int(name[0])], name[2:]
        want = getattr(module, leaf).detach().numpy()
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, want, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(
    "shapes",
    [
        {"a.weight_orig": (2, 3)},
        {"a.weight_orig": (2, 3), "a.weight_mask": (2, 2)},
        {"a.weight_orig": (2, 3), "a.weight_u": (2,)},
        {"a.weight_orig": (2, 3), "a.weight_u": (2,), "a.weight_v": (9,)},
        {"a.weight_orig": (2, 3), "a.weight_mask": (2, 3), "a.weight_u": (2,)},
        {"a.weight_g": (2, 3), "a.weight_v": (2, 4)},
        {"a.weight_g": (2,), "a.weight_v": (2, 4)},
        {"a.parametrizations.weight.original": (2, 3)},
        {"a.parametrizations.weight.original": (2, 3), "a.parametrizations.weight.0.base": (2, 3)},
    ],
)
def test_parts_of_another_thing_are_named(shapes):
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    message = r"a\.weight is stored in parts that make no weight \((.*)\); remove the norm"
    with pytest.raises(CheckpointError, match=message) as caught:
        folded(arrays)
    assert all(name in str(caught.value) for name in shapes)


def test_whole_arrays_stay_as_they_are():
    arrays = {name: np.ones(3) for name in ("weight_g", "a.weight", "a.u", "b.parametrizations")}
    assert all(folded(arrays)[name] is array for name, array in arrays.items())
