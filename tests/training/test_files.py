"""Checkpoints that are trained further: read, written, and exported again without options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import mindspore_names, to_torchvision, write_mindspore_ckpt
from networks import SMALL, random_parameters, small_network, spec_for
from requirements import needs

from r2p_edge.calibration.learnt import LearntVideos
from r2p_edge.calibration.matching import Video
from r2p_edge.errors import CheckpointError, OutputError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.spec import ModelSpec

pytestmark = [needs("torch"), needs("safetensors")]

SPEC = spec_for(SMALL["classes"], name="net")


def torch_file(path: Path, parameters: dict[str, np.ndarray]) -> Path:
    import torch

    torch.save({name: torch.from_numpy(value) for name, value in parameters.items()}, path)
    return path


@pytest.fixture(params=["torchvision", "mindspore", "canonical"])
def checkpoint(request, tmp_path):
    """A checkpoint of a small network, under the names of a family."""
    parameters = random_parameters(**SMALL)
    if request.param == "mindspore":
        return write_mindspore_ckpt(tmp_path / "net.ckpt", mindspore_names(parameters))
    if request.param == "torchvision":
        parameters = to_torchvision(parameters)
    return torch_file(tmp_path / "net.pth", parameters)


def exported(path: Path, out: Path) -> ModelSpec:
    """Export a file to ONNX without further options; return the spec of the artifact."""
    (built,) = build(path, targets=["onnx"], out=out).built
    return built.spec


@needs("onnx")
@needs("onnxruntime")
def test_what_is_saved_exports_without_options(checkpoint, tmp_path):
    from r2p_edge.training.files import open_trainable, save_trainable

    trained = open_trainable(checkpoint, spec=SPEC)
    trained.network.replace_classifier(3)
    path = tmp_path / "mine.safetensors"
    spec = save_trainable(trained, path, ["a", "b", "c"], {"epoch": 2})
    found = exported(path, tmp_path / "out")
    assert (found.name, found.labels) == ("mine", ("a", "b", "c"))
    assert (found.clip, found.resize, found.mean) == (SPEC.clip, SPEC.resize, SPEC.mean)
    assert found.source["parent"] == trained.parent == spec.source["parent"]
    assert found.source["training"] == {"epoch": 2}
    assert found.source["dialect"] == trained.named.family.name


@needs("onnx")
@needs("onnxruntime")
def test_videos_of_all_trainings_are_recorded(tmp_path):
    from r2p_edge.training.files import open_trainable, save_trainable

    source = torch_file(tmp_path / "net.pth", to_torchvision(random_parameters(**SMALL)))
    trained = open_trainable(source, spec=SPEC)
    videos = []
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        videos.append(Video(tmp_path / name, f"a/{name}", "a"))
    save_trainable(trained, tmp_path / "m.safetensors", SPEC.labels, {}, videos[:1])
    again = open_trainable(tmp_path / "m.safetensors")
    save_trainable(again, tmp_path / "n.safetensors", SPEC.labels, {}, videos[1:])
    learnt = LearntVideos(exported(tmp_path / "n.safetensors", tmp_path / "out").source)
    assert all(video in learnt for video in videos)


def test_the_names_are_those_of_the_file_that_was_read(checkpoint, tmp_path):
    from r2p_edge.training.files import open_trainable, save_trainable

    trained = open_trainable(checkpoint, spec=SPEC)
    save_trainable(trained, tmp_path / "mine.safetensors", SPEC.labels, {})
    before, after = (
        read_checkpoint(path).parameters for path in (checkpoint, tmp_path / "mine.safetensors")
    )
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], value) for name, value in after.items())


@needs("onnx")
@needs("onnxruntime")
def test_a_family_that_names_do_not_tell_is_recorded(tmp_path):
    from r2p_edge.training.files import open_trainable, save_trainable

    # Channels that each convolution computes anew: VMZ's under torchvision's names, and others'.
    parameters = to_torchvision(random_parameters(**SMALL, per_conv=True))
    source = torch_file(tmp_path / "vmz.pth", parameters)
    weights = WeightsOptions(family="vmz", bn_eps=1e-4)
    trained = open_trainable(source, spec=SPEC, weights=weights)
    save_trainable(trained, tmp_path / "mine.safetensors", SPEC.labels, {})
    spec = exported(tmp_path / "mine.safetensors", tmp_path / "out")
    assert (spec.source["dialect"], spec.source["bn_eps"]) == ("vmz", 1e-4)
    again = open_trainable(tmp_path / "mine.safetensors")
    assert again.network.network == trained.network.network


def test_the_network_is_that_of_the_file(checkpoint):
    import torch

    from r2p_edge.export.verify.reference import reference_logits
    from r2p_edge.training.files import open_trainable

    trained = open_trainable(checkpoint, spec=SPEC)
    clip = np.random.default_rng(0).normal(size=(1, 3, 4, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        found = trained.network(torch.from_numpy(clip)).numpy()
    wanted = reference_logits(trained.named.parameters, trained.network.network, clip)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


@needs("onnx")
def test_an_onnx_model_is_no_checkpoint(tmp_path):
    import onnx

    from r2p_edge.training.files import open_trainable

    onnx.save(small_network(SPEC), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=r"batch norms are folded.*r2p-edge teach"):
        open_trainable(tmp_path / "net.onnx", spec=SPEC)


def test_nothing_says_how_it_was_trained(checkpoint):
    from r2p_edge.training.files import open_trainable

    with pytest.raises(UsageError, match="does not say how it was trained"):
        open_trainable(checkpoint)


def test_layers_that_weights_do_not_tell(tmp_path):
    import torch
    from networks import torchvision_network

    from r2p_edge.training.files import open_trainable

    module, _ = torchvision_network()
    for name, layer in module.named_modules():
        if name.endswith("layer4.0.conv1.1"):
            layer.eps = 0.01
    torch.save(module, tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match="weights that are trained further would not say so"):
        open_trainable(tmp_path / "whole.pth", spec=SPEC)


def test_places_that_cannot_be_written(checkpoint, tmp_path):
    from r2p_edge.training.files import open_trainable, save_trainable

    trained = open_trainable(checkpoint, spec=SPEC)
    with pytest.raises(UsageError, match=r"mine\.pth is no name of a \.safetensors file"):
        save_trainable(trained, tmp_path / "mine.pth", SPEC.labels, {})
    with pytest.raises(OutputError, match="there is no folder"):
        save_trainable(trained, tmp_path / "no/mine.safetensors", SPEC.labels, {})
