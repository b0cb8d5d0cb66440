"""Fine-tuning of a small network on classes that differ in one simple way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import SMALL, random_parameters, spec_for
from requirements import needs

from r2p_edge.calibration.matching import Video
from r2p_edge.errors import UsageError

pytestmark = [needs("torch"), needs("safetensors")]

CLASSES = ("one", "two", "three")


def sets(count=24, held_out=12, soft=None, seed=0):
    """Views of noise about a mean for each class, 3 of each video, and one of those held out."""
    from r2p_edge.training.tune import Sets
    from r2p_edge.training.views import Views

    rng = np.random.default_rng(seed)

    def views(number, each):
        labels = np.arange(number) % len(CLASSES)
        means = np.linspace(-1, 1, len(CLASSES))[labels][:, None, None, None, None, None]
        inputs = means + rng.normal(0, 1, (number, each, 3, 4, 16, 16))
        videos = [
            Video(Path(f"{n}.mp4"), f"{CLASSES[label]}/{n}.mp4", CLASSES[label])
            for n, label in enumerate(labels)
        ]
        return Views(tuple(videos), inputs.astype(np.float16), {})

    return Sets(views(count, 3), views(held_out, 1) if held_out else None, CLASSES, soft or {})


@pytest.fixture
def tuned(tmp_path):
    """A function that fine-tunes a new network; returns it, its epochs and the state's file."""
    import torch
    from safetensors.numpy import save_file

    from r2p_edge.training.files import open_trainable
    from r2p_edge.training.recipe import Recipe
    from r2p_edge.training.state import TrainingState
    from r2p_edge.training.tune import fine_tune

    save_file(random_parameters(**SMALL), tmp_path / "net.safetensors")

    def run(given=None, *, resume=False, report=lambda epoch: None, state="state.pt", **settings):
        recipe = Recipe(**{"first": "layer4", "epochs": 3, "batch": 8, "patience": 9, **settings})
        spec = spec_for(SMALL["classes"], name="net")
        trained = open_trainable(tmp_path / "net.safetensors", spec=spec, dropout=recipe.dropout)
        torch.manual_seed(0)
        trained.network.replace_classifier(len(CLASSES))
        given = given or sets()
        lower = trained.network
        with torch.inference_mode():
            made = [
                None
                if views is None
                else views._replace(
                    inputs=np.stack(
                        [
                            lower(torch.from_numpy(each.astype(np.float32)), recipe.lower).numpy()
                            for each in views.inputs
                        ]
                    )
                )
                for views in given[:2]
            ]
        kept = TrainingState(tmp_path / state, recipe.to_dict(), resume=resume)
        epochs = fine_tune(
            trained,
            given._replace(train=made[0], held_out=made[1]),
            recipe,
            device=torch.device("cpu"),
            state=kept,
            report=report,
        )
        return trained.network, epochs

    return run


def test_the_classifier_alone_learns_them(tuned):
    _, (only,) = tuned(epochs=0)
    assert only.number == 0
    assert only.judged.total == 12
    assert only.judged.right >= 9  # of three classes; noise is as strong as what tells them apart


def test_only_the_upper_sections_change(tuned, tmp_path):
    before = random_parameters(**SMALL)
    network, epochs = tuned(first="layer3", held_out=0.2, rate=1e-2)
    assert len(epochs) == 4
    changed = {
        name.split(".")[0]
        for name, value in network.state_dict().items()
        if name in before
        and not name.startswith("fc.")
        and not np.array_equal(value.numpy(), before[name])
    }
    assert changed <= {"layer3", "layer4"}
    statistics = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert all(
        np.array_equal(network.state_dict()[name].numpy(), before[name]) for name in statistics
    )


def test_training_lowers_the_loss_on_what_it_sees(tuned):
    _, epochs = tuned(sets(held_out=0), first="layer2", epochs=6, dropout=0.0, views=1)
    assert epochs[-1].loss < epochs[1].loss
    assert all(epoch.judged is None for epoch in epochs)


