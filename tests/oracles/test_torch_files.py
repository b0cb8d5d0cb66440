"""Files of PyTorch's own making, read without it: names, shapes and bits as PyTorch has them."""

from __future__ import annotations

import argparse
import copy
import datetime
import enum
import sys
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from requirements import needs

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.torch import read_torch_file

pytestmark = needs("torch")


class HistoryBuffer:
    """Numbers of a training's log, as mmengine keeps them."""

    def __init__(self) -> None:
        self.history = np.linspace(0, 1, 50)
        self.statistics = OrderedDict(mean=max, last=min)


class Mode(enum.Enum):
    """A setting."""

    TRAIN = "train"


@dataclass
class Settings:
    """Settings of a training."""

    mode: Mode = Mode.TRAIN
    begun: datetime.datetime = field(default_factory=lambda: datetime.datetime(2020, 1, 2))
    folder: Path = Path("runs")


def network() -> Any:
    """Return a small video network with weights in every form of layer."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    stem = nn.Sequential(
        nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1), bias=False), nn.BatchNorm3d(4, eps=1e-3)
    )
    head = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5))
    whole = nn.Sequential(OrderedDict(stem=stem, act=nn.ReLU(), head=head)).eval()
    with torch.no_grad():
        whole(torch.rand(1, 3, 2, 8, 8))
    return whole


def trained(optimizer: str) -> tuple[Any, Any]:
    """Return a network and its optimizer after a step."""
    import torch

    net = network()
    optimizer = getattr(torch.optim, optimizer)(net.parameters(), lr=0.01)
    net(torch.rand(1, 3, 2, 8, 8)).sum().backward()
    optimizer.step()
    return net, optimizer


def beside(**more: Any) -> Any:
    """Return a function that saves a network's weights beside other things."""
    return lambda net: {**more, "state_dict": net.state_dict()}


def with_optimizer(name: str, *, whole: bool = False) -> Any:
    def saved(net: Any) -> Any:
        import torch

        taught, optimizer = trained(name)
        net.load_state_dict(taught.state_dict())
        plan = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        if whole:
            return {"optimizer": optimizer, "scheduler": plan, "model": net.state_dict()}
        return {
            "optimizer": optimizer.state_dict(),
            "scheduler": plan.state_dict(),
            "scaler": {"scale": 65536.0, "growth": torch.tensor([2.0])},
            "model": net.state_dict(),
        }

    return saved


def parallel(net: Any) -> Any:
    import torch

    return torch.nn.DataParallel(net)


def average(net: Any) -> Any:
    from torch.optim.swa_utils import AveragedModel

    return AveragedModel(net)


WRAPPERS = {
    "a state dict": lambda net: net.state_dict(),
    "a plain dict": lambda net: dict(net.state_dict()),
    "a defaultdict": lambda net: defaultdict(list, net.state_dict()),
    "parameters": lambda net: dict(net.named_parameters()) | dict(net.named_buffers()),
    "state_dict": beside(epoch=3, best=0.5),
    "model": lambda net: {"model": net.state_dict(), "epoch": 1},
    "model_state": lambda net: {"model_state": net.state_dict()},
    "net_state_dict": lambda net: {"net_state_dict": net.state_dict(), "acc": [0.1, 0.2]},
    "module": lambda net: {"module": net.state_dict(), "lr": 1e-3},
    "a name of its own": lambda net: {"my_video_net": net.state_dict()},
    "nested twice": lambda net: {"checkpoint": {"model": {"state_dict": net.state_dict()}}},
    "a tuple": lambda net: (net.state_dict(), 7),
    "a list": lambda net: [3, {"weights": net.state_dict()}],
    "arguments": beside(args=argparse.Namespace(arch="r2plus1d_18", lr=[0.1, 0.2])),
    "numbers of NumPy": beside(best=np.float64(0.5), epoch=np.int64(3), mean=np.ones(3)),
    "a class of the training": beside(message_hub={"loss": HistoryBuffer()}),
    "dataclass, enum, date and path": beside(settings=Settings()),
    "tensors of one axis": lambda net: {"mean": net.stem[1].bias, "model": net.state_dict()},
    "SGD": with_optimizer("SGD"),
    "Adam": with_optimizer("Adam"),
    "Adam, whole": with_optimizer("Adam", whole=True),
    "a whole module": lambda net: net,
    "a whole module in a dict": lambda net: {"model": net, "epoch": 3},
    "a module beside its state": lambda net: {"net": net, "state_dict": net.state_dict()},
    "DataParallel": parallel,
    "DataParallel's state": lambda net: parallel(net).state_dict(),
    "an average": average,
    "an average's state": lambda net: {"model_ema": average(net).state_dict()},
    "a frozen copy": lambda net: copy.deepcopy(net).requires_grad_(False),
    "an attribute of a parameter": lambda net: (
        setattr(net.stem[0].weight, "note", "kept"),
        net.state_dict(keep_vars=True),
    )[1],
}
FORMS = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
    "legacy, protocol 5": {"pickle_protocol": 5, "_use_new_zipfile_serialization": False},
}


