"""Files of other networks, and of none, are named as what they are, with a way that leads on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import renamed, to_torchvision, write_mindspore_ckpt
from networks import SMALL, random_parameters
from requirements import needs

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.read import Checkpoint, read_checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions

FEATURES = 24


def network(prefix: str = "") -> dict[str, np.ndarray]:
    return renamed(to_torchvision(random_parameters(**SMALL)), (r"^", prefix))


CONVOLUTIONS = [name for name, array in network().items() if array.ndim == 5]


def zeros(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name.replace("__", "."): np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"conv1__weight": (64, 3, 7, 7)}, "one of 2-D convolutions, for images"),
        ({"conv1__weight": (64, 1, 7, 7)}, "one of single channels"),
        ({"A": (3, 17, 17), "st_gcn_networks__0__gcn__conv__weight": (192, 3, 1, 1)}, "skeletons"),
        ({"fnet__conv1__weight": (64, 3, 7, 7)}, "an estimator of optical flow"),
        ({"bert__embeddings__word_embeddings__weight": (300, 32)}, "one of text"),
    ],
)
def test_networks_that_no_code_makes_one_of_video(shapes: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        canonical_parameters(zeros(**shapes))
    assert "give one that was trained on clips" in str(caught.value)
    assert "ONNX" not in str(caught.value)
    assert "--module" not in str(caught.value)


@pytest.mark.parametrize(
    "shapes",
    [
        {"model__time_embed": (1, 8, 64), "model__patch_embed__proj__weight": (64, 3, 16, 16)},
        {"base_model__conv1__weight": (64, 3, 7, 7), "new_fc__weight": (174, 2048)},
        {"module__layer1__0__conv1__net__weight": (64, 64, 1, 1)},
        {"resnet__conv1__weight": (64, 3, 7, 7), "lstm__weight_hh_l0": (128, 32)},
    ],
    ids=["timesformer", "tsm", "tsm_shift", "lrcn"],
)
def test_networks_of_video_of_2d_layers(shapes: Any) -> None:
    with pytest.raises(CheckpointError, match=r"one of 2-D layers for video.*--module FILE:F"):
        canonical_parameters(zeros(**shapes))


def test_two_pathways() -> None:
    with pytest.raises(CheckpointError, match=r"a SlowFast, .* forward\(clip\) makes both of one"):
        canonical_parameters(zeros(s1__pathway1_stem__conv__weight=(8, 3, 5, 7, 7)))


def adapter(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    module = name.removesuffix(".weight")
    low = {f"{module}.lora_{part}.default.weight": array for part in "AB"}
    return {f"{module}.base_layer.weight": array, **low}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p | adapter("fc.weight", p.pop("fc.weight")), r"adapters .*merge_and_unload"),
        (
            lambda p: {f"base_model.{n}": a for n, a in adapter("fc", p["fc.bias"]).items()
                       if "lora" in n},
            "is a LoRA adapter, and no network",
        ),
        (
            lambda p: p | {"layer2.lora_A": np.zeros((4, 12), np.float32)},
            r"a network and LoRA adapters beside its weights \(layer2\.lora_A\)",
        ),
        (
            lambda p: {f"moments.{n}": a for n, a in p.items()} | {"learning_rate": p["fc.bias"]},
            "the state of an optimiser",
        ),
        (
            lambda p: {n: a for n, a in p.items() if "running" not in n},
            r"as torchvision names it whose norms have no statistics .* GroupNorm",
        ),
        (
            lambda p: {
                **{n: a for n, a in p.items() if n in CONVOLUTIONS},
                **{n.replace("weight", "bias"): p[n][:, 0, 0, 0, 0] for n in CONVOLUTIONS},
                **{n: a for n, a in p.items() if n.startswith("fc.")},
            },
            r"whose batch norms are folded into its convolutions.*before that, or give an ONNX",
        ),
        (
            lambda p: {
                n.replace("e.1.", "e.2.").replace("e.0.", "e.1.") if "layer4" in n else n: a
                for n, a in p.items()
            },
            r"layer4\.0\.downsample in the network has other layers .*ResNet-D.*onnx_from_torch",
        ),
        (
            lambda p: {n: a for n, a in p.items() if "layer4" not in n},
            "R\\(2\\+1\\)D as torchvision names it that lacks .*layer4",
        ),
        (
            lambda p: {f"{n}_old": a for n, a in p.items()},
            r"nearest is torchvision \(.*whose modules are there, but not their tensors",
        ),
        (
            lambda p: {f"encoder_q.{n}": a for n, a in p.items()},
            "self-supervised pre-training, which has no classifier",
        ),
    ],
    ids=[
        "peft", "lora", "lora_beside", "moments", "statistics", "folded", "resnet_d", "a_part",
        "old", "moco",
    ],
)  # fmt: skip
def test_files_that_are_no_whole_network(change: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        canonical_parameters(change(network()))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"se__fc1__weight": (6, 24), "se__fc2__weight": (24, 6)}, "se.fc1 and se.fc2 .* a gate"),
        ({"lstm__weight_hh_l0": (64, 16)}, "lstm is a recurrent or attention layer"),
        ({"pool__in_proj_weight": (72, 24)}, "pool is a recurrent or attention layer"),
    ],
)
def test_what_stands_before_the_classifier(more: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"{message}.*--module FILE:FACTORY"):
        canonical_parameters(network() | zeros(**more))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (
            {"fc__0__weight": (12, FEATURES), "fc__1__weight": (12,), "fc__1__running_var": (12,),
             "fc__4__weight": (7, 12)},
            r"the classifier has fc\.1 between its layers",
        ),
        ({"fc__weight": (7, 4 * FEATURES)}, "takes 4 numbers of each of the 24 features"),
    ],
)  # fmt: skip
def test_classifiers_of_another_kind(head: Any, message: str) -> None:
    rest = {name: array for name, array in network().items() if not name.startswith("fc.")}
    for chosen in (None, "relu"):
        with pytest.raises(CheckpointError, match=message):
            canonical_parameters(rest | zeros(**head), head_activation=chosen)


@pytest.mark.parametrize(("channels", "kind"), [(1, ", as of grey"), (4, "with depth"), (9, "oth")])
def test_pictures_of_other_channels(channels: int, kind: str) -> None:
    parameters = network()
    first = parameters["stem.0.weight"]
    parameters["stem.0.weight"] = np.repeat(first[:, :1], channels, axis=1)
    checkpoint = Checkpoint(parameters, "0" * 64, "net.pth", "torch")
    message = rf"checkpoint net\.pth: the network takes {channels} channel.*{kind}"
    with pytest.raises(CheckpointError, match=message):
        WeightsOptions().named(checkpoint).network()


def test_a_part_of_a_network() -> None:
    parameters = {name: array for name, array in network().items() if "stem" in name}
    checkpoint = Checkpoint(parameters, "", "model-00001-of-00002.safetensors", "safetensors")
    with pytest.raises(CheckpointError, match="is part 1 of 2 of a network; put them together"):
        WeightsOptions().named(checkpoint)


def saved(path: Path, parameters: dict[str, np.ndarray]) -> Path:
    if path.suffix == ".ckpt":
        return write_mindspore_ckpt(path, parameters)
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file(parameters, path)
        return path
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": {n: torch.from_numpy(a) for n, a in parameters.items()}}, path)
    return path


def test_two_networks_whose_features_meet() -> None:
    streams = {
        name: array
        for name, array in (network("rgb.") | network("flow.")).items()
        if ".fc." not in name
    }
    streams |= zeros(fusion__weight=(7, 2 * FEATURES), fusion__bias=(7,))
    with pytest.raises(
        CheckpointError, match=r"2 networks \(under rgb, flow\).* in fusion \(7x48\)"
    ):
        canonical_parameters(streams)


@needs("torch")
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.ckpt"])
def test_one_of_two_networks_is_chosen(tmp_path: Path, name: str) -> None:
    teacher = {key: array + 1 for key, array in network("teacher.").items()}
    path = saved(tmp_path / name, network("student.") | teacher)
    with pytest.raises(CheckpointError) as caught:
        WeightsOptions().named(read_checkpoint(path))
    assert re.search(
        r"2 whole networks \(under student, teacher\).*-key student", str(caught.value)
    )
    named = WeightsOptions().named(read_checkpoint(path, "teacher"))
    expected = canonical_parameters(network()).parameters
    np.testing.assert_array_equal(named.parameters["fc.bias"], expected["fc.bias"] + 1)
    with pytest.raises(CheckpointError, match="nobody"):
        read_checkpoint(path, "nobody")


@needs("torch")
def test_one_network_of_a_whole_module_is_chosen(tmp_path: Path) -> None:
    import torch

    net = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 2), "b": torch.nn.Linear(3, 2)})
    torch.save(net, tmp_path / "net.pth")
    read = read_checkpoint(tmp_path / "net.pth", "b")
    np.testing.assert_array_equal(read.parameters["weight"], net["b"].weight.detach().numpy())
    assert set(read.layers) == {""}
    assert read.layers[""].name == "Linear"
