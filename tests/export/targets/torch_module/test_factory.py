"""Modules that a function of the user's makes, with the weights of a checkpoint."""

from __future__ import annotations

import json
import os
import textwrap

import numpy as np
import pytest
from exit_codes import USAGE
from networks import spec_for
from parity_checks import answers
from requirements import needs, require

pytest.importorskip("onnx")
from r2p_edge.errors import CheckpointError, ModelError, ModelNotFoundError, SpecError, UsageError
from r2p_edge.export import onnx_from_torch
from r2p_edge.export.build import build
from r2p_edge.export.presets import preset
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips

pytestmark = needs("onnxruntime")

CODE = """
    import sys
    import torch
    from torch import nn
    {imports}

    class Net(nn.Module):
        def __init__(self, classes=5, width=4):
            super().__init__()
            print("made", width)
            self.backbone = nn.Sequential(nn.Conv3d(3, width, 3, 2, 1), nn.BatchNorm3d(width))
            self.fc = nn.Linear(width, classes)

        def forward(self, clips):
            features = self.backbone(clips).relu()
            return {{"logits": self.fc(features.mean((2, 3, 4))), "features": features}}

    made = Net()

    def number():
        return 3

    def failing():
        raise ValueError("no such\\nthing")
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with the user's code and a checkpoint, in which the command is given."""
    require("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(textwrap.dedent(CODE.format(imports="")))
    package = tmp_path / "work" / "nets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sizes.py").write_text("WIDTH = 4\n")
    (package / "net.py").write_text(
        textwrap.dedent(CODE.format(imports="from .sizes import WIDTH as _"))
    )
    return tmp_path


def network(folder, **arguments):
    """Return the user's network with weights of its own."""
    import torch

    found = {}
    exec((folder / "net.py").read_text(), found)
    torch.manual_seed(1)
    return found["Net"](**arguments).eval()


def exported(spec=None, weights="best.pth", **options):
    """Export `--module` into the folder `out`; return the artifact."""
    options = {"targets": ["onnx"], "trust_code": True, "output": "logits"} | options
    return build(weights, out="out", spec=spec or spec_for(5), **options).built


@pytest.mark.parametrize("file", ["net.py", "work/nets/net.py", "net", "work.nets.net"])
@pytest.mark.parametrize("saved", ["module.", "model.backbone.", ""])
def test_a_module_of_any_file(work, capfd, file, saved):
    import torch

    net = network(work, width=3)
    state = {f"{saved}{name}": each for name, each in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, "best.pth")
    capfd.readouterr()
    (built,) = exported(module=f"{file}:Net", args={"width": 3})
    out, errors = capfd.readouterr()
    clips = verification_clips(built.spec, 3, seed=4)
    with torch.no_grad():
        want = net(torch.from_numpy(normalized(clips, built.spec)))["logits"].numpy()
    have = answers(built.path, built.spec, clips)
    assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()
    source = built.spec.source
    assert source["file"] == "best.pth"
    assert source["output"] == "logits"
    assert source["args"] == {"width": 3}
    assert source["module"].endswith(":Net")
    assert built.spec.parity["reference"].startswith("torch ")
    assert "made 3" in errors
    assert not out


@pytest.mark.slow
def test_every_form_and_target_of_a_module(work):
    require("openvino")
    import torch

    net = network(work)
    torch.save(net.state_dict(), "best.pth")
    options = {"module": "net.py:Net", "graph": "conv2d", "batch": 2}
    built = exported(targets=["onnx", "openvino"], **options)
    assert [each.spec.graph for each in built] == ["conv2d", "conv2d"]
    clips = verification_clips(built[0].spec, 4, seed=4)
    with torch.no_grad():
        want = net(torch.from_numpy(normalized(clips, built[0].spec)))["logits"].numpy()
    have = answers(built[0].path, built[0].spec, clips)
    assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()


def test_a_module_that_comes_with_its_weights(work):
    (built,) = exported(module="net.py:made", weights="none")
    assert built.path.name == "test-fp32.onnx"
    assert built.spec.source["file"] == "net.Net"
    with pytest.raises(UsageError, match="is a module already, so that --args changes nothing"):
        exported(module="net.py:made", weights="none", args={"width": 3})


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"trust_code": False}, UsageError, "runs the code of net.py .* add --trust-code"),
        ({"module": "net.py"}, UsageError, "the module is net.py; give FILE:FACTORY"),
        ({"module": "net.py:a b"}, UsageError, "give FILE:FACTORY"),
        ({"module": "other.py:Net"}, ModelNotFoundError, "there is no Python file other.py"),
        ({"weights": None}, UsageError, "no weights are given for net.py:Net; give --weights"),
        ({"weights": "none", "weights_key": "ema"}, UsageError, "there are no weights of which"),
        ({"weights": "other.pth"}, ModelNotFoundError, "other.pth does not exist"),
        ({"family": "vmz"}, UsageError, "leave family out"),
        ({"module": None, "args": {}}, UsageError, "args are those of a module"),
        ({"module": None, "output": None, "weights": None}, UsageError, "there is no source"),
        (
            {"module": "net.py:Nothing"},
            ModelError,
            "net.py has no Nothing; it has Net, made, number",
        ),
        ({"module": "nothing:Net"}, ModelError, "cannot be made .* No module named 'nothing'"),
        ({"module": "net.py:number"}, ModelError, "net.py:number returns int and not a torch"),
        ({"module": "net.py:failing"}, ModelError, r"ValueError: no such; net.py, line \d+\)"),
        ({"args": {"depth": 3}}, ModelError, "TypeError: .*unexpected keyword argument 'depth'"),
        ({"output": None}, UsageError, r"2 tensors: logits \(1, 5\), features \(1, 4, 2, 16, 16\)"),
        (
            {"args": {"classes": 7}},
            CheckpointError,
            r"2 of other shapes \(fc.bias \(5,\) where the module has \(7,\), fc.weight",
        ),
    ],
)
def test_what_is_wrong_is_said(work, options, error, text):
    import torch

    torch.save(network(work).state_dict(), "best.pth")
    with pytest.raises(error, match=text):
        exported(**{"module": "net.py:Net"} | options)
    assert not os.path.exists("out")


