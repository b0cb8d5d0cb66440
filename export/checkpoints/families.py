"""The families of networks, as data: how each is built, and how it names its modules.

A network is a stem, four stages of residual blocks, the mean over time and space, and a linear
classifier (Tran et al. 2018, arXiv 1711.11248). Families differ in the names, in what a block has,
and in what leaves no trace in weights: epsilons, pools, strides. Depth, widths, the channels in the
middle of a convolution and the length of kernels in time follow from the shapes.

A convolution of a layout is a row of names in order of execution, those of its 3-D convolutions and
batch norms in turn: "conv norm" of a plain one; "conv norm conv norm" of a (2+1)D one, whose halves
in space and time are apart; "conv norm conv" where no norm follows, and "conv norm conv norm norm"
where two do. Where a layout has `kernels`, each row is of one convolution, and one or two norms
follow it. A ReLU follows each norm but the last before a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from r2p_edge.export.checkpoints.inception_layouts import (
    I3D_DEEPMIND,
    I3D_HASSONY,
    I3D_PIERGIAJ,
    S3D_TORCHVISION,
)
from r2p_edge.export.checkpoints.layouts import MINDSPORE, AnyLayout, NetworkLayout, Pool, Triple

ANY = 0
"""Length in time of a kernel that may have any."""


@dataclass(frozen=True)
class Family:
    """Networks of one source.

    Attributes:
        name: for `--family` and the artifact's record.
        source: repository and file of the network.
        layout: structure and names.
        middle: whether a block's (2+1)D convolutions have as many channels in their middle as the
            first of them ("block") or each its own number ("conv"); None if both occur.
        eps: epsilon of the batch norms.
        inner_eps: epsilon of those between the halves of a convolution, if it is another.
        pool: pool after the stem.
        features: size of the last features in time and space, where the classifier's mean is over
            so many and not over all of them.
        oracle: True if `tests/oracles` compares with logits of the source's own code.
        network: kind of network, as the pages call it.
        lengths: moments of the kernels of the stem and of each stage, in every combination that
            the code makes, `ANY` of a stem that may have any; empty where it makes others too, as
            of kernels in halves. A stage of kernels of one moment halves no time.
        headless: True if the network ends at its features: no ReLU follows the last sum, and no
            classifier.
    """

    name: str
    source: str
    layout: AnyLayout
    middle: Literal["block", "conv"] | None = None
    eps: float = 1e-5  # nn.BatchNorm3d's default, in PyTorch and in MindSpore
    inner_eps: float | None = None
    pool: Pool | None = None
    features: Triple | None = None
    oracle: bool = True
    network: str = "R(2+1)D"
    lengths: tuple[tuple[int, ...], ...] = ()
    headless: bool = False


_TORCHVISION = NetworkLayout(
    stem="stem.0 stem.1 stem.3 stem.4",
    convs=(
        "conv1.0.0 conv1.0.1 conv1.0.3 conv1.1",
        "conv2.0.0 conv2.0.1 conv2.0.3 conv2.1",
    ),
    shortcut="downsample.0 downsample.1",
)
_TORCHVISION_3D = replace(
    _TORCHVISION,
    stem="stem.0 stem.1",
    convs=("conv1.0 conv1.1", "conv2.0 conv2.1"),
    kernels=(3, 3),
)
_VMZ_BOTTLENECK = replace(
    _TORCHVISION,
    convs=("conv1.0 conv1.1", "conv2.0.0 conv2.0.1 conv2.0.3 conv2.1", "conv3.0 conv3.1"),
)
_GLUONCV = NetworkLayout(
    stem="conv1 bn1 conv2 bn2",
    convs=("conv1.conv1 conv1.bn1 conv1.conv2 bn1", "conv2.conv1 conv2.bn1 conv2.conv2 bn2"),
    shortcut="downsample.0 downsample.1",
)
_GLUONCV_BOTTLENECK = replace(
    _GLUONCV, convs=("conv1 bn1", "conv2.conv1 conv2.bn1 conv2.conv2 bn2", "conv3 bn3")
)
_GLUONCV_V2 = NetworkLayout(
    stem="conv1_middle bn1_middle conv1 bn1",
    convs=("conv1 bn1", "conv2_middle bn2_middle conv2 bn2", "conv3 bn3"),
    shortcut="down_sample.0 down_sample.1",
)
_MINDSPORE = replace(_GLUONCV, norm=MINDSPORE)
_ZJUT = NetworkLayout(
    stem="conv1.0 conv1.1 conv1.3 conv1.4",
    convs=(
        "conv12.conv1_0.features.0 conv12.conv1_0.features.1 "
        "conv12.conv1_1.features.0 conv12.conv1_1.features.1",
        "conv12.conv2_0.features.0 conv12.conv2_0.features.1 "
        "conv12.conv2_1.features.0 conv12.conv2_1.features.1",
    ),
    shortcut="down_sample.features.0 down_sample.features.1",
    norm=MINDSPORE,
)
_KENSHOHARA = NetworkLayout(
    stem="conv1_s bn1_s conv1_t bn1_t",
    convs=("conv1_s bn1_s conv1_t bn1_t", "conv2_s bn2_s conv2_t bn2_t"),
    shortcut="downsample.0 downsample.1",
    stem_lengths=(),  # --conv1_t_size
)
_KENSHOHARA_BOTTLENECK = replace(
    _KENSHOHARA, convs=("conv1 bn1", "conv2_s bn2_s conv2_t bn2_t", "conv3 bn3")
)
_KENSHOHARA_A = replace(_KENSHOHARA, shortcut="")
_KENSHOHARA_BOTTLENECK_A = replace(_KENSHOHARA_BOTTLENECK, shortcut="")
_KENSHOHARA_3D = NetworkLayout(
    stem="conv1 bn1",
    convs=("conv1 bn1", "conv2 bn2"),
    shortcut="downsample.0 downsample.1",
    kernels=(3, 3),
)
_KENSHOHARA_3D_BOTTLENECK = replace(
    _KENSHOHARA_3D, convs=("conv1 bn1", "conv2 bn2", "conv3 bn3"), kernels=(1, 3, 1)
)
_KENSHOHARA_3D_LAYOUTS = (
    ("", "B", _KENSHOHARA_3D),
    ("", "A", replace(_KENSHOHARA_3D, shortcut="")),
    ("-50", "B", _KENSHOHARA_3D_BOTTLENECK),
    ("-50", "A", replace(_KENSHOHARA_3D_BOTTLENECK, shortcut="")),
)
_IRHUM = NetworkLayout(
    stem="conv1.spatial_conv conv1.bn conv1.temporal_conv",
    convs=(
        "conv1.spatial_conv conv1.bn conv1.temporal_conv bn1",
        "conv2.spatial_conv conv2.bn conv2.temporal_conv bn2",
    ),
    shortcut=(
        "downsampleconv.spatial_conv downsampleconv.bn downsampleconv.temporal_conv downsamplebn"
    ),
    block="conv{next}.blocks.{before}",
    first="conv{next}.block1",
)
_VCOP = replace(_IRHUM, stem=f"{_IRHUM.stem} bn1")
_JFZHANG = replace(
    _IRHUM,
    stem="conv1.spatial_conv conv1.bn1 conv1.temporal_conv conv1.bn2",
    convs=(
        "conv1.spatial_conv conv1.bn1 conv1.temporal_conv conv1.bn2 bn1",
        "conv2.spatial_conv conv2.bn1 conv2.temporal_conv conv2.bn2 bn2",
    ),
    shortcut=(
        "downsampleconv.spatial_conv downsampleconv.bn1 "
        "downsampleconv.temporal_conv downsampleconv.bn2 downsamplebn"
    ),
    stem_lengths=(1, 3),
)
_JFZHANG_3D = replace(
    _IRHUM,
    stem="conv1.temporal_spatial_conv conv1.bn",
    convs=("conv1.temporal_spatial_conv conv1.bn bn1", "conv2.temporal_spatial_conv conv2.bn bn2"),
    shortcut="downsampleconv.temporal_spatial_conv downsampleconv.bn downsamplebn",
    kernels=(3, 3),
)
_MMACTION = NetworkLayout(
    stem="conv1.conv.conv_s conv1.conv.bn_s conv1.conv.conv_t conv1.bn",
    convs=(
        "conv1.conv.conv_s conv1.conv.bn_s conv1.conv.conv_t conv1.bn",
        "conv2.conv.conv_s conv2.conv.bn_s conv2.conv.conv_t conv2.bn",
    ),
    shortcut="downsample.conv.conv_s downsample.conv.bn_s downsample.conv.conv_t downsample.bn",
    idle=("pool2",),
)
_PYTORCHVIDEO = NetworkLayout(
    stem="blocks.0.conv blocks.0.norm",
    convs=(
        "branch2.conv_a branch2.norm_a",
        "branch2.conv_b.conv_t branch2.conv_b.norm branch2.conv_b.conv_xy branch2.norm_b",
        "branch2.conv_c branch2.norm_c",
    ),
    shortcut="branch1_conv branch1_norm",
    block="blocks.{stage}.res_blocks.{index}",
    time_first=True,
    strides=((1, 2), (1, 2), (2, 2), (2, 2)),
)

_HALF = Pool((1, 3, 3), (1, 2, 2))
_EIGHTH = Pool((3, 3, 3), (2, 2, 2))
_VMZ = "facebookresearch/VMZ pt/vmz/models/r2plus1d.py"
_GLUON = "dmlc/gluon-cv gluoncv/torch/model_zoo/action_recognition/r2plus1dv1.py"
_3DRESNETS = "kenshohara/3D-ResNets-PyTorch models/resnet2p1d.py"
_2D3D = "Utkarsh-grow123/Deep-dive-into-Spatiotemporal-Convolutions-for-Action-Recognition"
_R3D = (3, 3, 3, 3, 3)
_MC3 = (3, 3, 1, 1, 1)


def _options(shortcut: str, pool: Pool | None) -> str:
    """Return the options that make one of kenshohara's networks, as the end of its source."""
    given = ["--resnet_shortcut A"] * (shortcut == "A") + ["--no_max_pool"] * (pool is None)
    return f" ({' '.join(given)})" if given else ""


