"""Inception networks as ONNX graphs: paddings of any length, and clips that are too small."""

from __future__ import annotations

import numpy as np
import pytest
from flows import PIXELS
from inception_networks import CLASSES, WIDTH, narrow
from networks import FLOAT, spec_for
from parity_checks import answers_of_each_form
from requirements import needs

from r2p_edge.errors import CheckpointError, SpecError
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.families import FAMILIES
from r2p_edge.export.checkpoints.layers import Layer
from r2p_edge.export.checkpoints.layouts import InceptionLayout
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.reference import reference_logits
from r2p_edge.spec import FlowSpec

pytestmark = [needs("onnx"), needs("onnxruntime")]

NAMES = [name for name, each in FAMILIES.items() if isinstance(each.layout, InceptionLayout)]


LENGTHS = [
    ("piergiaj-i3d", 9, 3),
    ("piergiaj-i3d", 17, 2),
    ("hassony2-i3d", 22, 3),
    ("torchvision-s3d", 15, 3),
    # The clips of training and of DeepMind's sample.
    pytest.param("hassony2-i3d", 64, 2, marks=[pytest.mark.slow, pytest.mark.long]),
    pytest.param("piergiaj-i3d", 79, 3, marks=[pytest.mark.slow, pytest.mark.long]),
]
"""Families, frames and channels. Of an odd length I3D pads its first convolution otherwise."""


@pytest.mark.parametrize(("name", "frames", "channels"), LENGTHS)
def test_every_form_answers_as_the_reference(name: str, frames: int, channels: int) -> None:
    named = canonical_parameters(narrow(name, channels))
    assert named.family.name == name
    network = named.network()
    assert network.channels == channels
    shape = (1, channels, frames, 224, 224)
    clip = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    expected = reference_logits(named.parameters, network, clip)
    spec = spec_for(CLASSES, frames=frames, size=224, input=FLOAT)
    if channels == 2:
        flow = {"flow": FlowSpec("farneback"), "input": PIXELS}
        spec = spec.replace(mean=(0.0, 0.0), std=(1.0, 1.0), **flow)
    for found in answers_of_each_form(named.parameters, network, spec, clip):
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_features_are_what_the_classifier_takes() -> None:
    from r2p_edge.export.graph.feature_outputs import add_feature_outputs
    from r2p_edge.export.graph.r2plus1d import onnx_from_parameters

    named = canonical_parameters(narrow("piergiaj-i3d"))
    spec = spec_for(CLASSES, frames=17, size=224, input=FLOAT)
    model = onnx_from_parameters(named.parameters, named.network(), spec)
    add_feature_outputs(model, spec)
    clip = np.random.default_rng(2).standard_normal((1, 3, 17, 224, 224)).astype(np.float32)
    session = open_session(model.SerializeToString())
    names = ["logits", "features", "feature_map", "class_activation"]
    logits, features, places, activation = session.run(names, {spec.input.name: clip})
    assert places.shape == (1, 4 * WIDTH, 3, 7, 7)
    # Of three moments the windows of two take the middle one twice.
    by_moment = np.array([1, 2, 1]) / 4
    np.testing.assert_allclose(features, places.mean((3, 4)) @ by_moment, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits, activation.mean((3, 4)) @ by_moment, rtol=1e-3, atol=1e-5)


def test_clips_that_are_too_small_are_refused() -> None:
    from r2p_edge.export.graph.r2plus1d import onnx_from_parameters

    for name, frames, size in (("piergiaj-i3d", 8, 224), ("piergiaj-i3d", 16, 256)):
        named = canonical_parameters(narrow(name))
        spec = spec_for(CLASSES, frames=frames, size=size, input=FLOAT)
        with pytest.raises(SpecError, match=r"averages of 2 x 7 x 7; set .*224 x 224"):
            onnx_from_parameters(named.parameters, named.network(), spec)


@pytest.mark.parametrize("name", NAMES)
def test_whole_modules_and_look_alikes_are_refused(name: str) -> None:
    parameters = narrow(name)
    layers = {"": Layer("net.Net", {})}
    with pytest.raises(CheckpointError, match=r"whole module .*model\.state_dict\(\)"):
        canonical_parameters(parameters, layers=layers)
    first = next(key for key in parameters if key.endswith(".weight"))
    wide = parameters | {first: np.repeat(parameters[first], 2, axis=2)}
    with pytest.raises(CheckpointError, match=f"{first} is .*, expected"):
        canonical_parameters(wide).network()
    gate = FAMILIES[name].layout.modules[0][1] + ".gate.weight"
    with pytest.raises(CheckpointError, match=r"gate\.weight is within the network and not part"):
        canonical_parameters(parameters | {gate: np.zeros((2, 2), np.float32)})
