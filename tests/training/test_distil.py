"""Distillation of a small network: what it learns from, that it goes on, and how it ends."""

from __future__ import annotations

import numpy as np
import pytest
from networks import SMALL, network_of, random_parameters
from requirements import needs

from r2p_edge.calibration.causal_material import CausalMaterial
from r2p_edge.errors import BackendError, ModelError, UsageError

pytestmark = [needs("torch"), needs("onnxruntime")]

FRAMES, TICKS = 8, 60


@pytest.fixture(scope="module")
def material():
    """Features whose level says which class the clip model answers."""
    rng = np.random.default_rng(0)
    classes = np.repeat(rng.integers(0, 3, 6), 10)
    features = rng.normal(0, 0.3, (TICKS, 12, 4, 4)) + classes[:, None, None, None]
    ends = np.arange(FRAMES - 1, TICKS, 2)
    answers = np.full((len(ends), SMALL["classes"]), -4.0)
    answers[np.arange(len(ends)), classes[ends]] = 4
    return CausalMaterial(features.astype(np.float16), ends, answers.astype(np.float32), {})


def recipe(**changes):
    from r2p_edge.training.distil import DistilRecipe

    values = {"stages": 2, "steps": 12, "ticks": 24, "kept": 4, "rate": 2e-3, **changes}
    return DistilRecipe(**values)


def run(material, settings, path, *, resume=False, report=lambda _: None):
    import torch

    from r2p_edge.training.causal import SemiCausalNetwork
    from r2p_edge.training.distil import Sequences, distil
    from r2p_edge.training.state import TrainingState

    torch.set_num_threads(1)
    parameters = random_parameters(**SMALL)
    network = SemiCausalNetwork(parameters, network_of(parameters), settings.stages)
    state = TrainingState(path, settings.to_dict(), resume=resume)
    sequences = Sequences(material, settings, FRAMES)
    steps = distil(
        network, sequences, settings, device=torch.device("cpu"), state=state, report=report
    )
    return network, steps


def test_it_learns_the_answers_of_the_clip_model(material, tmp_path):
    _, steps = run(material, recipe(steps=40), tmp_path / "state.pt")
    losses = [step.loss for step in steps]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert np.mean([step.agreement for step in steps[-5:]]) > 0.8


class PowerCutError(Exception):
    """The end of a run in its middle."""


def test_it_goes_on_after_a_power_cut_as_if_there_had_been_none(material, tmp_path):
    whole, _ = run(material, recipe(), tmp_path / "whole.pt")

    def cut(step):
        if step.number == 6:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        run(material, recipe(), tmp_path / "cut.pt", report=cut)
    with pytest.raises(UsageError, match="--resume"):
        run(material, recipe(), tmp_path / "cut.pt")
    with pytest.raises(UsageError, match="another rate"):
        run(material, recipe(rate=1e-3), tmp_path / "cut.pt", resume=True)
    again, steps = run(material, recipe(), tmp_path / "cut.pt", resume=True)
    assert [step.number for step in steps] == list(range(1, 13))
    for name, value in whole.constants().items():
        assert np.array_equal(value, again.constants()[name]), name


def test_a_rate_that_diverges_is_told(material, tmp_path):
    settings = recipe(rate=50.0, steps=60, longest_gradient=1e6)
    with pytest.raises(ModelError, match=r"diverges; begin anew with a lower --rate"):
        run(material, settings, tmp_path / "state.pt")


def test_the_answer_that_is_trained_is_that_of_its_window(material):
    from r2p_edge.training.distil import Sequences

    for wait in (0, 3):
        settings = recipe(wait=wait)
        sequences = Sequences(material, settings, FRAMES)
        for seed in range(5):
            x, places, shares = sequences.draw(np.random.default_rng(seed))
            assert x.shape == (1, 12, 24, 4, 4)
            start = next(
                tick
                for tick in range(TICKS)
                if np.array_equal(x[0, :, 0].numpy(), material.features[tick].astype(np.float32))
            )
            ends = places - wait + start
            assert set(ends) <= set(material.ends)
            assert (ends - FRAMES + 1 >= start).all()
            assert places.max() < 24
            wanted = material.answers[np.searchsorted(material.ends, ends)]
            assert np.array_equal(shares.argmax(1).numpy(), wanted.argmax(1))
            assert np.allclose(shares.sum(1), 1)


def test_recordings_that_are_too_short(material):
    from r2p_edge.training.distil import Sequences

    short = material._replace(features=material.features[:20])
    with pytest.raises(UsageError, match="have 20 ticks, and no window lies within 24"):
        Sequences(short, recipe(), FRAMES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": 3}, "stages is 3"),
        ({"wait": -1}, "wait is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"weight_decay": 1}, "weight_decay is 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_are_impossible(changes, message):
    with pytest.raises(UsageError, match=message):
        recipe(**changes)


def test_material_is_computed_once(material, tmp_path):
    from r2p_edge.training.kept_material import kept_material, remove_material

    calls = []

    def compute(file):
        calls.append(1)
        file.write(material.features.tobytes())
        return material._replace(features=np.empty((0, 12, 4, 4), np.float16))

    for _ in range(2):
        found = kept_material(tmp_path, {"stages": 2}, compute)
        for name in ("features", "ends", "answers"):
            assert np.array_equal(getattr(found, name), getattr(material, name))
    kept_material(tmp_path, {"stages": 1}, compute)
    assert len(calls) == 2
    del found
    remove_material(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.parametrize("end", [".features", ".npz"])
def test_material_that_is_damaged_is_computed_again(material, tmp_path, end):
    from r2p_edge.training.kept_material import kept_material

    def compute(file):
        file.write(material.features.tobytes())
        return material._replace(features=np.empty((0, 12, 4, 4), np.float16))

    kept_material(tmp_path, {}, compute)
    (path,) = tmp_path.glob(f"*{end}")
    for damage in (lambda: path.write_bytes(path.read_bytes()[:-300]), path.unlink):
        damage()
        again = kept_material(tmp_path, {}, compute)
        assert np.array_equal(again.features, material.features)
        assert np.array_equal(again.ends, material.ends)


@pytest.mark.parametrize("content", [b"", b"PK", b"no state"])
def test_a_state_that_is_damaged_is_told(tmp_path, content):
    from r2p_edge.training.state import TrainingState

    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"damaged, or no state of a training \(\w+\); remove it"):
        TrainingState(path, {}, resume=True)


def test_a_device_that_is_missing_is_told(monkeypatch):
    import torch

    from r2p_edge.training.device import training_device

    for there, default in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert training_device().type == default
        assert training_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="finds no GPU of CUDA"):
        training_device("cuda")
