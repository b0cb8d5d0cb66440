"""PyTorch modules as ONNX artifacts."""

from __future__ import annotations

import copy
import functools
import os
import signal
import sys

import numpy as np
import pytest
from networks import FLOAT, spec_for
from parity_checks import answers, torch_answers
from requirements import needs, require

pytest.importorskip("onnx")
from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ModelError, ParityError, SpecError, UsageError
from r2p_edge.export import onnx_from_onnx, onnx_from_torch
from r2p_edge.export.targets.torch_module import trace
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips
from r2p_edge.spec import InputSpec

pytestmark = [needs("onnxruntime"), needs("safetensors")]


@needs("torch")
@pytest.mark.parametrize("input", [InputSpec(), FLOAT])
@pytest.mark.parametrize("batch", [1, 2])
def test_any_torch_module_becomes_an_artifact(out, input, batch):
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv3d(3, 6, 3, 2, 1),
        nn.BatchNorm3d(6),
        nn.GELU(),
        nn.MaxPool3d(2),
        nn.AdaptiveAvgPool3d(1),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    module.train()
    module[1].eval()  # a frozen batch norm
    path = out / "m.onnx"
    spec = onnx_from_torch(module, spec_for(5, input=input), path, batch=batch)
    assert [part.training for part in module] == [True, False, *[True] * 6]
    assert open_artifact(path).spec == spec
    assert spec.parity["reference"] == f"torch {torch.__version__.partition('+')[0]}"
    assert spec.source["dialect"] == "torch"
    assert spec.graph == "conv3d"
    clips = verification_clips(spec, 3, seed=4)
    expected = torch_answers(module.eval(), spec, clips)
    assert agreement(expected, answers(path, spec, clips)).max_rel < 1e-5
    session = open_session(path)
    assert session.get_inputs()[0].name == "frames"
    assert session.get_inputs()[0].shape == [batch, *spec.input_shape[1:]]
    assert session.get_outputs()[0].shape == [batch, 5]


@pytest.fixture
def tt():
    """The small modules of the tests, and PyTorch with them."""
    require("torch")
    import torch_modules

    return torch_modules


def exported(module, out, expected=None, **options):
    """Export a module, and compare the artifact with what the module itself answers."""
    import torch

    spec = onnx_from_torch(module, spec_for(6), out / "m.onnx", **options)
    clips = verification_clips(spec, 3, seed=4)
    with torch.no_grad():
        inputs = torch.from_numpy(normalized(clips, spec))
        want = (expected or module)(inputs).numpy()
    have = answers(out / "m.onnx", spec, clips)
    assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()
    return spec


