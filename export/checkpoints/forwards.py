"""The forward of a network's modules: whether it can be other than its family's.

Parameters and layers say what a network has, and not in which order, and with what arithmetic
between them, its code calls them. A pickled module names its class and holds no code of it.
TorchScript and `torch.export` hold the code, whose operators are read as text and never executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.call_comparison import compare_calls
from r2p_edge.export.checkpoints.families import Family
from r2p_edge.export.checkpoints.heads import Head
from r2p_edge.export.checkpoints.layers import ACTIVATIONS, Layers, unlike_any
from r2p_edge.export.checkpoints.layouts import NetworkLayout
from r2p_edge.export.checkpoints.matching import Fit
from r2p_edge.export.checkpoints.places import check_places
from r2p_edge.export.checkpoints.structure import VideoNetwork
from r2p_edge.spec.checks import plain, some_of

# Packages whose forwards are those that the families were written from, and the modules of the
# repositories that are no packages (see the sources in `families`).
_PUBLIC = re.compile(
    r"(torch|torchvision|gluoncv|mmaction|mmcv|mmengine|pytorchvideo|vmz|ig65m)\."
    r"|(.+\.)?(models\.resnet2p1d|models\.r21d|network\.R(2Plus1|3)D_model)\."
)
_OF_TORCH = re.compile(r"(__torch__\.)?torch\.nn\.")
_NORMS = "torch.nn.utils."  # weight norm, spectral norm and pruning hang on modules as hooks
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")

_OPERATOR = re.compile(r"\b(?:torch|ops|__torch__)\.([\w.]+)\(")
_ADDS_NUMBER = re.compile(r"\btorch\.add_?\((?:[^()]|\([^()]*\))*, (?:[-\d]|CONSTANTS)")
# What a family's own forward calls, and what changes no number: shapes, checks of sizes, casts of
# numbers of Python's. Whatever else there is may be arithmetic.
_HARMLESS = frozenset(
    ("conv3d", "_convolution", "convolution", "batch_norm", "relu", "linear", "addmm", "t",
     "max_pool3d", "max_pool3d_with_indices", "adaptive_avg_pool3d", "avg_pool3d", "mean",
     "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm",
     "flatten", "view", "_unsafe_view", "reshape", "squeeze", "dropout", "feature_dropout",
     "dropout3d", "softmax", "_softmax", "log_softmax", "_log_softmax", "contiguous", "detach",
     "alias", "clone", "size", "sym_size", "numel", "len", "dim", "Int", "NumToTensor",
     "unchecked_cast", "Uninitialized", "RaiseException", "format", "append", "__is__",
     "__isnot__", "__not__", "__contains__", "__getitem__", "getitem", "eq", "ne", "lt", "le",
     "gt", "ge", "warn", "save_for_backward")
)  # fmt: skip
_ADD = "add"  # of a block's two paths
_SHOWN = 4

NOT_FOLLOWED = ("what cannot be followed",)
"""The step of code that could not be followed as a whole."""


def own_steps(kind: str, attributes: Mapping[Any, Any], code: str) -> tuple[str, ...] | None:
    """Return what a module does besides calling its layers in the way of all families.

    Args:
        kind: its class.
        attributes: of a pickled module.
        code: source of its class, for TorchScript.

    Returns:
        Names of operators and hooks; "add" is in them where two tensors are added, as blocks do.
        None where nothing says what it does.
    """
    hooks = [
        str(getattr(hook, "called", hook)) for key in _HOOKS for hook in _values(attributes, key)
    ]
    found = [f"a hook ({hook})" for hook in hooks if not hook.startswith(_NORMS)]
    if "forward" in attributes and "_modules" in attributes:
        found.append("a forward of its own")
    if _OF_TORCH.match(kind):
        return tuple(found)
    if not code:
        return tuple(found) if _PUBLIC.match(kind) else None
    found += _unusual(path.rpartition(".")[2] for path in _OPERATOR.findall(code))
    if _ADDS_NUMBER.search(code):
        found.append("add of a number")
    return tuple(dict.fromkeys(found))


def program_steps(program: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the same of a program of `torch.export`, from its JSON; blocks' sums are left out."""
    names = []
    for node in program["graph_module"]["graph"]["nodes"]:
        name = _bare(re.sub(r"\.\w+$", "", node["target"]).rpartition(".")[2])
        tensors = sum("as_tensor" in each["arg"] for each in node["inputs"])
        if name != _ADD or tensors != 2:
            names.append(name)
    return tuple(dict.fromkeys(_unusual(names)))


