"""Parameters of a checkpoint under the names of a module."""

from __future__ import annotations

import re

import numpy as np
import pytest

from r2p_edge.errors import CheckpointError
from r2p_edge.export.targets.torch_module.state import fitted_state

WANTED = {"conv.weight": (2, 3), "conv.bias": (2,), "fc.weight": (5, 2)}
STATE = {name: np.full(shape, i) for i, (name, shape) in enumerate(WANTED.items())}


def fitted(found, wanted=WANTED):
    return fitted_state(found, wanted, file="best.pth", module="net.py:Net")


@pytest.mark.parametrize(
    "before",
    ["", "module.", "model.", "net.", "backbone.", "_orig_mod.", "module.model.", "net.backbone."],
)
@pytest.mark.parametrize("inside", ["", "model.", "net.backbone."])
def test_what_wrappers_put_before_names_is_peeled(before, inside):
    found = {f"{before}{name}": each for name, each in STATE.items()}
    wanted = {f"{inside}{name}": shape for name, shape in WANTED.items()}
    assert fitted(found, wanted) == {f"{inside}{name}": each for name, each in STATE.items()}


def test_compiled_parts_and_counters():
    found = {"conv._orig_mod.weight": STATE["conv.weight"], "conv._orig_mod.bias": np.ones(2)}
    found |= {"fc.weight": STATE["fc.weight"], "n_averaged": np.array(3)}
    wanted = WANTED | {"norm.num_batches_tracked": ()}
    assert fitted(found, wanted).keys() == WANTED.keys()


def test_prefixes_that_are_names_of_the_module_stay():
    wanted = {"model.weight": (1,), "backbone.weight": (2,), "backbone.model.weight": (3,)}
    state = {name: np.zeros(shape) for name, shape in wanted.items()}
    assert fitted(state, wanted) == state
    assert fitted({f"model.{name}": each for name, each in state.items()}, wanted) == state


def test_what_does_not_fit_is_named_in_a_few_lines():
    found = {f"module.{name}": each for name, each in STATE.items()}
    found["module.fc.weight"] = np.zeros((7, 2))
    del found["module.conv.bias"]
    found |= {f"head.{i}": np.zeros(1) for i in range(9)} | {"criterion.\x1b[31m": np.zeros(1)}
    found |= {f"module.more.{i}": np.zeros(1) for i in range(12)}
    with pytest.raises(CheckpointError) as caught:
        fitted(found)
    text = str(caught.value)
    assert text.startswith("best.pth is not of net.py:Net, which has 3 parameters and buffers: ")
    assert "1 missing (conv.bias); 22 unexpected (head.0, head.1, head.2, head.3, ...)" in text
    assert "module.fc.weight (7, 2) where the module has (5, 2)" in text
    assert re.search("--args", text)
    assert len(text) < 5 * 100
    assert text.isprintable()
