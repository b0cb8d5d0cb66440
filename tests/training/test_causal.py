"""The sections of the semi-causal form in PyTorch, against its graph and against the clip's own."""

from __future__ import annotations

import numpy as np
import pytest
from dilated import dilated, stage_features
from networks import SMALL, network_of, random_parameters, small_network, spec_for, torch_network
from requirements import needs

from r2p_edge.errors import ModelError

pytestmark = [needs("torch"), needs("onnxruntime")]


def close(found, wanted):
    return np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.fixture(scope="module")
def parameters():
    return random_parameters(**SMALL)


@pytest.fixture(params=[1, 2])
def stage(request):
    return request.param


@pytest.fixture
def network(parameters, stage):
    import torch

    from r2p_edge.training.causal import SemiCausalNetwork

    torch.set_num_threads(1)
    return SemiCausalNetwork(parameters, network_of(parameters), stage)


@pytest.fixture
def features(parameters, stage):
    """Return the features of the stages below for 40 frames, centred on each."""
    import torch

    torch.manual_seed(0)
    whole = dilated(torch_network(parameters, SMALL["counts"]))
    with torch.no_grad():
        return stage_features(whole, torch.randn(1, 3, 40, 32, 32), stage)


def test_it_begins_as_the_causal_network(network, parameters, features, stage):
    import torch

    causal = dilated(torch_network(parameters, SMALL["counts"]), causal_from=stage)
    with torch.no_grad():
        x = features
        for number in range(stage + 1, 5):
            x = getattr(causal, f"layer{number}")(x)
        wanted = causal.fc(x.mean((3, 4))[0].T)
        assert close(network(features)[0].numpy(), wanted.numpy())


def test_its_weights_make_the_graph_answer_as_it_does(network, features, stage):
    import torch

    from r2p_edge.export.graph.per_frame.forms import semi_causal_form
    from r2p_edge.export.verify.per_frame_run import PerFrameRun

    network.estimate_norms([features, features + 0.3])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    spec = spec_for(SMALL["classes"], frames=8, graph="conv3d")
    model = small_network(spec)
    form = semi_causal_form(model, spec, stage, weights=network.constants())
    run, rng = PerFrameRun(form, 8), np.random.default_rng(0)
    frames = rng.integers(0, 256, (30, 32, 32, 3), np.uint8)
    found = np.concatenate([run.step(frame) for frame in frames])
    pixels = (frames.astype(np.float64) * spec.scale - spec.mean) / spec.std
    pixels = torch.from_numpy(pixels.transpose(3, 0, 1, 2)[None].astype(np.float32))
    whole = dilated(torch_network(random_parameters(**SMALL), SMALL["counts"]))
    with torch.no_grad():
        wanted = network(stage_features(whole, pixels, stage))[0].numpy()
    assert close(found[form.delay :], wanted[: 30 - form.delay])


def test_it_goes_on_with_weights_that_it_gave(network, features, stage):
    import torch

    network.estimate_norms([features, features + 0.3])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
        wanted = network(features)
        constants = network.constants()
        for parameter in network.parameters():
            parameter += 0.05
        network.load_constants(constants)
        assert close(network(features).numpy(), wanted.numpy())
    for name, value in network.constants().items():
        assert np.allclose(value, constants[name], atol=1e-6), name


def test_weights_of_another_network_are_refused(network, stage):
    constants = network.constants()
    short = {name: value for name, value in constants.items() if name != "fc.bias"}
    message = r"fc\.bias has shape None in the weights and \(\d+,\) in the network; give those of"
    with pytest.raises(ModelError, match=message):
        network.load_constants(short)
    other = {**short, "fc.bias": np.zeros(2, np.float32)}
    with pytest.raises(ModelError, match=r"fc\.bias has shape \(2,\) in the weights"):
        network.load_constants(other)
    with pytest.raises(ModelError, match=r"stem\.weight has shape \(1,\) .* None in the network"):
        network.load_constants({**constants, "stem.weight": np.zeros(1, np.float32)})


def test_norms_get_the_statistics_of_what_they_see(network, features, stage):
    import torch

    seen = []
    norm = network.get_submodule(f"layer{stage + 1}.0.conv1.bn1")
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.estimate_norms([features])
    assert torch.allclose(norm.running_mean, seen[0].mean((0, 2, 3, 4)), atol=1e-5)
    assert torch.allclose(norm.running_var, seen[0].var((0, 2, 3, 4)), rtol=1e-4)
    before = norm.running_mean.clone()
    network(features + 1)
    assert torch.equal(norm.running_mean, before)


def test_nothing_below_the_stage_is_trained(network, stage):
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    assert trained
    for name in trained:
        assert name.startswith("fc.") or int(name[len("layer")]) > stage
