"""Parameters beside a network are left out in the open, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import renamed, to_torchvision
from networks import SMALL, random_parameters

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.dialects import canonical_parameters


def network(prefix: str = "") -> dict[str, np.ndarray]:
    return renamed(to_torchvision(random_parameters(**SMALL)), (r"^", prefix))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("criterion.weight", (7,)),
        ("criterion.centers", (7, 24)),
        ("center_loss.centers", (7, 24)),
        ("val_acc.confmat", (7, 7)),
        ("train_metrics.MulticlassF1Score.tp", (7,)),
    ],
)
@pytest.mark.parametrize("prefix", ["", "net."])
def test_losses_and_metrics_are_left_out(prefix, name, shape):
    named = canonical_parameters(network(prefix) | {name: np.zeros(shape, np.float32)})
    assert named.record()["left_out"] == [name]
    assert named.doubts == ()


def test_counters_are_left_out():
    named = canonical_parameters(network() | {"n_averaged": np.array(3)})
    assert (named.record(), named.doubts) == ({"left_out": ["n_averaged"]}, ())


@pytest.mark.parametrize(
    ("name", "shape"), [("temperature", (1,)), ("logit_scale", ()), ("prior", (7,))]
)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_what_scores_may_depend_on_is_doubted(prefix, name, shape):
    named = canonical_parameters(network(prefix) | {name: np.ones(shape, np.float32)})
    assert named.record() == {"left_out": [name]}
    (found,) = named.doubts
    assert f"the file has {name} beside the network, which is left out" in found


def test_what_is_outside_of_the_network_is_doubted():
    queue = {"queue": np.zeros((24, 40), np.float32)}
    named = canonical_parameters(network("net.") | queue)
    assert named.record() == {"left_out": ["queue"]}
    assert "the file has queue beside the network" in named.doubts[0]
    with pytest.raises(CheckpointError, match="queue is left over"):
        canonical_parameters(network() | queue)
    split = renamed(network("net."), (r"^net\.fc", "fc"))
    with pytest.raises(CheckpointError, match="queue is left over"):
        canonical_parameters(split | queue)


@pytest.mark.parametrize("prefix", ["", "net."])
@pytest.mark.parametrize("shape", [(3,), (1, 3, 1, 1, 1)])
def test_a_normalisation_is_never_left_out(prefix, shape):
    pixels = {name: np.ones(shape, np.float32) for name in ("mean", "std")}
    with pytest.raises(CheckpointError, match="mean, std are left over"):
        canonical_parameters(network(prefix) | pixels)


def test_a_network_that_was_never_trained():
    parameters = network()
    assert not canonical_parameters(parameters).untrained()
    for name, array in parameters.items():
        if "running" in name:
            array[...] = name.endswith("var")
    assert canonical_parameters(parameters).untrained()
