"""The mapping of each framework's names of R(2+1)D parameters to canonical names.

Canonical names are those of GluonCV's r2plus1d_v1 with torch's batch-norm leaves::

    conv1.weight  bn1.*  conv2.weight  bn2.*                                  the stem
    layerL.B.conv{1,2}.{conv1.weight,bn1.*,conv2.weight}  layerL.B.bn{1,2}.*  blocks
    layer{2,3,4}.0.downsample.{0.weight,1.*}  fc.{weight,bias}
    where * is weight, bias, running_mean, running_var

Convolution and linear weights have the same axes in all of them (O, I, T, H, W and O, I).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError


@dataclass(frozen=True)
class NamedParameters:
    """Parameters under their canonical names.

    Attributes:
        dialect: the key in `DIALECTS` of the names that they had.
        parameters: arrays by canonical name; names that the dialect does not have are unchanged.
        bn_eps: the epsilon of the dialect's batch norms, which no checkpoint records.
    """

    dialect: str
    parameters: dict[str, npt.NDArray[np.generic]]
    bn_eps: float


@dataclass(frozen=True)
class Dialect:
    """One source's naming of the parameters of an R(2+1)D.

    Attributes:
        bn_eps: the epsilon of its batch norms.
        signature: names that all of its checkpoints have, and those of no other dialect.
        modules: (its name, canonical name) of the modules named differently; each # stands for
            a number, the same in both.
        leaves: canonical leaf names by its own.
    """

    bn_eps: float
    signature: tuple[str, ...]
    modules: tuple[tuple[str, str], ...]
    leaves: Mapping[str, str]


_TORCH_LEAVES = {name: name for name in ("weight", "bias", "running_mean", "running_var")}
# nn.BatchNorm3d wraps a BatchNorm2d called bn2d (mindspore/nn/layer/normalization.py, still so
# in 2.10); convolutions and dense layers call their parameters as torch does.
_MINDSPORE_LEAVES = {
    "weight": "weight",
    "bias": "bias",
    "bn2d.gamma": "weight",
    "bn2d.beta": "bias",
    "bn2d.moving_mean": "running_mean",
    "bn2d.moving_variance": "running_var",
}
_TORCHVISION_MODULES = (
    ("stem.0", "conv1"),
    ("stem.1", "bn1"),
    ("stem.3", "conv2"),
    ("stem.4", "bn2"),
    ("layer#.#.conv#.0.0", "layer#.#.conv#.conv1"),
    ("layer#.#.conv#.0.1", "layer#.#.conv#.bn1"),
    ("layer#.#.conv#.0.3", "layer#.#.conv#.conv2"),
    ("layer#.#.conv#.1", "layer#.#.bn#"),
)
_ZJUT_MODULES = (
    ("conv1.0", "conv1"),
    ("conv1.1", "bn1"),
    ("conv1.3", "conv2"),
    ("conv1.4", "bn2"),
    ("layer#.#.conv12.conv#_0.features.0", "layer#.#.conv#.conv1"),
    ("layer#.#.conv12.conv#_0.features.1", "layer#.#.conv#.bn1"),
    ("layer#.#.conv12.conv#_1.features.0", "layer#.#.conv#.conv2"),
    ("layer#.#.conv12.conv#_1.features.1", "layer#.#.bn#"),
    ("layer#.#.down_sample.features.#", "layer#.#.downsample.#"),
    ("classifier", "fc"),
)

DIALECTS = {
    # pytorch/vision: torchvision/models/video/resnet.py; nn.BatchNorm3d's default eps.
    "torchvision": Dialect(
        1e-5, ("stem.0.weight", "layer1.0.conv1.0.0.weight"), _TORCHVISION_MODULES, _TORCH_LEAVES
    ),
    # facebookresearch/VMZ: pt/vmz/models/r2plus1d.py, and moabitcoin/ig65m-pytorch:
    # ig65m/models.py: torchvision's names, Caffe2's eps.
    "vmz": Dialect(
        1e-3, ("stem.0.weight", "layer1.0.conv1.0.0.weight"), _TORCHVISION_MODULES, _TORCH_LEAVES
    ),
    # dmlc/gluon-cv: gluoncv/torch/model_zoo/action_recognition/r2plus1dv1.py; default eps.
    "gluoncv": Dialect(1e-5, ("bn1.weight", "layer1.0.conv1.conv1.weight"), (), _TORCH_LEAVES),
    # mindspore-ai/models: research/cv/r2plus1d/src/models.py; nn.BatchNorm3d's default eps.
    "mindspore": Dialect(
        1e-5, ("bn1.bn2d.gamma", "layer1.0.conv1.conv1.weight"), (), _MINDSPORE_LEAVES
    ),
    # ZJUT-ERCISS/r2plus1d_mindspore: src/models/r2plus1d.py and layers/; default eps.
    "mindspore-zjut": Dialect(
        1e-5,
        ("conv1.0.weight", "layer1.0.conv12.conv1_0.features.0.weight"),
        _ZJUT_MODULES,
        _MINDSPORE_LEAVES,
    ),
}
"""The supported sources of checkpoints, by name."""

_BN = r"(weight|bias|running_mean|running_var)"
_CANONICAL = re.compile(
    rf"conv[12]\.weight|bn[12]\.{_BN}|fc\.(weight|bias)"
    rf"|layer\d+\.\d+\.(conv[12]\.(conv[12]\.weight|bn1\.{_BN})|bn[12]\.{_BN}"
    rf"|downsample\.(0\.weight|1\.{_BN}))"
)

# Networks that look like an R(2+1)D and are not, by the name of a convolution in them.
_OTHERS = (
    (r"layer\d\.\d+\.conv3\.(features\.)?(\d\.)?weight", "a network with bottleneck blocks"),
    (r"layer\d\.\d+\.conv1\.0\.weight", "an R3D or MC3 (3-D convolutions, torchvision's names)"),
    (r"layer\d\.\d+\.conv1\.conv_[st]\.weight", "an R(2+1)D of MMAction2"),
    (r"(conv1|comp_\d+_conv_\d+)(_middle)?_w", "a VMZ network in Caffe2's format"),
    (r"[Mm]ixed_\d[a-f]\..*\.weight", "an I3D"),
)


def canonical_parameters(
    parameters: Mapping[str, npt.NDArray[np.generic]],
) -> NamedParameters:
    """Rename parameters to their canonical names, without the `num_batches_tracked` counters.

    Raises:
        CheckpointError: the names match no dialect, or two of them become the same name.
    """
    name = _dialect_of(parameters)
    dialect = DIALECTS[name]
    renamed: dict[str, npt.NDArray[np.generic]] = {}
    origin: dict[str, str] = {}
    for found, array in parameters.items():
        if found.endswith(".num_batches_tracked"):
            continue
        canonical = _canonical_name(found, dialect)
        if canonical in origin:
            raise CheckpointError(
                f"the checkpoint has both {origin[canonical]} and {found}, which are the same "
                f"parameter {canonical} of a {name} network; save the network's own parameters only"
            )
        origin[canonical] = found
        renamed[canonical] = array
    return NamedParameters(name, renamed, dialect.bn_eps)


def _dialect_of(parameters: Mapping[str, npt.NDArray[np.generic]]) -> str:
    advice = "export other networks from ONNX, or with r2p_edge.export.onnx_from_torch"
    known = ", ".join(DIALECTS)
    for pattern, other in _OTHERS:
        if any(re.fullmatch(pattern, name) and a.ndim == 5 for name, a in parameters.items()):
            raise CheckpointError(
                f"the checkpoint is of {other}; expected an R(2+1)D with basic blocks, as named by "
                f"{known}; {advice}"
            )
    for name, dialect in DIALECTS.items():
        if all(part in parameters for part in dialect.signature):
            # Both have the same names; only VMZ computes mid channels anew for each convolution.
            return "vmz" if name == "torchvision" and _mid_channels_differ(parameters) else name
    some = ", ".join(list(parameters)[:6]) or "none"
    raise CheckpointError(
        f"the parameter names ({some}, ...) match no known dialect; expected an R(2+1)D as named "
        f"by {known}; {advice}"
    )


def _mid_channels_differ(parameters: Mapping[str, npt.NDArray[np.generic]]) -> bool:
    first, second = (parameters.get(f"layer2.0.conv{i}.0.0.weight") for i in (1, 2))
    return first is not None and second is not None and first.shape[:1] != second.shape[:1]


def _canonical_name(name: str, dialect: Dialect) -> str:
    for leaf, canonical_leaf in dialect.leaves.items():
        if name.endswith("." + leaf):
            module = _canonical_module(name[: -len(leaf) - 1], dialect)
            canonical = f"{module}.{canonical_leaf}"
            return canonical if _CANONICAL.fullmatch(canonical) else name
    return name


def _canonical_module(module: str, dialect: Dialect) -> str:
    for pattern, canonical in dialect.modules:
        if match := re.fullmatch(re.escape(pattern).replace(r"\#", r"(\d+)"), module):
            return canonical.replace("#", "{}").format(*match.groups())
    return module