_ALL = (
    Family("torchvision", "pytorch/vision torchvision/models/video/resnet.py", _TORCHVISION,
           middle="block"),
    # Its stages of 1x3x3 keep all of time (Conv3DNoTemporal.get_downsample_stride).
    Family("torchvision-r3d", "pytorch/vision torchvision/models/video/resnet.py (r3d_18, mc3_18)",
           _TORCHVISION_3D, network="R3D or MC3", lengths=(_R3D, _MC3)),
    # Caffe2's epsilon; moabitcoin/ig65m-pytorch ig65m/models.py has the same networks.
    Family("vmz", _VMZ, _TORCHVISION, middle="conv", eps=1e-3),
    Family("vmz-pool1", f"{_VMZ} (use_pool1=True)", _TORCHVISION, middle="conv", eps=1e-3,
           pool=_HALF),
    Family("fewshot", "xianyongqin/few-shot-video-classification models/r2plus1d.py",
           _TORCHVISION, middle="conv"),
    Family("vmz-152", f"{_VMZ} (r2plus1d_152)", _VMZ_BOTTLENECK, eps=1e-3, pool=_HALF),
    Family("vmz-152-no-pool", f"{_VMZ} (r2plus1d_152, use_pool1=False)", _VMZ_BOTTLENECK, eps=1e-3,
           oracle=False),
    Family("gluoncv", _GLUON, _GLUONCV),
    Family("gluoncv-50", f"{_GLUON} (50, 101, 152)", _GLUONCV_BOTTLENECK),
    Family("gluoncv-v2", _GLUON.replace("v1.py", "v2.py"), _GLUONCV_V2, eps=1e-3, oracle=False),
    Family("mindspore", "mindspore-ai/models research/cv/r2plus1d/src/models.py", _MINDSPORE),
    Family("mindspore-zjut", "ZJUT-ERCISS/r2plus1d_mindspore src/models/r2plus1d.py and layers/",
           _ZJUT),
    Family("kenshohara", _3DRESNETS, _KENSHOHARA, pool=_EIGHTH),
    Family("kenshohara-no-pool", f"{_3DRESNETS} (--no_max_pool)", _KENSHOHARA, oracle=False),
    Family("kenshohara-a", f"{_3DRESNETS} (--resnet_shortcut A)", _KENSHOHARA_A, pool=_EIGHTH,
           oracle=False),
    Family("kenshohara-a-no-pool", f"{_3DRESNETS} (--resnet_shortcut A --no_max_pool)",
           _KENSHOHARA_A, oracle=False),
    Family("kenshohara-50", _3DRESNETS, _KENSHOHARA_BOTTLENECK, pool=_EIGHTH, oracle=False),
    Family("kenshohara-50-no-pool", f"{_3DRESNETS} (--no_max_pool)", _KENSHOHARA_BOTTLENECK,
           oracle=False),
    Family("kenshohara-50-a", f"{_3DRESNETS} (--resnet_shortcut A)", _KENSHOHARA_BOTTLENECK_A,
           pool=_EIGHTH, oracle=False),
    Family("kenshohara-50-a-no-pool", f"{_3DRESNETS} (--resnet_shortcut A --no_max_pool)",
           _KENSHOHARA_BOTTLENECK_A, oracle=False),
    # Its conv1_t_stride is taken to be 1, as in all that was published.
    *(
        Family(
            f"kenshohara-r3d{depth}{'-a' * (shortcut == 'A')}{'' if pool else '-no-pool'}",
            "kenshohara/3D-ResNets-PyTorch models/resnet.py" + _options(shortcut, pool),
            layout,
            pool=pool,
            oracle=pool is not None and shortcut == "B" and not depth,
            network="R3D",
            lengths=((ANY, 3, 3, 3, 3),),
        )
        for depth, shortcut, layout in _KENSHOHARA_3D_LAYOUTS
        for pool in (_EIGHTH, None)
    ),
    # That of 50 layers as its code means it: its Bottleneck2d asks for an attribute that it lacks.
    *(
        Family(f"utkarsh-2d3d{depth}", f"{_2D3D} models/resnet_2d3d.py", layout, pool=_HALF,
               oracle=not depth, network="R(2+3)D", lengths=((1, 1, 1, 3, 3),), headless=True)
        for depth, layout in (("", _KENSHOHARA_3D), ("-50", _KENSHOHARA_3D_BOTTLENECK))
    ),
    Family("irhum", "irhum/R2Plus1D-PyTorch network.py, module.py", _IRHUM,
           oracle=False),
    Family("vcop", "xudejing/video-clip-order-prediction models/r21d.py", _VCOP,
           oracle=False),
    # leftthomas/R2Plus1D-C3D models/R2Plus1D.py has the same, with a stem of one frame in time.
    Family("jfzhang95", "jfzhang95/pytorch-video-recognition network/R2Plus1D_model.py", _JFZHANG),
    Family("jfzhang95-r3d", "jfzhang95/pytorch-video-recognition network/R3D_model.py",
           _JFZHANG_3D, network="R3D", lengths=(_R3D,)),
    Family("mmaction2", "open-mmlab/mmaction2 mmaction/models/backbones/resnet2plus1d.py",
           _MMACTION, eps=1e-3, inner_eps=1e-5, pool=_HALF),
    Family("pytorchvideo", "facebookresearch/pytorchvideo pytorchvideo/models/hub/r2plus1d.py",
           _PYTORCHVIDEO, features=(4, 7, 7)),
    # Sonnet's BatchNorm has that epsilon, and no gamma.
    Family("deepmind-i3d", "google-deepmind/kinetics-i3d i3d.py", I3D_DEEPMIND, eps=1e-3,
           oracle=False, network="I3D"),
    Family("piergiaj-i3d", "piergiaj/pytorch-i3d pytorch_i3d.py", I3D_PIERGIAJ, eps=1e-3,
           network="I3D"),
    Family("hassony2-i3d", "hassony2/kinetics_i3d_pytorch src/i3dpt.py", I3D_HASSONY, eps=1e-3,
           network="I3D"),
    Family("torchvision-s3d", "pytorch/vision torchvision/models/video/s3d.py", S3D_TORCHVISION,
           eps=1e-3, network="S3D"),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
"""The families by name."""
