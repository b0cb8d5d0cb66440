"""Input and labels of each published family of checkpoints.

A checkpoint has weights only. The presets restate the code that trained it: how frames were
sampled, resized and normalised, and the meaning of the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from r2p_edge.errors import UsageError
from r2p_edge.export.labels import read_labels
from r2p_edge.export.recipe import Preset
from r2p_edge.spec import FLOW_RECIPES, ClipSpec, CropSpec, ResizeSpec

__all__ = ["PRESETS", "Preset", "fitting_presets", "preset", "presets_of", "read_labels"]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KINETICS_MEAN, _KINETICS_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_CROP_112_FLOOR = CropSpec(height=112, width=112, rounding="floor")
_PILLOW = "Pillow's resize, which it uses, averages where it makes frames smaller"
_TEXT = "it sorts the numbers of every fourth frame as text, so that some clips jump"

# google-deepmind/kinetics-i3d: README.md (25 frames per second, shorter side 256, pixels of -1 to
# 1) and data/label_map.txt (the same names in the same order); piergiaj/pytorch-i3d: train_i3d.py
# and charades_dataset.py (64 frames, centre crop). It was tested on whole videos.
_I3D = Preset(
    name="kinetics400-i3d",
    classes=400,
    description="I3D, DeepMind's and that of pytorch-i3d and kinetics_i3d_pytorch",
    families=("deepmind-i3d", "piergiaj-i3d", "hassony2-i3d"),
    label_file="kinetics400.txt",
    clip=ClipSpec(frames=64, interval=1, fps=25.0),
    resize=ResizeSpec(mode="short_side", size=256),
    crop=CropSpec(height=224, width=224, rounding="half_even"),
    scale=2 / 255,
    mean=(1.0, 1.0, 1.0),
    std=(1.0, 1.0, 1.0),
    inexact="its code gives the network all of a video at once, and not one clip of it",
)
# The same README (grey, TV-L1 cut off at 20 pixels, scaled to -1 to 1) and its issue 24 (256
# levels); load_flow_frames of charades_dataset.py (level / 255 * 2 - 1).
_I3D_FLOW = replace(
    _I3D,
    name="kinetics400-i3d-flow",
    description="I3D on optical flow, of the same repositories",
    mean=(1.0, 1.0),
    std=(1.0, 1.0),
    flow=FLOW_RECIPES["i3d"],
    inexact=f"{_I3D.inexact}, and its flow was made by another TV-L1 than OpenCV's",
)

_ALL = (
    # torchvision/models/video/resnet.py (R2Plus1D_18_Weights, and those of R3D and MC3:
    # frame_rate=15, clip_len=16) and torchvision/transforms/_presets.py (VideoClassification); its
    # center_crop rounds half to even.
    Preset(
        name="kinetics400-torchvision",
        classes=400,
        description="torchvision's r2plus1d_18, r3d_18 and mc3_18",
        families=("torchvision", "torchvision-r3d"),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=16, interval=1, fps=15.0),
        mean=_KINETICS_MEAN,
        std=_KINETICS_STD,
    ),
    # facebookresearch/VMZ: pt/vmz/func/test.py and pt/vmz/datasets/data.py, whose width of 174 is
    # as written there. Its networks were published for clips of 8 and 32 frames.
    Preset(
        name="kinetics400-vmz",
        classes=400,
        description="VMZ's r2plus1d",
        families=("vmz", "vmz-152"),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=32, interval=1, fps=15.0),
        resize=ResizeSpec(mode="stretch", height=128, width=174),
        mean=_KINETICS_MEAN,
        std=_KINETICS_STD,
    ),
    # facebookresearch/VMZ: c2/tutorials/models.md (R(2+1)D-34 of 32 frames of flow) and
    # c2/scripts, read by pytorch/pytorch caffe2/video: customized_video_io.cc (33 pictures resized
    # to 128x171, centre crop with its halves cut, grey, then flow) and optical_flow.h (mean and
    # std, in pixels). It takes every frame of files whose rate it does not touch. Published as
    # blobs of Caffe2, to which VMZ's PyTorch network of two input channels has the names.
    Preset(
        name="kinetics400-vmz-flow",
        classes=400,
        description="VMZ's R(2+1)D-34 on optical flow",
        families=("vmz",),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=32, interval=1, fps=30.0),
        crop=_CROP_112_FLOOR,
        scale=1.0,
        mean=(0.0046635, 0.0046261),
        std=(0.972347, 0.755146),
        flow=FLOW_RECIPES["r2plus1d"],
    ),
    # moabitcoin/ig65m-pytorch: ig65m/cli/extract.py and ig65m/transforms.py. It takes every frame
    # of files whose rate the code does not touch; most of Kinetics is 30 frames per second.
    Preset(
        name="kinetics400-ig65m",
        classes=400,
        description="ig65m-pytorch's r2plus1d_34_32_kinetics",
        families=("vmz",),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=32, interval=1, fps=30.0),
        resize=ResizeSpec(mode="short_side", size=128),
        mean=_KINETICS_MEAN,
        std=_KINETICS_STD,
    ),
    # dmlc/gluon-cv: scripts/action-recognition/configuration/r2plus1d_v1_resnet18_kinetics400.yaml
    # and gluoncv/torch/data/video_cls/dataset_classification.py (mode "test" takes every second
    # frame, mode "validation" the centre crop). It counts frames of the downloaded files, whose
    # rate the code does not touch; YouTube's, and so most of Kinetics, is 30 frames per second.
    # Its classes are those of Kinetics in the same order, there spelled with underscores
    # (gluoncv/data/kinetics400/classification.py).
    Preset(
        name="kinetics400-gluoncv",
        classes=400,
        description="GluonCV's r2plus1d_v1",
        families=("gluoncv", "gluoncv-50"),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=16, interval=2, fps=30.0),
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    ),
    # The same, with scripts/.../r2plus1d_v2_resnet152_kinetics400.yaml: KEEP_ASPECT_RATIO.
    Preset(
        name="kinetics400-gluoncv-v2",
        classes=400,
        description="GluonCV's r2plus1d_v2_resnet152",
        families=("gluoncv-v2",),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=32, interval=2, fps=30.0),
        resize=ResizeSpec(mode="short_side", size=128),
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    ),
    # open-mmlab/mmaction2: configs/recognition/r2plus1d/r2plus1d_r34_8xb8-8x8x1-180e_
    # kinetics400-rgb.py (val_pipeline; tests take three crops of 256 and ten clips) and
    # configs/_base_/models/r2plus1d_r34.py (mean, std). CenterCrop halves with //. It counts
    # frames; its classes are tools/data/kinetics/label_map_k400.txt, in the order of torchvision's.
    *(
        Preset(
            name=name,
            classes=400,
            description=f"MMAction2's r2plus1d_r34, {frames}x{interval}x1",
            families=("mmaction2",),
            label_file="kinetics400.txt",
            clip=ClipSpec(frames=frames, interval=interval, fps=30.0),
            resize=ResizeSpec(mode="short_side", size=256),
            crop=CropSpec(height=224, width=224, rounding="floor"),
            scale=1.0,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        )
        for name, frames, interval in (
            ("kinetics400-mmaction2", 8, 8),
            ("kinetics400-mmaction2-32x2", 32, 2),
        )
    ),
    # facebookresearch/pytorchvideo: docs/source/model_zoo.md (16x4), pytorchvideo/models/
    # r2plus1d.py (head_pool_kernel_size (4, 7, 7): all of 16 frames of 224 pixels) and tutorials/
    # torchhub_inference_tutorial.ipynb (rate, resize, mean, std, kinetics_classnames.json: the
    # same names in the same order; it crops 256). Its network ends in a softmax, which the artifact
    # leaves to its reader: the probabilities are the same.
    Preset(
        name="kinetics400-pytorchvideo",
        classes=400,
        description="pytorchvideo's r2plus1d_r50",
        families=("pytorchvideo",),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=16, interval=4, fps=30.0),
        resize=ResizeSpec(mode="short_side", size=256),
        crop=CropSpec(height=224, width=224, rounding="half_even"),
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    ),
    _I3D,
    _I3D_FLOW,
    # torchvision/models/video/s3d.py (S3D_Weights: frame_rate=15, clip_len=128, crop_size and
    # resize_size) and torchvision/transforms/_presets.py (VideoClassification).
    Preset(
        name="kinetics400-torchvision-s3d",
        classes=400,
        description="torchvision's s3d",
        families=("torchvision-s3d",),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=128, interval=1, fps=15.0),
        resize=ResizeSpec(mode="stretch", height=256, width=256),
        crop=CropSpec(height=224, width=224, rounding="half_even"),
        mean=_KINETICS_MEAN,
        std=_KINETICS_STD,
    ),
    # irhum/R2Plus1D-PyTorch: dataset.py (clip_len 8, sorted folders, (p - 128) / 128). It has no
    # centre crop, and its comments speak of Kinetics.
    Preset(
        name="kinetics400-irhum",
        classes=400,
        description="irhum's R2Plus1DClassifier",
        families=("irhum",),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=8, interval=1, fps=30.0),
        scale=1.0,
        mean=(128.0, 128.0, 128.0),
        std=(128.0, 128.0, 128.0),
        inexact="it crops at random, in validation too",
    ),
    # kenshohara/3D-ResNets-PyTorch: opts.py (sample_duration 16, sample_t_stride 1, value_scale 1),
    # mean.py (kinetics), main.py (get_inference_utils: Resize, CenterCrop of sample_size 112) and
    # util_scripts/kinetics_json.py (classes in the order of kinetics_train.csv). It takes every
    # frame of files whose rate it does not touch.
    Preset(
        name="kinetics700-kenshohara",
        classes=700,
        description="3D-ResNets-PyTorch's resnet2p1d and resnet",
        families=("kenshohara", "kenshohara-50", "kenshohara-r3d", "kenshohara-r3d-50"),
        label_file=None,
        clip=ClipSpec(frames=16, interval=1, fps=30.0),
        resize=ResizeSpec(mode="short_side", size=112),
        mean=(0.4345, 0.4051, 0.3775),
        std=(0.2768, 0.2713, 0.2737),
        inexact=_PILLOW,
    ),
    # xianyongqin/few-shot-video-classification: opts.py (sample_duration, norm_value 1, std_norm
    # False), mean.py (activitynet), tsl_fsv.py (Scale, CenterCrop), temporal_transforms.py. Its
    # networks were trained on 64 classes of each data set.
    Preset(
        name="fewshot",
        classes=64,
        description="few-shot-video-classification's r2plus1d",
        families=("fewshot",),
        label_file=None,
        clip=ClipSpec(frames=16, interval=1, fps=30.0),
        resize=ResizeSpec(mode="short_side", size=112),
        scale=1.0,
        mean=(114.7748, 107.7354, 99.475),
        std=(1.0, 1.0, 1.0),
        inexact=_PILLOW,
    ),
    # HumamAlwassel/TSP: train/opts.py (clip-len 16, frame-rate 15) and train/train.py
    # (transform_valid). fc1 is the classifier of actions.
    Preset(
        name="activitynet-tsp",
        classes=200,
        description="TSP's r2plus1d_18 on ActivityNet",
        families=("torchvision",),
        label_file=None,
        clip=ClipSpec(frames=16, interval=1, fps=15.0),
        mean=_KINETICS_MEAN,
        std=_KINETICS_STD,
    ),
    # mindspore-ai/models: research/cv/r2plus1d/src/dataset.py (mode "val") and dataset_process.py.
    # Frames are numbered without leading zeros there and sorted as text, and most of UCF101 runs
    # at 25 frames per second.
    Preset(
        name="ucf101-mindspore",
        classes=101,
        description="mindspore-ai/models' r2plus1d",
        families=("mindspore",),
        label_file="ucf101-mindspore.txt",
        clip=ClipSpec(
            frames=16,
            interval=2,
            fps=25.0,
            sampling="index",
            order="lexicographic",
            offsets="linspace",
        ),
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    ),
    # jfzhang95/pytorch-video-recognition: dataloaders/dataset.py (EXTRACT_FREQUENCY 4, fewer for
    # short videos; cv2.imread without conversion, so that 90, 98, 102 are of B, G, R; sorted
    # folders) and inference.py (centre crop at row 8 and column 30, every frame).
    Preset(
        name="ucf101-jfzhang95",
        classes=101,
        description="pytorch-video-recognition's R2Plus1D and R3D",
        families=("jfzhang95", "jfzhang95-r3d"),
        label_file="ucf101-mindspore.txt",
        clip=ClipSpec(frames=16, interval=4, fps=25.0, sampling="index"),
        scale=1.0,
        mean=(90.0, 98.0, 102.0),
        std=(1.0, 1.0, 1.0),
        color="BGR",
        inexact=_TEXT,
    ),
    # leftthomas/R2Plus1D-C3D: utils.py (32 frames, extract_frequency 4, short side 128, / 255, BGR)
    # and inference.py (center_crop).
    Preset(
        name="ucf101-leftthomas",
        classes=101,
        description="R2Plus1D-C3D's R2Plus1D",
        families=("jfzhang95",),
        label_file="ucf101-mindspore.txt",
        clip=ClipSpec(frames=32, interval=4, fps=25.0, sampling="index"),
        resize=ResizeSpec(mode="short_side", size=128),
        crop=_CROP_112_FLOOR,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        color="BGR",
        inexact="it takes frames closer to each other of videos that are short",
    ),
    # xudejing/video-clip-order-prediction: ft_classify.py (Resize, ToTensor; no mean) and
    # datasets/ucf101.py (every frame, classInd.txt).
    Preset(
        name="ucf101-vcop",
        classes=101,
        description="video-clip-order-prediction's R2Plus1DNet",
        families=("vcop",),
        label_file="ucf101.txt",
        clip=ClipSpec(frames=16, interval=1, fps=25.0, sampling="index"),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        inexact=_PILLOW,
    ),
    # Utkarsh-grow123/Deep-dive-into-Spatiotemporal-Convolutions-for-Action-Recognition: data/
    # UCF101.py (Scale(136), CenterCrop, ToTensor(1): pixels stay 0 to 255 and are normalised with
    # 0.5 and 0.5 all the same, to -1 to 509) and data/UCF101_Dataset_Test.py (every frame,
    # classInd.txt; clips at 0, 16, 32, ..., whose probabilities are averaged).
    Preset(
        name="ucf101-utkarsh",
        classes=101,
        description="the R3D-18 and R(2+3)D of Deep-dive-into-Spatiotemporal-Convolutions",
        families=("torchvision-r3d", "utkarsh-2d3d", "utkarsh-2d3d-50"),
        label_file="ucf101.txt",
        clip=ClipSpec(frames=16, interval=1, fps=25.0, sampling="index"),
        resize=ResizeSpec(mode="short_side", size=136),
        scale=1.0,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        inexact="it reads frames that were stored as JPEG pictures of 128 x 128",
    ),
    # r2p_edge/calibration/motion.py and examples/train_motion.py.
    Preset(
        name="motion",
        classes=12,
        description="the bundled motion model",
        families=("torchvision",),
        label_file="motion.txt",
        clip=ClipSpec(frames=16, interval=2, fps=25.0),
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        resize=ResizeSpec(mode="short_side", size=128),
    ),
)

PRESETS: Mapping[str, Preset] = {item.name: item for item in _ALL}
"""The presets by name."""


def preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        UsageError: there is none; the message lists those that exist.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, 3, 0.3) or list(PRESETS)[:3]
        raise UsageError(
            f"preset {name} does not exist; choose one such as {', '.join(near)} "
            "(r2p-edge export --help lists them all)"
        )
    return PRESETS[name]


def fitting_presets(
    classes: int,
    *,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    channels: int = 3,
) -> list[str]:
    """Return the names of the presets that fit the shapes of a model.

    Args:
        classes: number of outputs.
        frames: T, where the model fixes it (a checkpoint does not, an ONNX model may).
        size: (H, W) of its input in pixels, where the model fixes it.
        channels: of a frame.
    """
    return [
        item.name
        for item in _ALL
        if item.classes == classes
        and frames in (None, item.clip.frames)
        and size in (None, (item.crop.height, item.crop.width))
        and channels == item.channels
    ]


def presets_of(family: str) -> list[Preset]:
    """Return the presets of networks of a family that others trained; not the bundled model's."""
    return [item for item in _ALL if family in item.families and item.name != "motion"]
