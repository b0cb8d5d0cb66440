"""torchvision's S3D against what is made of it."""

from __future__ import annotations

import numpy as np
import pytest
from networks import FLOAT, spec_for, torchvision_network
from parity_checks import answers_of_each_form
from requirements import needs

from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.verify.reference import reference_logits

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("torchvision"), pytest.mark.slow]

FAMILY = "torchvision-s3d"


@pytest.mark.parametrize("frames", [14, pytest.param(32, marks=pytest.mark.long)])
def test_every_form_gives_the_logits_of_torchvision(frames: int) -> None:
    import torch

    network, state = torchvision_network("s3d", num_classes=7)
    named = canonical_parameters(state)
    assert (named.family.name, named.network().arch) == (FAMILY, "s3d")
    clip = np.random.default_rng(0).standard_normal((1, 3, frames, 224, 224)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(clip)).numpy()
    largest = np.abs(expected).max()
    spec = spec_for(7, frames=frames, size=224, input=FLOAT)
    for found in answers_of_each_form(named.parameters, named.network(), spec, clip):
        assert np.abs(found - expected).max() <= 1e-5 * largest
    if frames == 14:
        found = reference_logits(named.parameters, named.network(), clip)
        assert np.abs(found - expected).max() <= 1e-5 * largest