ANSWERS = {
    "tuple": (lambda tt: lambda frames, scores: (frames, scores), 1, "1"),
    "list": (lambda tt: lambda frames, scores: [scores, frames], "0", "0"),
    "dict": (lambda tt: lambda frames, scores: {"x": frames, "y": scores}, "y", "y"),
    "nested": (
        lambda tt: lambda frames, scores: ({"aux": [frames, scores]},),
        "0.aux.1",
        "0.aux.1",
    ),
    "namedtuple": (lambda tt: tt.Named, "logits", "logits"),
    "dataclass": (lambda tt: tt.Answer, "logits", "logits"),
    "one in a tuple": (lambda tt: lambda frames, scores: (scores,), None, "0"),
    "one in a dict": (lambda tt: lambda frames, scores: {"y": scores, "z": None}, None, "y"),
    "ones": (lambda tt: lambda frames, scores: scores[:, :, None, None, None], None, None),
    "over time": (lambda tt: lambda frames, scores: frames, None, None),
    "over time, with ones": (lambda tt: lambda frames, scores: frames[..., None, None], None, None),
    "over time in a tuple": (lambda tt: lambda frames, scores: (scores, frames), 1, "1"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_the_scores_are_found_in_what_a_module_answers(out, tt, case):
    make, output, place = ANSWERS[case]
    scores = tt.Scores().eval()
    spec = exported(tt.Answers(make(tt)).eval(), out, scores, output=output)
    assert spec.source.get("output") == place
    assert spec.source.get("averaged") == (4 if "over time" in case else None)


@pytest.mark.parametrize(
    ("make", "output", "error", "text"),
    [
        (lambda f, s: (f, s), None, UsageError, r"2 tensors: 0 \(1, 6, 4\), 1 \(1, 6\); choose"),
        (lambda f, s: {"a": f, "b": s}, "c", UsageError, r"none of them c: a \(1, 6, 4\), b"),
        (lambda f, s: s, 0, UsageError, "returns one tensor, so that the output 0 chooses nothing"),
        (
            lambda f, s: {"a": "none"},
            None,
            ModelError,
            "returns a dict in which there is no tensor",
        ),
        (lambda f, s: s.T, None, SpecError, r"returns \(6, 1\) where the spec has 6 labels"),
        (lambda f, s: f[..., None, None].repeat(1, 1, 1, 2, 2), None, SpecError, "of each frame"),
    ],
)
def test_answers_without_scores_are_refused(out, tt, make, output, error, text):
    with pytest.raises(error, match=text):
        onnx_from_torch(tt.Answers(make), spec_for(6), out / "m.onnx", output=output)
    assert list(out.iterdir()) == []


def test_two_pathways_become_one_input_by_a_wrapper(out, tt):
    from torch import nn

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = tt.Pathways()

        def forward(self, clip):
            return self.network([clip[:, :, ::4], clip])

    with pytest.raises(ModelError, match=r"two clips.*self.network\(\[clip\[:, :, ::4\], clip\]\)"):
        onnx_from_torch(tt.Pathways(), spec_for(6), out / "m.onnx")
    exported(Both().eval(), out)


def state_of(module):
    """Return all of a module that an export could change."""
    return [
        [
            (name, each.dtype, each.requires_grad, each.grad)
            for name, each in module.named_parameters()
        ],
        [each.clone() for each in module.state_dict().values()],
        [(type(part), part.training, dict(part._forward_hooks)) for part in module.modules()],
    ]


@pytest.mark.parametrize(
    "wrap",
    [
        "DataParallel",
        "compile",
        "compiled part",
        "compiled in place",
        "average",
        "half",
        "bfloat16",
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_a_module_is_unwrapped_and_stays_as_it_was(out, tt, wrap, fails):
    import torch
    from torch import nn

    module = tt.Scores().train()
    module.norm.eval()
    module.conv.weight.requires_grad_(False)
    module.conv.register_forward_hook(lambda part, given, answer: answer * 2)
    plain = copy.deepcopy(module)
    if wrap in ("half", "bfloat16"):
        plain = getattr(plain, wrap)()
    compiled = functools.partial(torch.compile, backend="eager")
    given = {
        "DataParallel": nn.DataParallel,
        "compile": compiled,
        "compiled part": lambda part: nn.Sequential(compiled(part)),
        "compiled in place": lambda part: part.compile(backend="eager") or part,
        "average": torch.optim.swa_utils.AveragedModel,
        "half": nn.Module.half,
        "bfloat16": nn.Module.bfloat16,
    }[wrap](module)
    before = state_of(given)
    plain = plain.float().eval()
    if fails:
        with pytest.raises(SpecError):
            onnx_from_torch(given, spec_for(7), out / "m.onnx")
    else:
        exported(given, out, plain)
    for have, want in zip(state_of(given), before):
        if isinstance(have[0], torch.Tensor):
            assert all(map(torch.equal, have, want))
        else:
            assert have == want


def test_shortcut_a_of_kenshohara_is_exact(out, tt):
    """Its `.data` is lost to the tracer by itself: the answers were 54 % off."""
    exported(tt.ShortcutA().eval(), out, pixels="normalized")  # as it begins with the shortcut


@pytest.mark.parametrize("batch", [1, 2])
def test_rolls_by_nothing_have_a_form_without_conv3d(out, tt, batch):
    exported(tt.Rolled().eval(), out, batch=batch)
    onnx_from_onnx(out / "m.onnx", spec_for(6), out / "2d.onnx", graph="conv2d")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.slow
def test_programs_of_torchscript_and_torch_export(out, tt):
    import torch

    class Wrapper(torch.nn.Module):  # of a name that the module in it has in PyTorch's too
        def __init__(self):
            super().__init__()
            self.module = tt.Scores()

        def forward(self, clips):
            return self.module(clips) * 3 - 1

    clip, net = torch.zeros(1, 3, 4, 32, 32), Wrapper().eval()
    exported(torch.jit.trace(net, clip), out, net)
    require("onnxscript")  # the older exporter takes no such program
    exported(torch.export.export(net, (clip,)).module(), out, net)
    trained = torch.export.export(tt.Scores().train(), (clip,)).module()
    with pytest.raises(ModelError, match=r"in training mode \(aten\.batch_norm"):
        onnx_from_torch(trained, spec_for(6), out / "n.onnx")


def test_a_module_of_another_device_is_copied_or_refused(out, tt):
    with pytest.raises(ModelError, match=r"cannot be copied to the CPU .* module\.cpu\(\)"):
        onnx_from_torch(tt.Scores().to("meta"), spec_for(6), out / "m.onnx")


def failing(tt, kind):
    """Return a module that fails when it is run."""
    import torch

    class Failing(tt.Scores):
        def forward(self, clips):
            if kind == "memory":
                clips = clips + torch.zeros(2**33)[0]
            if kind == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "exit":
                sys.exit("no")
            if kind == "random":
                clips = torch.nn.functional.dropout(clips)
            if kind == "infinite":
                clips = clips / 0
            if kind == "error":
                raise KeyError("conv9")
            return super().forward(clips)

    return Failing()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("memory", "cannot be run for clips of .* takes more than 6 GiB of memory"),
        (
            "killed",
            r"was killed by SIGKILL when it was run for clips of .* in a process of its own",
        ),
        ("exit", r"\(SystemExit: no; test_onnx_torch.py, line \d+\)"),
        ("infinite", "answers numbers that are not finite"),
        ("random", "answers the same clip differently each time"),
        ("error", r"\(KeyError: 'conv9'; test_onnx_torch.py, line \d+\)"),
    ],
)
def test_a_module_that_fails_ends_in_one_sentence(out, tt, kind, text):
    with pytest.raises(ModelError, match=text):
        onnx_from_torch(failing(tt, kind), spec_for(6), out / "m.onnx")
    assert list(out.iterdir()) == []


def test_what_a_tracer_took_for_a_constant_is_named(out, tt, monkeypatch):
    class Constant(tt.Scores):
        def forward(self, clips):
            return super().forward(clips) * float(clips.std() * 9)

    found = trace.exporters()[:1]
    monkeypatch.setattr(trace, "exporters", lambda: found)
    text = r"does not answer as its source .* it warned of test_onnx_torch.py, line \d+: Converting"
    with pytest.raises(ParityError, match=text):
        onnx_from_torch(Constant(), spec_for(6), out / "m.onnx")


@needs("onnxscript")
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["raises", "eats memory", "dies", "does not run", "is wrong"])
def test_the_second_exporter_is_tried(out, tt, monkeypatch, fault):
    import torch

    first, second = trace.exporters()

    def spoiled(module, example, file):
        if fault == "eats memory":
            torch.zeros(2**33)
        if fault == "dies":
            os.abort()
        if fault == "raises":
            raise RuntimeError("no symbolic function")
        if fault == "is wrong":
            module.module.conv.weight.mul_(1.1)
        first.write(module, example, file)
        if fault == "does not run":
            file.write_bytes(file.read_bytes()[:-500])

    monkeypatch.setattr(trace, "exporters", lambda: [first._replace(write=spoiled), second])
    exported(tt.Scores().eval(), out)
    monkeypatch.setattr(trace, "exporters", lambda: [first._replace(write=spoiled)])
    with pytest.raises((ModelError, ParityError), match="the TorchScript exporter"):
        onnx_from_torch(tt.Scores(), spec_for(6), out / "n.onnx")


@needs("torch")
def test_torch_modules_that_do_not_fit_are_refused(out):
    from torch import nn

    module = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 5))
    with pytest.raises(SpecError, match=r"returns \(1, 5\) .* has 6 labels"):
        onnx_from_torch(module, spec_for(6), out / "m.onnx")
    with pytest.raises(UsageError, match="batch is 0"):
        onnx_from_torch(module, spec_for(5), out / "m.onnx", batch=0)
    text = r"Sequential cannot be run for clips of \(3, 4, 32, 32\) \(RuntimeError: "
    with pytest.raises(ModelError, match=text):
        onnx_from_torch(nn.Sequential(nn.Linear(7, 7)), spec_for(6), out / "m.onnx")
    assert list(out.iterdir()) == []
