"""Networks of torchvision's with a layer without parameters more, less or elsewhere.

Each answers otherwise than its weights alone would, or the same, as PyTorch itself says; in each
form that PyTorch saves, the first are refused and the second are read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from requirements import needs

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.verify.reference import reference_logits

pytestmark = [
    *(needs(name) for name in ("torch", "torchvision")),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

FEATURES = 32
Change = Callable[[Any, Any], Any]


def reordered(row: Any, order: str) -> None:
    layers = {key: row._modules[key] for key in order}
    row._modules.clear()
    row._modules.update(layers)


def without_relus(net: Any, nn: Any) -> None:
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        stage[0].relu = nn.Dropout()


def half(nn: Any) -> Any:
    return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))


# A change returns the network, or None where it changed it in place.
OTHERS: dict[str, Change] = {
    "block_relu": lambda net, nn: setattr(net.layer4[0], "relu", nn.Identity()),
    "block_relu_dropout": lambda net, nn: setattr(net.layer3[0], "relu", nn.Dropout()),
    "block_relu_pool": lambda net, nn: setattr(net.layer3[0], "relu", nn.AvgPool3d(1)),
    "all_block_relus": without_relus,
    "middle_relu": lambda net, nn: net.layer4[0].conv1[0].__setitem__(2, nn.Identity()),
    "end_relu": lambda net, nn: net.layer2[0].conv1.__delitem__(2),
    "stem_relu": lambda net, nn: net.stem.__setitem__(2, nn.Identity()),
    "stem_end_relu": lambda net, nn: net.stem.__delitem__(5),
    "relu_before_sum": lambda net, nn: void(net.layer3[0].conv2.append(nn.ReLU())),
    "relu_in_shortcut": lambda net, nn: void(net.layer3[0].downsample.append(nn.ReLU())),
    "pool_behind_stage": lambda net, nn: void(net.layer1.append(nn.AvgPool3d((1, 2, 2)))),
    "max_pool_behind_stage": lambda net, nn: void(net.layer1.append(half(nn))),
    "pool_in_front": lambda net, nn: nn.Sequential(nn.AvgPool3d((1, 2, 2)), net),
    "max_pool_in_front": lambda net, nn: nn.Sequential(half(nn), net),
    "relu_in_front": lambda net, nn: nn.Sequential(nn.ReLU(), net),
    "softmax_in_front": lambda net, nn: nn.Sequential(nn.Softmax(1), net),
    "relu_of_scores": lambda net, nn: nn.Sequential(net, nn.ReLU()),
    "relu_in_head": lambda net, nn: setattr(net, "fc", nn.Sequential(net.fc, nn.ReLU())),
    "softmax_in_head": lambda net, nn: setattr(net, "fc", nn.Sequential(nn.Softmax(1), net.fc)),
    "order_in_stem": lambda net, nn: reordered(net.stem, "021345"),
    "order_at_stem_end": lambda net, nn: reordered(net.stem, "012354"),
}
SAME: dict[str, Change] = {
    "stock": lambda net, nn: None,
    "dropouts": lambda net, nn: nn.Sequential(nn.Dropout3d(0.2), net, nn.Identity()),
    "dropout_in_block": lambda net, nn: void(net.layer3[0].conv2.append(nn.Dropout3d())),
    "relu_between_stages": lambda net, nn: void(net.layer1.append(nn.ReLU())),
    "relu_of_means": lambda net, nn: setattr(net, "fc", nn.Sequential(nn.ReLU(), net.fc)),
    "flat_pool": lambda net, nn: setattr(
        net, "avgpool", nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
    ),
    "two_layers": lambda net, nn: setattr(
        net,
        "fc",
        nn.Sequential(nn.Linear(FEATURES, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 5)),
    ),
}


def void(_: Any) -> None:
    """Forget what `append` returns."""


@pytest.fixture
def changed(torchvision: Any) -> Callable[[Change], Any]:
    """Return a function that makes a small network of torchvision's and changes it."""
    import torch

    resnet, nn = torchvision.models.video.resnet, torch.nn

    def made(change: Change) -> Any:
        torch.manual_seed(0)
        net = resnet.VideoResNet.__new__(resnet.VideoResNet)
        nn.Module.__init__(net)
        net.inplanes = 4
        net.stem = nn.Sequential(
            nn.Conv3d(3, 5, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(5),
            nn.ReLU(inplace=True),
            nn.Conv3d(5, 4, (3, 1, 1), 1, (1, 0, 0), bias=False),
            nn.BatchNorm3d(4),
            nn.ReLU(inplace=True),
        )
        for number, planes in enumerate((4, 8, 16, FEATURES), 1):
            stage = net._make_layer(
                resnet.BasicBlock, resnet.Conv2Plus1D, planes, 1, 1 if number == 1 else 2
            )
            setattr(net, f"layer{number}", stage)
        net.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        net.fc = nn.Linear(FEATURES, 5)
        whole = change(net, nn)
        whole = net if whole is None else whole
        for part in whole.modules():
            if isinstance(part, nn.BatchNorm3d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
        return whole.eval()

    return made


def save_whole(net: Any, path: Path) -> None:
    import torch

    torch.save(net, path)


def save_traced(net: Any, path: Path) -> None:
    import torch

    torch.jit.trace(net, clip()).save(path)


def save_scripted(net: Any, path: Path) -> None:
    import torch

    # PyTorch takes modules of the same parts in another order for one type, and would give the
    # second the code of the first.
    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()
    scripted = torch.jit.script(net)
    np.testing.assert_allclose(logits(scripted), logits(net), rtol=1e-4, atol=1e-5)
    scripted.save(path)


def save_exported(net: Any, path: Path) -> None:
    import torch

    torch.export.save(torch.export.export(net, (clip(),)), path)


def clip() -> Any:
    import torch

    return torch.randn((1, 3, 8, 48, 48), generator=torch.Generator().manual_seed(1))


def logits(net: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return np.asarray(net(clip()).numpy())


FORMS = [
    save_whole,
    save_traced,
    pytest.param(save_scripted, marks=pytest.mark.long),
    pytest.param(save_exported, marks=pytest.mark.long),
]


@pytest.mark.parametrize("save", FORMS)
@pytest.mark.parametrize("name", OTHERS)
def test_another_network_is_refused(changed, tmp_path, name, save):
    net = changed(OTHERS[name])
    assert not np.allclose(logits(net), logits(changed(SAME["stock"])), rtol=1e-3)
    save(net, tmp_path / "net.pt2")
    with pytest.raises(CheckpointError) as caught:
        WeightsOptions().named(read_checkpoint(tmp_path / "net.pt2"))
    assert "onnx_from_torch" in str(caught.value)


@pytest.mark.parametrize("save", FORMS)
@pytest.mark.parametrize("name", SAME)
def test_the_same_network_is_read(changed, tmp_path, name, save):
    net = changed(SAME[name])
    save(net, tmp_path / "net.pt2")
    # A program of torch.export does not name the layers between the classifier's two.
    asked = (name, save) == ("two_layers", save_exported)
    options = WeightsOptions(head_activation="relu" if asked else None)
    named = options.named(read_checkpoint(tmp_path / "net.pt2"))
    assert (named.family.name, named.doubts, named.differs) == ("torchvision", (), "")
    found = reference_logits(named.parameters, named.network(), clip().numpy())
    np.testing.assert_allclose(found, logits(net), rtol=1e-4, atol=1e-5)
