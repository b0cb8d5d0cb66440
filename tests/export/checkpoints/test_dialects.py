"""Parameter names of the known sources, mapped onto one set of names."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from checkpoints import renamed, to_torchvision
from networks import random_parameters
from requirements import needs

from r2p_edge.errors import CheckpointError, UsageError
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.layers import Layer
from r2p_edge.export.checkpoints.structure import Norm

Parameters = dict[str, np.ndarray]

BOTTLENECK = [f"layer1.0.{kind}{number}.weight" for number in (1, 2, 3) for kind in ("conv", "bn")]

LEAVES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def to_mindspore(parameters: Parameters) -> Parameters:
    # As research/cv/r2plus1d/transfer_pth.py of mindspore-ai/models does to GluonCV's names.
    result = {}
    for name, array in parameters.items():
        module, leaf = name.rsplit(".", 1)
        if re.search(r"(bn[12]|downsample\.1)$", module):
            module, leaf = f"{module}.bn2d", LEAVES[leaf]
        result[f"{module}.{leaf}"] = array
    return result


def to_zjut(parameters: Parameters) -> Parameters:
    return renamed(
        to_mindspore(parameters),
        (r"^conv1\.", "conv1.0."),
        (r"^bn1\.", "conv1.1."),
        (r"^conv2\.", "conv1.3."),
        (r"^bn2\.", "conv1.4."),
        (r"^(layer\d\.\d)\.conv(\d)\.conv1\.", r"\1.conv12.conv\2_0.features.0."),
        (r"^(layer\d\.\d)\.conv(\d)\.bn1\.", r"\1.conv12.conv\2_0.features.1."),
        (r"^(layer\d\.\d)\.conv(\d)\.conv2\.", r"\1.conv12.conv\2_1.features.0."),
        (r"^(layer\d\.\d)\.bn(\d)\.", r"\1.conv12.conv\2_1.features.1."),
        (r"downsample", "down_sample.features"),
        (r"^fc\.", "classifier."),
    )


def small(**options: Any) -> Parameters:
    return random_parameters((2, 2, 2, 2), (8, 12, 16, 24), 7, **options)


def assert_canonical(found: Parameters, canonical: Parameters) -> None:
    assert found.keys() == canonical.keys()
    for name, array in canonical.items():
        assert found[name] is array


@pytest.mark.parametrize(
    ("dialect", "convert", "eps"),
    [
        ("gluoncv", lambda p: p, 1e-5),
        ("mindspore", to_mindspore, 1e-5),
        ("mindspore-zjut", to_zjut, 1e-5),
        ("torchvision", to_torchvision, 1e-5),
    ],
)
@pytest.mark.parametrize("counts", [(2, 2, 2, 2), (3, 4, 6, 3)])
def test_each_dialect(dialect: str, convert: Any, eps: float, counts: tuple[int, ...]) -> None:
    canonical = random_parameters(counts, (8, 12, 16, 24), 7)
    named = canonical_parameters(convert(canonical))
    assert (named.family.name, named.family.eps) == (dialect, eps)
    assert_canonical(named.parameters, canonical)


def test_families_of_the_same_names_and_shapes() -> None:
    # Channels that each convolution computes anew: VMZ's under torchvision's names, and others'.
    canonical = small(per_conv=True)
    parameters = to_torchvision(canonical)
    with pytest.raises(CheckpointError, match="of several families") as caught:
        canonical_parameters(parameters)
    message = str(caught.value)
    assert "vmz: batch norms' epsilon 0.001, no pool" in message
    assert "vmz-pool1: batch norms' epsilon 0.001, a max pool after the stem" in message
    assert "fewshot: batch norms' epsilon 1e-05, no pool" in message
    assert "--family" in message
    for options, decided in (({"family": "vmz"}, "--family"), ({"hints": ["vmz"]}, "preset")):
        named = canonical_parameters(parameters, **options)
        assert (named.family.name, named.decided) == ("vmz", decided)
        assert_canonical(named.parameters, canonical)
    with pytest.raises(CheckpointError, match="of several families"):
        canonical_parameters(parameters, hints=["torchvision", "gluoncv"])
    with pytest.raises(
        CheckpointError, match="not those of family torchvision but of vmz or vmz-p"
    ):
        canonical_parameters(parameters, "torchvision")
    with pytest.raises(UsageError, match="there is no family resnet; choose one of torchvision, "):
        canonical_parameters(parameters, "resnet")


def layers_of(parameters: Parameters, eps: float, **pools: dict[str, Any]) -> dict[str, Layer]:
    layers = {name: Layer("torch.nn.modules.pooling.MaxPool3d", p) for name, p in pools.items()}
    for name in parameters:
        module, _, leaf = name.rpartition(".")
        if leaf == "running_var":
            layers[module] = Layer("torch.nn.modules.batchnorm.BatchNorm3d", {"eps": eps})
    return layers


def test_what_a_file_says_decides_among_families() -> None:
    parameters = to_torchvision(small(per_conv=True))
    pool = {"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)}
    for eps, pools, family in (
        (1e-3, {}, "vmz"),
        (1e-3, {"pool": pool}, "vmz-pool1"),
        (1e-5, {}, "fewshot"),
        (1e-5, {"pool": pool}, "vmz-pool1"),
        (0.5, {}, "vmz"),
    ):
        layers = layers_of(parameters, eps, **pools)
        named = canonical_parameters(parameters, layers=layers)
        assert (named.family.name, named.decided) == (family, "layers")
        assert named.network().stem[1] == Norm("bn1", eps)
    with pytest.raises(
        CheckpointError, match=r"of vmz-pool1, but the file has none for a max pool"
    ):
        canonical_parameters(parameters, "vmz-pool1", layers=layers)
    with pytest.raises(CheckpointError, match=r"other of \(3, 3, 3\) for a max pool, and that fam"):
        canonical_parameters(
            parameters,
            layers=layers_of(parameters, 1e-3, other=pool | {"kernel_size": 3, "padding": 1}),
        )


def test_an_epsilon_decides_among_families() -> None:
    parameters = to_torchvision(small(per_conv=True))
    named = canonical_parameters(parameters, bn_eps=1e-5)
    assert (named.family.name, named.decided) == ("fewshot", "--bn-eps")
    for eps, hints in ((1e-3, []), (1e-4, ["torchvision"])):
        with pytest.raises(CheckpointError, match=r"of several families.*vmz-pool1"):
            canonical_parameters(parameters, hints=hints, bn_eps=eps)
    named = canonical_parameters(parameters, hints=["vmz"], bn_eps=1e-4)
    assert (named.family.name, named.decided) == ("vmz", "preset")
    assert named.network().stem[1] == Norm("bn1", 1e-4)
    for eps in (0, -1e-5, 1, float("nan")):
        with pytest.raises(UsageError, match=f"bn_eps is {eps}; it must be between 0 and 1"):
            canonical_parameters(parameters, bn_eps=eps)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"model.net.backbone.{name}",
        lambda name: name if name.startswith("fc.") else f"backbone.{name}",
        lambda name: name.replace("fc.", "head.1.") if name.startswith("fc.") else f"net.{name}",
        lambda name: f"model.{name.replace('fc.', 'classifier.')}",
    ],
)
def test_whatever_stands_before_the_names(wrap: Any) -> None:
    canonical = small()
    wrapped = {wrap(name): array for name, array in to_torchvision(canonical).items()}
    named = canonical_parameters(wrapped)
    assert named.family.name == "torchvision"
    assert_canonical(named.parameters, canonical)
    assert named.names["conv1.weight"] == wrap("stem.0.weight")


def test_what_is_around_a_network_goes() -> None:
    canonical = small()
    odd = np.zeros(1, np.float32)
    extra = {
        "stem.1.num_batches_tracked": odd,
        "criterion.weight": odd,
        "n_averaged": odd,
        "projection.weight": np.zeros((5, 99), np.float32),
    }
    assert_canonical(
        canonical_parameters({**to_torchvision(canonical), **extra}).parameters, canonical
    )


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"final_bn.running_mean": (24,)}, "final_bn.running_mean is left over"),
        ({"layer5.0.conv.weight": (2, 1, 1, 1, 1)}, "layer5.0.conv.weight is left over"),
        ({"layer9.extra": (3,)}, "layer9.extra is left over"),
        ({"lstm.weight_ih_l0": (96, 24)}, "lstm.weight_ih_l0 is left over"),
        ({"other.weight": (3, 9), "other.bias": (3,), "loss.weight": (7,)}, None),
    ],
)
def test_what_belongs_to_a_network_does_not_go(extra: Any, message: str | None) -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in extra.items()}
    parameters = {**to_torchvision(small()), **arrays}
    if message is None:
        assert canonical_parameters(parameters).names["fc.weight"] == "fc.weight"
        return
    with pytest.raises(CheckpointError, match=message):
        canonical_parameters(parameters)


@pytest.mark.parametrize("head", [None, "fc"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layer4.1.se.fc1.weight", (3, 24, 1, 1, 1)),  # squeeze-and-excitation: convolutions
        ("layer1.0.se.fc.0.weight", (2, 8)),  # and matrices, which could be of other classifiers
        ("layer4.1.se.fc.0.weight", (2, 24)),
        ("layer2.1.alpha", ()),  # a factor of the residual path
        ("layer3.gate.bias", (7,)),  # as many as classes, like weights of a loss
        ("layer3.0.conv2.2.weight", (1,)),  # a PReLU
        ("stem.6.weight", (8,)),
        ("stem.0.attention", (1, 8)),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_is_within_a_network_stops(prefix: str, name: str, shape: Any, head: Any) -> None:
    parameters = {**to_torchvision(small()), name: np.zeros(shape, np.float32)}
    named = {f"{prefix}{each}": array for each, array in parameters.items()}
    with pytest.raises(CheckpointError, match=rf"^{prefix}{name} is within the network and not p"):
        canonical_parameters(named, head=head and f"{prefix}{head}")


def test_what_is_within_networks_of_other_names_stops() -> None:
    whole = small()
    for convert, name in (
        (lambda p: p, "conv1.mask.weight"),
        (lambda p: p, "layer2.1.se.weight"),
        (to_zjut, "conv1.2.weight"),
        (to_zjut, "layer2.1.conv12.se.weight"),
    ):
        parameters = {**convert(whole), name: np.zeros((2, 9), np.float32)}
        with pytest.raises(CheckpointError, match=rf"^{name} is within the network"):
            canonical_parameters(parameters)


def test_classifiers() -> None:
    parameters = to_torchvision(small())
    weight, _ = parameters.pop("fc.weight"), parameters.pop("fc.bias")
    with pytest.raises(CheckpointError, match="has no classifier: it ends at 24 features; give"):
        canonical_parameters(parameters)
    named = canonical_parameters({**parameters, "cls.0.weight": weight[..., None, None, None]})
    np.testing.assert_array_equal(named.parameters["fc.weight"], weight)
    assert not named.parameters["fc.bias"].any()


def test_missing_parameters_are_named_as_in_the_file() -> None:
    parameters = {f"module.{n}": a for n, a in to_torchvision(small()).items()}
    name = "module.layer2.0.conv1.0.1.running_var"
    removed = parameters.pop(name)
    message = rf"torchvision names it that lacks 1 of its \d+ tensors: {name}; save the whole"
    with pytest.raises(CheckpointError, match=message) as caught:
        canonical_parameters(parameters)
    assert "fc" not in str(caught.value)  # which is no part of a family and in its place
    message = rf"lacks 1 of its \d+ tensors: {name}, and has {name}s in it; save"
    with pytest.raises(CheckpointError, match=message):
        canonical_parameters({**parameters, f"{name}s": removed})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["stem.0.weight", "layer1.0.conv1.0.weight"], "match no known family"),
        (["conv1_middle_w", "comp_0_conv_1_middle_w"], "Caffe2"),
        (["Mixed_3b.b0.conv3d.weight"], "I3D"),
        (["a.weight", "b.weight"], r"\(a\.weight, b\.weight\) match no known family of n"),
        # The names of kenshohara's ResNets, of tensors that they do not have.
        (["conv1.weight", "bn1.weight", *BOTTLENECK], r"match no known family.*-r3d-50 "),
        ([], "none"),
    ],
)
def test_other_networks_are_refused(names: list[str], message: str) -> None:
    parameters = {name: np.zeros((1, 1, 1, 1, 1), np.float32) for name in names}
    with pytest.raises(CheckpointError, match=message) as caught:
        canonical_parameters(parameters)
    assert "--module FILE:FACTORY --weights CHECKPOINT --trust-code" in str(caught.value)


def test_a_network_of_images_is_named() -> None:
    names = ["conv1.weight", "bn1.weight", *BOTTLENECK]
    shapes = [(64, 3, 7, 7), *[(4, 4, 1, 1) if "conv" in name else (4,) for name in names[1:]]]
    arrays = {n: np.zeros(shape, np.float32) for n, shape in zip(names, shapes, strict=True)}
    message = r"one of 2-D convolutions, for images \(conv1.weight 64x3x7x7\), which is no"
    with pytest.raises(CheckpointError, match=message):
        canonical_parameters(arrays)


def test_the_nearest_family_is_named() -> None:
    parameters = renamed(to_torchvision(small()), (r"^stem\.0\.", "stem.first."))
    with pytest.raises(CheckpointError, match="match no known family of n") as caught:
        canonical_parameters({f"net.{name}": array for name, array in parameters.items()})
    message = str(caught.value)
    assert "(net.stem.first.weight, " in message
    assert "nearest is torchvision (pytorch/vision torchvision/models/video/resnet.py)" in message
    assert "but stem.0 is not there; give an ONNX file of the network, or its code" in message


@needs("torchvision")
@needs("torch")
def test_names_of_torchvision(torchvision: Any) -> None:
    state = torchvision.models.video.r2plus1d_18(num_classes=7).state_dict()
    named = canonical_parameters({name: tensor.numpy() for name, tensor in state.items()})
    assert named.family.name == "torchvision"
    canonical = random_parameters(classes=7)
    shapes = {name: array.shape for name, array in named.parameters.items()}
    assert shapes == {name: array.shape for name, array in canonical.items()}


@needs("torchvision")
@needs("torch")
def test_renamed_torchvision_weights_compute_the_same(torchvision: Any) -> None:
    import torch
    from networks import torch_network

    # The mean and variance are made uneven: two batch norms swapped would show.
    model = torchvision.models.video.r2plus1d_18(num_classes=7).eval()
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    named = canonical_parameters(state)
    same = torch_network(named.parameters, (2, 2, 2, 2), named.family.eps)
    clip = torch.randn(1, 3, 4, 32, 32, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(same(clip), model(clip))


@needs("torchvision")
@needs("torch")
@pytest.mark.parametrize("network", ["r3d_18", "mc3_18"])
def test_other_networks_of_torchvision(torchvision: Any, network: str) -> None:
    state = getattr(torchvision.models.video, network)(num_classes=7).state_dict()
    named = canonical_parameters({name: tensor.numpy() for name, tensor in state.items()})
    assert (named.family.name, named.network().arch) == ("torchvision-r3d", network)


@needs("mindspore")
def test_names_that_mindspore_gives() -> None:
    from mindspore import nn

    class Conv2Plus1D(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv3d(2, 3, (1, 3, 3), has_bias=False)
            self.bn1 = nn.BatchNorm3d(3)
            self.conv2 = nn.Conv3d(3, 2, (3, 1, 1), has_bias=False)

    class Block(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = Conv2Plus1D(), nn.BatchNorm3d(2)
            self.conv2, self.bn2 = Conv2Plus1D(), nn.BatchNorm3d(2)
            self.downsample = nn.SequentialCell([nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)])

    class Network(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv3d(3, 2, 7, has_bias=False), nn.BatchNorm3d(2)
            self.conv2, self.bn2 = nn.Conv3d(2, 2, 7, has_bias=False), nn.BatchNorm3d(2)
            for stage in range(1, 5):
                setattr(self, f"layer{stage}", nn.SequentialCell([Block()]))
            self.fc = nn.Dense(2, 7)

    arrays = {p.name: p.asnumpy() for p in Network().get_parameters()}
    named = canonical_parameters(arrays)
    assert named.family.name == "mindspore"
    assert named.family.eps == nn.BatchNorm3d(2).bn2d.eps
    # Every block of the small network has a shortcut, and so has the first stage's.
    shortcut = {"0.weight", *(f"1.{leaf}" for leaf in LEAVES)}
    expected = set(random_parameters((1, 1, 1, 1), (2, 2, 2, 2), 7))
    found = {name for name in named.parameters if not name.endswith("downsample.0.bias")}
    assert found == expected | {f"layer1.0.downsample.{part}" for part in shortcut}