def test_the_result_is_the_best_epoch(tuned):
    import torch

    seen = []
    network, epochs = tuned(rate=3.0, epochs=4, report=seen.append)  # a rate that spoils it
    assert seen == epochs
    best = min(epochs, key=lambda epoch: epoch.judged.loss)
    assert best.number == 0
    alone, _ = tuned(epochs=0, state="other.pt")
    found, wanted = network.state_dict(), alone.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_it_ends_where_nothing_gets_better(tuned):
    _, epochs = tuned(rate=3.0, epochs=20, patience=2)
    assert len(epochs) == 3


class StoppedError(Exception):
    """A run ends here."""


def stopping_after(number):
    """Return a report of epochs that ends the run behind one."""

    def report(epoch):
        if epoch.number == number:
            raise StoppedError

    return report


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tuned):
    import torch

    whole, epochs = tuned(epochs=4)
    with pytest.raises(StoppedError):
        tuned(epochs=4, report=stopping_after(2), state="stopped.pt")
    with pytest.raises(UsageError, match="go on from it"):
        tuned(epochs=4, state="stopped.pt")
    with pytest.raises(UsageError, match="with another rate; give the same options"):
        tuned(epochs=4, state="stopped.pt", resume=True, rate=0.5)
    again, rest = tuned(epochs=4, state="stopped.pt", resume=True)
    assert [epoch[:3] for epoch in rest[1:]] == [epoch[:3] for epoch in epochs[1:]]
    found, wanted = again.state_dict(), whole.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_soft_labels_pull_the_scores_to_the_teachers(tuned):
    import torch

    hard = sets(held_out=0)
    names = [video.name for video in hard.train.videos]
    unsure = {name: np.array([0.4, 0.3, 0.3], np.float32) for name in names}
    options = {"epochs": 8, "rate": 1e-2, "dropout": 0.0}
    one, _ = tuned(hard, **options)
    other, _ = tuned(hard._replace(soft=unsure), teacher_share=0.95, state="other.pt", **options)
    x = torch.from_numpy(hard.train.inputs[:12, 0].astype(np.float32))
    with torch.inference_mode():
        scores = [network(x).softmax(1).max(1).values.mean() for network in (one, other)]
    assert scores[1] < scores[0] - 0.1


@pytest.mark.long
@needs("nncf")
# NNCF leaves the thread open in which it loads its extension.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_rounding_of_int8_is_felt_and_not_saved(tuned):
    import torch

    aware = {"quantisation_aware": True, "epochs": 2}
    plain, _ = tuned(epochs=2, state="plain.pt")
    found, epochs = tuned(**aware)
    assert found.state_dict().keys() == plain.state_dict().keys()
    weights = found.get_parameter("layer4.0.conv1.conv1.weight")
    assert weights.detach().unique().numel() > 256  # floating-point numbers
    assert not torch.equal(weights, plain.get_parameter("layer4.0.conv1.conv1.weight"))
    with pytest.raises(StoppedError):
        tuned(**aware, report=stopping_after(1), state="stopped.pt")
    again, rest = tuned(**aware, state="stopped.pt", resume=True)
    assert [epoch[:3] for epoch in rest[1:]] == [epoch[:3] for epoch in epochs[1:]]
    for name, value in again.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name


@pytest.mark.parametrize(
    "setting",
    [
        {"first": "layer5"},
        {"epochs": -1},
        {"batch": 0},
        {"rate": 0.0},
        {"held_out": 1.0},
        {"temperature": float("nan")},
        {"weight_decay": 1.0},
        {"dropout": -0.1},
    ],
)
def test_impossible_settings(setting):
    from r2p_edge.training.recipe import Recipe

    with pytest.raises(UsageError, match=next(iter(setting))):
        Recipe(**setting)


def test_rates_by_section():
    from r2p_edge.training.recipe import Recipe

    recipe = Recipe(first="layer3", rate=1e-3, backbone=0.1, decay=0.5)
    assert recipe.rates() == pytest.approx({"layer3": 5e-5, "layer4": 1e-4, "head": 1e-3})
    assert recipe.lower == ("stem", "layer1", "layer2")
    assert Recipe(first="head").rates() == {"head": 1e-3}