def unfollowed(layers: Layers) -> tuple[str, ...]:
    """Return what TorchScript's code does besides, where it could not be followed as a whole."""
    own = any(not _PUBLIC.match(layer.kind) for layer in layers.values())
    return NOT_FOLLOWED if own else ()


def _unusual(names: Iterable[str]) -> list[str]:
    return [name for name in map(_bare, names) if name not in _HARMLESS]


def _bare(name: str) -> str:
    """Return the name of an operator without the mark of one in place."""
    return name if name.endswith("__") else name.removesuffix("_")


def _values(attributes: Mapping[Any, Any], key: str) -> list[Any]:
    hooks = attributes.get(key)
    items = hooks if isinstance(hooks, Mapping) else getattr(hooks, "items", None)
    return list(items.values()) if isinstance(items, Mapping) else []


class Forward(NamedTuple):
    """The forward of a file's network, as against its family's.

    Attributes:
        doubts: what speaks against its being the same, a sentence each.
        differs: in what it certainly is another, as a sentence; "" for nothing.
    """

    doubts: list[str]
    differs: str = ""


def forward_of(
    layers: Layers,
    fit: Fit,
    family: Family,
    network: VideoNetwork,
    names: Mapping[str, str],
    head: Head,
) -> Forward:
    """Compare the forward of a file's network with its family's.

    Args:
        layers: what the file says of its modules.
        fit: the names of the network.
        network: what its parameters are taken for.
        names: names of parameters in the file by canonical name.
        head: its classifier.

    Raises:
        CheckpointError: its code calls another activation than the family's, or it has no code and
            a layer without parameters is missing or left over.
    """
    calls = layers[""].calls if "" in layers else None
    # Shortcuts without parameters are made by as many operators as there are repositories, and
    # features are taken at the end of the code, or of what stands around it.
    shortcut = isinstance(family.layout, NetworkLayout) and family.layout.shortcut
    if calls is None or not shortcut or family.headless:
        check_places(layers, network, names, head)
        return Forward(_doubts(layers, fit, family.name))
    other = compare_calls(calls, network, names, head)
    if other is None:
        return Forward([])
    doubts = _doubts(layers, fit, family.name)
    sentence = f"its own code {other.does}, which that of {family.name} does not"
    if other.certain:
        return Forward([], f"{sentence}, and with the weights alone it would be left out")
    return Forward(
        doubts
        or [
            f"{sentence}: if that changes the scores the answers will be wrong; export the network "
            "to ONNX and give that, or settle it with --golden FILE.npz"
        ]
    )


def _doubts(layers: Layers, fit: Fit, family: str) -> list[str]:
    """Return what speaks against a forward like the family's, a sentence each.

    Raises:
        CheckpointError: its code calls another activation than the family's.
    """
    unknown: dict[str, None] = {}
    unusual: dict[str, None] = {}
    for name, layer in layers.items():
        if layer.own is None:
            unknown[plain(layer.kind)] = None
            continue
        for step in layer.own:
            if step in ACTIVATIONS:
                raise CheckpointError(
                    f"its {plain(layer.kind)}{f' ({plain(name)})' if name else ''} calls "
                    f"{step}, {unlike_any()}"
                )
            if step != _ADD or not fit.is_block(name):
                unusual[plain(step)] = None
    found = []
    if unknown:
        classes = some_of(list(unknown), _SHOWN)
        found.append(
            f"the file is a whole module of {classes} and has no code of it, so its forward is "
            f"taken for that of {family}: if it does anything else, such as another order of "
            "channels, a normalisation of its own, or no mean over time, the answers will be "
            "wrong; settle it with --golden FILE.npz, or give the code with --module FILE:FACTORY"
        )
    if unusual:
        found.append(
            f"the network's own code does what that of {family} does not "
            f"({some_of(list(unusual), _SHOWN)}), and it is left out: if that changes the scores "
            "the answers will be wrong; export the network to ONNX and give that, or settle it "
            "with --golden FILE.npz"
        )
    return found
