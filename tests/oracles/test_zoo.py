"""Checkpoints of public families, against the logits that each family's own code gives.

The folder `zoo` of the test data has each family's parameters by name and shape, the recipe that
fills them, and the outputs (its README). The files here are saved as the family saves its own.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_mindspore_ckpt
from flows import PIXELS
from networks import FLOAT, spec_for
from parity_checks import answers_of_each_form
from requirements import needs

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.structure import VideoNetwork
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.reference import reference_activations, reference_logits
from r2p_edge.spec import FlowSpec, ModelSpec, OutputSpec

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("torch"), pytest.mark.slow]

FAMILIES = {
    "fewshot_r2plus1d_18": "fewshot",
    "gluoncv_r2plus1d_v1_resnet18": "gluoncv",
    "gluoncv_r2plus1d_v1_resnet34": "gluoncv",
    "gluoncv_r2plus1d_v1_resnet50": "gluoncv-50",
    "hassony2_i3d_rgb_t16": "hassony2-i3d",
    "hassony2_i3d_rgb_t79": "hassony2-i3d",
    "ig65m_r2plus1d_34_32": "vmz",
    "jfzhang95_r2plus1d": "jfzhang95",
    "jfzhang95_r3d": "jfzhang95-r3d",
    "kenshohara_r2plus1d_18": "kenshohara",
    "kenshohara_r2plus1d_34": "kenshohara",
    "kenshohara_resnet_18": "kenshohara-r3d",
    "kenshohara_resnet_34": "kenshohara-r3d",
    "leftthomas_r2plus1d": "jfzhang95",
    "mindspore_models_r2plus1d_18": "mindspore",
    "mindspore_models_r2plus1d_34": "mindspore",
    "mmaction2_r2plus1d_r34": "mmaction2",
    "piergiaj_i3d_flow_t16": "piergiaj-i3d",
    "piergiaj_i3d_rgb_t16": "piergiaj-i3d",
    "piergiaj_i3d_rgb_t17": "piergiaj-i3d",
    "pytorchvideo_r2plus1d_r50": "pytorchvideo",
    "torchvision_mc3_18": "torchvision-r3d",
    "torchvision_r2plus1d_18": "torchvision",
    "torchvision_r3d_18": "torchvision-r3d",
    "tsp_r2plus1d_18": "torchvision",
    "utkarsh_r3d_18": "torchvision-r3d",
    "utkarsh_resnet18_2d3d": "utkarsh-2d3d",
    "vmz_r2plus1d_152": "vmz-152",
    "vmz_r2plus1d_34": "vmz",
    "vmz_r2plus1d_34_pool1": "vmz-pool1",
    "zjut_r2plus1d_18": "mindspore-zjut",
}
"""The family that each file is of."""

AMBIGUOUS = ("fewshot", "kenshohara", "kenshohara-r3d", "vmz", "vmz-152", "vmz-pool1")
"""Families of the same names and shapes."""

MAPS = ("utkarsh_resnet18_2d3d",)
"""Files of networks without a classifier, whose oracle is their map of features."""

OTHERS = {
    "s3d_howto100m": "an I3D or S3D",
}
"""Networks of no family, and words of their refusal."""


@pytest.fixture(scope="module")
def oracle(data):
    """Return a function that reads what is known of a family."""
    return functools.cache(lambda name: json.loads((data / "zoo" / f"{name}.json").read_text()))


def filled(name: str, shape: tuple[int, ...], dtype: str, scale: float) -> np.ndarray:
    """Return a parameter as recipe v1 of the folder's README fills it."""
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.ones(shape, dtype)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    if last in ("running_var", "moving_variance"):
        value = rng.uniform(0.5, 1.5, shape)
    elif last in ("running_mean", "moving_mean", "bias", "beta"):
        value = rng.normal(0.0, 0.1, shape)
    elif last == "gamma" or len(shape) == 1:
        value = rng.uniform(0.5, 1.5, shape)
    else:
        value = rng.normal(0.0, np.sqrt(2 / np.prod(shape[1:])), shape) * scale
    return value.astype(dtype)


def parameters_of(known: dict[str, Any]) -> dict[str, np.ndarray]:
    scale = known.get("fill_scale", 1)
    return {name: filled(name, *rest, scale) for name, *rest in known["parameters"]}


def saved(known: dict[str, Any], folder: Path) -> Path:
    """Write a checkpoint as the training script of the family does."""
    import torch

    arrays, container = parameters_of(known), known["container"]
    if isinstance(container, dict) and "MindSpore" in container.get("format", ""):
        return write_mindspore_ckpt(folder / "net.ckpt", arrays)
    tensors = {each: torch.from_numpy(array) for each, array in arrays.items()}
    path = folder / "net.pth"
    if container == "<parameters>":
        torch.save(tensors, path)
        return path
    others = {
        "args": argparse.Namespace(lr=0.1),
        "epoch": 45,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2, 3, 1, 7, 7)}}},
    }
    content = {key: others.get(key, 0) for key, value in container.items()}
    content |= {key: tensors for key, value in container.items() if value == "<parameters>"}
    torch.save(content, path)
    return path