def test_on_the_command_line(work, run, fails):
    import torch

    torch.save(network(work).state_dict(), "best.pth")
    (work / "spec.json").write_text(json.dumps(spec_for(5).to_dict()))
    asked = ["export", "--module", "net.py:Net", "--out", "out", "--spec", "spec.json"]
    asked += ["--output", "logits", "--weights", "best.pth", "--json"]
    code, output, errors = run(*asked, "--trust-code", "--args", '{"width": 4}')
    assert code == 0, errors
    assert json.loads(output.splitlines()[-1])["artifacts"][0]["status"] == "built"
    plain = [each for each in asked if each not in ("--json",)]
    fails(USAGE, "add --trust-code if you trust", *plain)
    fails(USAGE, "--args is not JSON", *plain, "--trust-code", "--args", "width=4")
    fails(USAGE, "--args is '[4]'; give an object", *plain, "--trust-code", "--args", "[4]")
    fails(USAGE, "both best.pth and --module were given", *plain, "best.pth")
    fails(USAGE, "--weights are those of --module", "export", "--weights", "best.pth", "--out", "o")
    fails(USAGE, "there is no source", "export", "--out", "o")
    fails(USAGE, "choose the scores", *plain[:-4], "--weights", "best.pth", "--trust-code")
    fails(
        USAGE,
        "does not say how it was trained; give --preset",
        *plain[:5],
        *plain[7:],
        "--trust-code",
    )


NORMALISING = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv3d(3, 4, 3, 2, 1), nn.Linear(4, 5)
            mean, std = [0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]
            self.register_buffer("mean", torch.tensor(mean)[:, None, None, None])
            self.register_buffer("std", torch.tensor(std)[:, None, None, None])

        def forward(self, clips):
            clips = (clips / {scale} - self.mean) / self.std
            return {{"logits": self.fc(self.conv(clips).relu().mean((2, 3, 4)))}}
"""


@pytest.mark.parametrize(("pixels", "scale"), [("unit", 1), ("raw", 255)])
def test_a_module_that_normalises_by_itself(work, pixels, scale):
    """It is not normalised twice: with the recipe's numbers it is seen, with others asked for."""
    import torch

    (work / "net.py").write_text(textwrap.dedent(NORMALISING.format(scale=scale)))
    (work / "labels.txt").write_text("".join(f"class {number}\n" for number in range(5)))
    net = network(work)
    torch.save(net.state_dict(), "best.pth")
    options = {"module": "net.py:Net", "output": "logits", "trust_code": True, "out": "out"}
    options |= {"targets": ["onnx"], "labels": "labels.txt", "frames": 4, "size": 32}

    def check(path, spec):
        clips = verification_clips(spec, 2, seed=4)
        taken = torch.from_numpy(clips).permute(0, 4, 1, 2, 3) / (255 / scale)
        with torch.no_grad():
            want = net(taken)["logits"].numpy()
        have = answers(path, spec, clips)
        assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()

    def check_export(**recipe):
        report = build("best.pth", **recipe, **options)
        (built,) = report.built
        check(built.path, built.spec)
        assert (built.spec.checks or {}).get("warnings", []) == report.warnings
        return report.warnings

    (warning,) = check_export(preset="kinetics400-torchvision")
    assert "Net begins with the normalisation of the preset" in warning
    assert f"--pixels {pixels}" in warning
    with pytest.raises(SpecError, match=rf"Net begins with .* the preset.*--pixels {pixels}"):
        check_export(preset="kinetics400-torchvision", strict=True)
    with pytest.raises(UsageError, match=r"Net begins with .* --pixels unit"):
        build("best.pth", preset="kinetics400-gluoncv", **options)
    assert check_export(preset="kinetics400-gluoncv", pixels=pixels) == []
    # In Python.
    spec = preset("kinetics400-torchvision").spec(name="own", labels=("a", "b", "c", "d", "e"))
    with pytest.raises(UsageError, match=r"Net begins with .* --pixels unit"):
        onnx_from_torch(net, spec, "own.onnx", output="logits")
    path = work / "own.onnx"
    check(path, onnx_from_torch(net, spec, path, output="logits", pixels=pixels))