def expected(saved: Any) -> dict[str, Any]:
    """Return the tensors by name that PyTorch's user means by what was saved."""
    import torch

    while True:
        if isinstance(saved, torch.nn.Module):
            return dict(saved.state_dict())
        if isinstance(saved, dict):
            names = [name for name, value in saved.items() if isinstance(value, torch.Tensor)]
            if any("." in name for name in names):
                return {name: saved[name] for name in names}
            saved = list(saved.values())
        saved = next(
            value
            for value in saved
            if isinstance(value, (torch.nn.Module, dict)) and holds_weights(value)
        )


def holds_weights(value: Any) -> bool:
    import torch

    if isinstance(value, torch.nn.Module):
        return True
    return any(
        (isinstance(name, str) and "." in name and isinstance(part, torch.Tensor))
        or (isinstance(part, (dict, torch.nn.Module)) and holds_weights(part))
        for name, part in value.items()
    )


def read_without_torch(path: Path, key: str | None = None) -> dict[str, np.ndarray]:
    """Read a file while PyTorch cannot be imported."""
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setitem(sys.modules, "torch", None)
        return read_torch_file(file, key).arrays


def assert_same(found: dict[str, np.ndarray], tensors: dict[str, Any]) -> None:
    """Check names, order, shapes and bits; floating-point numbers are float32 in `found`."""
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        want = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        assert (found[name].dtype, found[name].shape) == (want.dtype, want.shape)
        assert found[name].tobytes() == want.tobytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_training_scripts_save(tmp_path, wrapper, form):
    import torch

    saved = WRAPPERS[wrapper](network())
    torch.save(saved, tmp_path / "model.pth", **FORMS[form])
    assert_same(read_without_torch(tmp_path / "model.pth"), expected(saved))


def dtypes(net: Any) -> Any:
    import torch

    numbers = torch.tensor([1.5, -2.25, 100, 0.1])
    kinds = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64"]
    return {f"a.{k}": numbers.to(getattr(torch, k)) for k in [*kinds, "uint8", "bool", "uint16"]}


def views(_: Any) -> Any:
    import torch

    whole = torch.arange(120.0).reshape(2, 3, 4, 5)
    return {
        "a.whole": whole,
        "a.transposed": whole.transpose(0, 2),
        "a.slice": whole[:, 1:, ::2, 3],
        "a.tied": whole,
        "a.scalar": torch.tensor(3.5),
        "a.empty": torch.zeros(0, 4),
        "a.channels_last": torch.rand(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d),
        "a.half": torch.rand(6, 5).bfloat16().t()[1:],
        "a.expanded": torch.arange(4.0)[None].expand(1, 4),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tensors", [dtypes, views])
def test_every_kind_of_tensor(tmp_path, tensors, form):
    import torch

    saved = tensors(None)
    torch.save(saved, tmp_path / "model.pth", **FORMS[form])
    assert_same(read_without_torch(tmp_path / "model.pth"), saved)


def test_shared_numbers_are_read_once(tmp_path):
    import torch

    whole = torch.rand(50, 40)
    torch.save({f"a.{k}": whole[k] for k in range(50)}, tmp_path / "model.pth")
    found = read_without_torch(tmp_path / "model.pth")
    starts = [array.ctypes.data for array in found.values()]
    assert np.diff(starts).tolist() == [4 * 40] * 49


def test_a_subclass_of_tensor(tmp_path):
    import torch

    class Marked(torch.Tensor):
        pass

    globals()["Marked"] = Marked
    Marked.__module__, Marked.__qualname__ = __name__, "Marked"
    weight = torch.rand(3, 4)
    torch.save({"fc.weight": weight.as_subclass(Marked)}, tmp_path / "model.pth")
    assert_same(read_without_torch(tmp_path / "model.pth"), {"fc.weight": weight})


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("kind", ["trace", "script"])
def test_torchscript(tmp_path, kind):
    import torch

    net, example = network(), torch.rand(1, 3, 2, 8, 8)
    program = torch.jit.trace(net, example) if kind == "trace" else torch.jit.script(net)
    program.save(str(tmp_path / "model.pt"))
    assert_same(read_without_torch(tmp_path / "model.pt"), dict(net.state_dict()))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_frozen_torchscript_program(tmp_path):
    import torch

    torch.jit.freeze(torch.jit.script(network())).save(str(tmp_path / "model.pt"))
    with pytest.raises(CheckpointError, match="TorchScript program whose weights are frozen"):
        read_without_torch(tmp_path / "model.pt")


def test_exported_programs(tmp_path):
    import torch

    net = network()
    program = torch.export.export(net, (torch.rand(1, 3, 2, 8, 8),))
    torch.export.save(program, tmp_path / "model.pt2")
    found = read_without_torch(tmp_path / "model.pt2")
    assert_same({name: found[name] for name in net.state_dict()}, dict(net.state_dict()))


def test_one_of_several_sets_is_chosen(tmp_path):
    import torch

    net, copied = network(), average(network())
    torch.save({"model": net, "ema": {"weights": copied.state_dict()}}, tmp_path / "model.pth")
    found = read_without_torch(tmp_path / "model.pth", "ema.weights")
    assert_same(found, dict(copied.state_dict()))
    assert_same(read_without_torch(tmp_path / "model.pth", "model"), dict(net.state_dict()))