def clip_of(known: dict[str, Any]) -> np.ndarray:
    shape = known["input"]["shape"]
    return np.random.default_rng(20260101).standard_normal(shape).astype(np.float32)


def wanted(known: dict[str, Any], found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the oracle's logits, and those of `found` that they are compared with."""
    output = known["output"]
    values = output.get("logits", output["values"])
    values = np.array(values["values"] if isinstance(values, dict) else values)
    return values, found.ravel()[output.get("indices", slice(len(values)))]


INCEPTION = ("piergiaj-i3d", "hassony2-i3d")
"""Families that are not trained further."""

LARGE = (
    "_34",
    "_t16",
    "hassony2",
    "utkarsh_r3d",
    "torchvision_r3d",
    "kenshohara_resnet",
    "resnet34",
    "r34",
    "152",
    "50",
)
"""Parts of the names of networks that take up to a minute."""

NAMES = [
    pytest.param(name, marks=pytest.mark.long) if any(map(name.__contains__, LARGE)) else name
    for name in FAMILIES
    if name not in MAPS
]


def spec_of(network: VideoNetwork, clip: np.ndarray) -> ModelSpec:
    """Return the contract of a network that takes this clip."""
    spec = spec_for(network.classes, frames=clip.shape[2], size=clip.shape[3], input=FLOAT)
    if network.channels == 3:
        return spec
    return spec.replace(mean=(0.0, 0.0), std=(1.0, 1.0), input=PIXELS, flow=FlowSpec("farneback"))


QUICK = ("torchvision_r2plus1d_18", "mindspore_models_r2plus1d_18", "jfzhang95_r2plus1d")
"""A few of other names and structures."""


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_the_familys_own_code(oracle, name, tmp_path):
    read = read_checkpoint(saved(oracle(name), tmp_path))
    if FAMILIES[name] in AMBIGUOUS:
        with pytest.raises(CheckpointError, match="of several families"):
            canonical_parameters(read.parameters)
    family = FAMILIES[name] if FAMILIES[name] in AMBIGUOUS else None
    named = canonical_parameters(read.parameters, family)
    assert named.family.name == FAMILIES[name]
    network = network_from_parameters(named.parameters, named.family, named.names)
    clip = clip_of(oracle(name))
    spec = spec_of(network, clip)
    for logits in answers_of_each_form(named.parameters, network, spec, clip):
        expected, found = wanted(oracle(name), logits)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_reference_agrees(oracle, name):
    family = FAMILIES[name] if FAMILIES[name] in AMBIGUOUS else None
    named = canonical_parameters(parameters_of(oracle(name)), family)
    network = network_from_parameters(named.parameters, named.family)
    logits = reference_logits(named.parameters, network, clip_of(oracle(name)))
    expected, found = wanted(oracle(name), logits)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.long)
        for name in FAMILIES
        if name not in MAPS and FAMILIES[name] not in INCEPTION
    ],
)
def test_the_network_to_train_agrees(oracle, name):
    import torch

    from r2p_edge.training.network import TrainableNetwork

    family = FAMILIES[name] if FAMILIES[name] in AMBIGUOUS else None
    named = canonical_parameters(parameters_of(oracle(name)), family)
    module = TrainableNetwork(named.parameters, named.network())
    with torch.inference_mode():
        logits = module(torch.from_numpy(clip_of(oracle(name))))
    expected, found = wanted(oracle(name), logits.numpy())
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", MAPS)
def test_features_are_those_of_the_familys_own_code(oracle, name):
    import onnx

    from r2p_edge.export.graph.r2plus1d import onnx_from_parameters

    named = canonical_parameters(parameters_of(oracle(name)))
    assert named.family.name == FAMILIES[name]
    network, clip = named.network(), clip_of(oracle(name))
    spec = spec_for(
        network.classes,
        frames=clip.shape[2],
        size=clip.shape[3],
        input=FLOAT,
        output=OutputSpec(kind="values"),
    )
    model = onnx_from_parameters(named.parameters, network, spec)
    last = network.blocks[-1].name
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(last))
    session = open_session(model.SerializeToString())
    features, found = session.run(None, {spec.input.name: clip})
    expected, values = wanted(oracle(name), found)
    assert np.abs(values - expected).max() <= 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(features, found.mean((2, 3, 4)), rtol=1e-4, atol=1e-4)
    maps = [
        value.copy()
        for part, value in reference_activations(named.parameters, network, clip)
        if part == last
    ]
    assert np.abs(maps[0] - found).max() <= 1e-5 * np.abs(found).max()


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_refused(oracle, name):
    parameters = {n: np.zeros(s, np.float32) for n, s, _ in oracle(name)["parameters"]}
    with pytest.raises(CheckpointError, match=OTHERS[name]) as caught:
        canonical_parameters(parameters).network()
    assert re.search("onnx_from_torch|trained on RGB", str(caught.value))
