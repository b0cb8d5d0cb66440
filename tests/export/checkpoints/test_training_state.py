"""Training state in MindSpore's checkpoints."""

from __future__ import annotations

from r2p_edge.export.checkpoints.training_state import training_state


def test_training_state_goes_only_with_the_parameter_it_copies() -> None:
    names = {"linear.weight", "linear.linear.weight", "accum.linear.weight", "accum.other.weight"}
    assert training_state(names) == {"linear.linear.weight", "accum.linear.weight"}
