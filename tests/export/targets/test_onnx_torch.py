"""PyTorch modules as ONNX artifacts."""

from __future__ import annotations

import pytest
from networks import FLOAT, spec_for
from parity_checks import answers, torch_answers
from requirements import needs

from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import (
    ModelError,
    SpecError,
    UsageError,
)
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.spec import InputSpec

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


@needs("torch")
@pytest.mark.parametrize("input", [InputSpec(), FLOAT])
@pytest.mark.parametrize("batch", [1, 2])
def test_any_torch_module_becomes_an_artifact(out, input, batch):
    import torch
    from torch import nn

    from r2p_edge.export import onnx_from_torch

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


@needs("torch")
def test_torch_modules_that_do_not_fit_are_refused(out):
    from torch import nn

    from r2p_edge.export import onnx_from_torch

    module = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 5))
    with pytest.raises(SpecError, match=r"returns \(3, 5\) .* has 6 labels"):
        onnx_from_torch(module, spec_for(6), out / "m.onnx")
    with pytest.raises(UsageError, match="batch is 0"):
        onnx_from_torch(module, spec_for(5), out / "m.onnx", batch=0)
    with pytest.raises(ModelError, match="Sequential cannot be run or exported"):
        onnx_from_torch(nn.Sequential(nn.Linear(7, 7)), spec_for(6), out / "m.onnx")
    assert list(out.iterdir()) == []
