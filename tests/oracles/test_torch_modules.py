"""torchvision's transformers through `onnx_from_torch`, against their own answers."""

import functools

import numpy as np
import pytest
from networks import spec_for
from parity_checks import answers
from requirements import import_torchvision, needs

pytest.importorskip("onnx")
from r2p_edge.export import onnx_from_onnx, onnx_from_torch
from r2p_edge.export.graph.model import load_onnx, opset
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips

pytestmark = [
    needs("torchvision"),
    needs("onnxruntime"),
    needs("onnxscript"),
    pytest.mark.slow,
]


BY_DYNAMO = 18
"""The opset that the second exporter writes; the first writes 17."""


def small_swin():
    """Return a Video Swin of four blocks, two of which roll their windows."""
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    return SwinTransformer3d(
        patch_size=[2, 4, 4],
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=[8, 7, 7],
        num_classes=6,
    )


def small_mvit():
    """Return an MViT of three blocks, which writes into slices."""
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    pools = {"kernel_q": [3, 3, 3], "kernel_kv": [3, 3, 3]}
    blocks = [
        MSBlockConfig(1, 24, 24, stride_q=[1, 1, 1], stride_kv=[1, 4, 4], **pools),
        MSBlockConfig(2, 24, 48, stride_q=[1, 2, 2], stride_kv=[1, 2, 2], **pools),
        MSBlockConfig(2, 48, 48, stride_q=[1, 1, 1], stride_kv=[1, 2, 2], **pools),
    ]
    return MViT(
        spatial_size=(64, 64),
        temporal_size=8,
        block_setting=blocks,
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
        num_classes=6,
    )


def whole(name):
    """Return a network of torchvision's of six classes."""
    import torchvision

    return getattr(torchvision.models.video, name)(num_classes=6)


@pytest.fixture
def check(tmp_path):
    """Export a network, compare each form with its own answers, and return the last's opset."""

    def check(make, graphs=(), **sizes):
        import torch

        import_torchvision()
        torch.manual_seed(0)
        network = make().eval()
        spec = onnx_from_torch(network, spec_for(6, **sizes), tmp_path / "m.onnx")
        clips = verification_clips(spec, 1, seed=4)
        with torch.no_grad():
            want = network(torch.from_numpy(normalized(clips, spec))).numpy()
        for graph in (None, *graphs):
            if graph is not None:
                onnx_from_onnx(tmp_path / "m.onnx", spec, tmp_path / "m.onnx", graph=graph)
            have = answers(tmp_path / "m.onnx", spec, clips)
            assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()
        return opset(load_onnx(tmp_path / "m.onnx"))

    return check


@pytest.mark.long
def test_a_swin_and_its_form_without_conv3d(check):
    check(small_swin, ["conv2d"], frames=4, size=64)


@pytest.mark.long
def test_an_mvit_by_the_second_exporter(check):
    """The first exporter's file does not run: a Loop's input has no shape."""
    assert check(small_mvit, frames=8, size=64) == BY_DYNAMO


@pytest.mark.long
def test_swin3d_t_and_its_form_without_conv3d(check):
    check(functools.partial(whole, "swin3d_t"), ["conv2d"], frames=16, size=224)


@pytest.mark.long
def test_mvit_v2_s_within_the_bound_of_memory(check):
    """The first exporter takes 10 to 19 GB for it where nothing stops it."""
    assert check(functools.partial(whole, "mvit_v2_s"), frames=16, size=224) == BY_DYNAMO
