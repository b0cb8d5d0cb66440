"""Networks whose own forward is not their family's are doubted in each form that PyTorch saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import FLOAT, spec_for
from requirements import needs

from r2p_edge.errors import CheckpointError, ParityError
from r2p_edge.export.build import build
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions

pytestmark = [
    *(needs(name) for name in ("onnx", "onnxruntime", "torch", "torchvision")),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:"),
]

SHAPE = (1, 3, 4, 32, 32)


def bgr(net: Any, x: Any) -> Any:
    return net.whole((x[:, [2, 1, 0]] - 127.5) / 127.5)


def last_step(net: Any, x: Any) -> Any:
    return net.fc(net.features(x)[:, :, -1].mean((2, 3)))


def mirrored(net: Any, x: Any) -> Any:
    return (net.whole(x) + net.whole(x.flip(4))) / 2


def lighter(net: Any, x: Any) -> Any:
    return net.whole(x + 0.5)


def as_it_is(net: Any, x: Any) -> Any:
    return net.whole(x)


def squashed(net: Any, x: Any) -> Any:
    import torch

    return net.fc(torch.tanh(net.avgpool(net.features(x)).flatten(1)))


def halved_frames(net: Any, x: Any) -> Any:
    return net.whole(x[:, :, ::2])


def pooled(net: Any, x: Any) -> Any:
    import torch

    return net.whole(torch.nn.functional.avg_pool3d(x, (1, 2, 2)))


def without_a_relu(net: Any, x: Any) -> Any:
    block = net.layer4[0]
    x = net.layer3(net.layer2(net.layer1(net.stem(x))))
    x = block.conv2(block.conv1(x)) + block.downsample(x)
    return net.fc(net.avgpool(x).flatten(1))


def without_the_classifier(net: Any, x: Any) -> Any:
    return net.avgpool(net.features(x)).flatten(1)


def without_a_shortcut(net: Any, x: Any) -> Any:
    block = net.layer4[0]
    x = net.layer3(net.layer2(net.layer1(net.stem(x))))
    return net.fc(net.avgpool(block.relu(block.conv2(block.conv1(x)))).flatten(1))


OTHERS = {
    "bgr": (bgr, r"calls \w+ on its input"),
    "mirrored": (mirrored, "calls flip on its input"),
    "lighter": (lighter, "calls add on its input"),
    "halved_frames": (halved_frames, "calls slice on its input"),
    "pooled": (pooled, "calls avg_pool3d on its input"),
    "without_a_relu": (without_a_relu, "what add gives"),
    "without_the_classifier": (without_the_classifier, "ends with what"),
    "without_a_shortcut": (without_a_shortcut, "on what layer4.0.conv2.1 gives|gives layer4"),
}


@pytest.fixture(scope="module")
def network(torchvision):
    """Return a function that makes a network of torchvision's with another forward."""
    import torch

    resnet = torchvision.models.video.resnet
    torch.manual_seed(0)

    class Own(resnet.VideoResNet):
        own: Any = staticmethod(as_it_is)

        def features(self, x: Any) -> Any:
            return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))

        def whole(self, x: Any) -> Any:
            return super().forward(x)

        def forward(self, x: Any) -> Any:
            return type(self).own(self, x)

    globals()["Own"] = Own  # where pickles look for it
    Own.__qualname__ = "Own"

    def made(own: Any = None) -> Any:
        args = (resnet.BasicBlock, [resnet.Conv2Plus1D] * 4, [1] * 4, resnet.R2Plus1dStem, 7)
        if own is None:
            return settled(resnet.VideoResNet(*args))
        Own.own = staticmethod(own)
        return settled(Own(*args))

    def settled(net: Any) -> Any:
        for part in net.modules():
            if isinstance(part, torch.nn.BatchNorm3d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
        return net.eval()

    return made


def save_traced(net: Any, path: Path) -> None:
    import torch

    torch.jit.trace(net, torch.randn(SHAPE)).save(path)


def save_exported(net: Any, path: Path) -> None:
    import torch

    torch.export.save(torch.export.export(net, (torch.randn(SHAPE),)), path)


def save_scripted(net: Any, path: Path) -> None:
    import torch

    torch.jit.script(net).save(path)


def save_whole(net: Any, path: Path) -> None:
    import torch

    torch.save(net, path)


SAVES = [save_traced, pytest.param(save_exported, marks=pytest.mark.long)]


def doubts_of_file(path: Path) -> tuple[str, ...]:
    return WeightsOptions().named(read_checkpoint(path)).doubts


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("own", OTHERS)
def test_code_that_does_otherwise_is_refused(network, tmp_path, own, save):
    path = tmp_path / "net.pt2"
    forward, message = OTHERS[own]
    save(network(forward), path)
    with pytest.raises(CheckpointError, match=f"its own code .*({message})") as caught:
        doubts_of_file(path)
    assert "or settle it with --golden" in str(caught.value)
    assert WeightsOptions(settled=True).named(read_checkpoint(path)).differs


@pytest.mark.parametrize("save", SAVES)
def test_what_may_come_to_the_same_is_doubted(network, tmp_path, save):
    path = tmp_path / "net.pt2"
    save(network(last_step), path)
    (found,) = doubts_of_file(path)
    assert "the network's own code does what that of torchvision does not" in found
    assert "select" in found


@pytest.mark.parametrize("save", [save_traced, save_exported, save_scripted, save_whole])
def test_torchvision_s_own_is_not(network, tmp_path, save):
    path = tmp_path / "net.pt2"
    save(network(), path)
    assert doubts_of_file(path) == ()


@pytest.mark.parametrize("save", SAVES)
def test_code_that_calls_the_same_layers_is_not(network, tmp_path, save):
    path = tmp_path / "net.pt2"
    save(network(as_it_is), path)
    assert doubts_of_file(path) == ()


@pytest.mark.parametrize("save", SAVES)
def test_another_activation_in_the_code_is_refused(network, tmp_path, save):
    path = tmp_path / "net.pt2"
    save(network(squashed), path)
    with pytest.raises(CheckpointError, match=r"tanh, which no known family has"):
        doubts_of_file(path)


def test_a_class_that_no_one_knows_is_doubted(network, tmp_path):
    path = tmp_path / "net.pth"
    save_whole(network(as_it_is), path)
    (found,) = doubts_of_file(path)
    assert f"a whole module of {__name__}.Own and has no code of it" in found
    assert "--golden" in found
    assert "--module" in found


def test_a_hook_is_doubted(network, tmp_path):
    import torch
    from torch.nn.utils import prune

    net = network()
    net.register_forward_pre_hook(halved)
    torch.save(net, tmp_path / "net.pth")
    (found,) = doubts_of_file(tmp_path / "net.pth")
    assert f"a hook ({__name__}.halved)" in found
    plain = network()
    prune.l1_unstructured(plain.fc, "weight", 0.5)
    torch.save(plain, tmp_path / "pruned.pth")
    assert doubts_of_file(tmp_path / "pruned.pth") == ()


def halved(module: Any, inputs: Any) -> Any:
    return (inputs[0] / 2,)


def test_a_golden_pair_settles_it(network, tmp_path):
    import torch

    options: dict[str, Any] = {
        "targets": ["onnx"],
        "spec": spec_for(7, frames=4, size=32, input=FLOAT),
        "golden": tmp_path / "golden.npz",
    }
    clip = torch.randn(SHAPE)
    for own, fails in ((as_it_is, False), (mirrored, True)):
        net = network(own)
        save_whole(net, tmp_path / "net.pth")
        with torch.no_grad():
            np.savez(options["golden"], input=clip.numpy(), logits=net(clip).numpy())
        if fails:
            with pytest.raises(ParityError, match="does not answer as golden"):
                build(tmp_path / "net.pth", out=tmp_path / "b", **options)
        else:
            report = build(tmp_path / "net.pth", out=tmp_path / "a", strict=True, **options)
            assert report.warnings == []
    del options["golden"]
    (found,) = build(tmp_path / "net.pth", out=tmp_path / "c", **options).warnings
    assert "has no code of it" in found
