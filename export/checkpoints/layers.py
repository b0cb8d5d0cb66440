"""The layers of a network as a file describes them: strides, paddings, epsilons.

A whole module (`torch.save(model)`) has them as attributes of its layers, TorchScript in the
source of its classes, and a program of `torch.export` as arguments of its operators. State dicts
have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.calls import Calls
from r2p_edge.export.checkpoints.layouts import Pool, Triple
from r2p_edge.spec.checks import plain

SETTINGS = ("stride", "padding", "dilation", "kernel_size", "padding_mode", "ceil_mode", "eps")
"""Names of the settings that are looked at, as PyTorch calls them."""

_POOLS = re.compile(r"MaxPool3d|max_pool3d(_with_indices)?")
# Layers that are the network's, or change nothing in it once it is trained. Losses do not either.
_EXPECTED = re.compile(
    r"Conv3d|BatchNorm3d|SyncBatchNorm|ReLU|Linear|MaxPool3d|AvgPool3d|AdaptiveAvgPool3d"
    r"|(Feature)?(Alpha)?Dropout[123]?d?|Identity|Flatten|(Log)?Softmax|conv3d|batch_norm"
    r"|max_pool3d(_with_indices)?|Sequential|Module(List|Dict)|Parameter(List|Dict)"
)
# torchvision's convolutions of R3D and MC3, which only choose kernel and padding of a Conv3d.
_CONVOLUTIONS = re.compile(r"(.+\.)?(video_)?resnet\.Conv3D(Simple|NoTemporal)")
_LOSSES = "torch.nn.modules.loss."
_MANGLED = re.compile(r"^__torch__\.|\.___torch_mangle_\d+")  # what TorchScript adds to names

# TorchScript writes what a layer is made with as constants of its class (script), or as arguments
# of the operator that it calls (trace).
_WORD = r"[\w.]{1,100}"
_NUMBER = r"[-+.\de]{1,40}"
_LIST = r"\[[\d, ]{0,40}\]"
_CONSTANT = re.compile(
    rf'^  (\w+) : Final\[[^\n=]{{1,60}}\] = (\([\d, ]{{1,40}}\)|{_NUMBER}|True|False|"\w+")$',
    re.MULTILINE,
)
_CALLS = (
    (
        re.compile(rf"torch\.(?:_convolution|conv3d)\((?:{_WORD}, ){{3}}({_LIST}), ({_LIST})"
                   rf"(?:, ({_LIST}))?"),
        ("stride", "padding", "dilation"),
    ),
    (re.compile(rf"torch\.batch_norm\((?:{_WORD}, ){{6}}{_NUMBER}, ({_NUMBER})[,)]"), ("eps",)),
    (
        re.compile(rf"torch\.max_pool3d\({_WORD}, ({_LIST}), ({_LIST}), ({_LIST}), ({_LIST})"
                   r"(?:, (True|False))?"),
        ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    ),
)  # fmt: skip


class Layer(NamedTuple):
    """A layer of a network, as a file describes it.

    Attributes:
        kind: its class, such as "torch.nn.modules.conv.Conv3d", or the operator.
        settings: those of `SETTINGS` that are known: numbers, words, and tuples of whole numbers.
        own: what its forward does besides, see `forwards.own_steps`; None if nothing says it.
        calls: all that it calls, of the outermost; None if that cannot be told.
    """

    kind: str
    settings: Mapping[str, Any]
    own: tuple[str, ...] | None = ()
    calls: Calls | None = None

    @property
    def name(self) -> str:
        """Class without its module."""
        return self.kind.rpartition(".")[2]


Layers = Mapping[str, Layer]
"""Layers by their names in a network."""


def modules_of(names: Iterable[str]) -> set[str]:
    """Return the names of all modules around what has these names."""
    return {name[:end] for name in names for end, char in enumerate(name) if char == "."}


def layer_of(kind: str, attributes: Mapping[Any, Any], code: str = "") -> Layer:
    """Return the layer of a class, attributes and, for TorchScript, the source of that class."""
    settings = {name: attributes[name] for name in SETTINGS if name in attributes}
    return Layer(_MANGLED.sub("", kind), _from_code(code) | settings)


def _from_code(code: str) -> dict[str, Any]:
    """Return the settings that the source of a TorchScript class has."""
    found = {name: value for name, value in _CONSTANT.findall(code) if name in SETTINGS}
    for pattern, names in _CALLS:
        calls = pattern.findall(code)
        if len(calls) == 1:
            values = [calls[0]] if len(names) == 1 else calls[0]
            found |= {name: text for name, text in zip(names, values, strict=True) if text}
    return {name: _value(text) for name, text in found.items()}


def _value(text: str) -> Any:
    if text[0] in "([":
        return tuple(int(part) for part in text[1:-1].split(",") if part.strip())
    if text in ("True", "False") or text[0] == '"':
        return text == "True" if text[0] != '"' else text[1:-1]
    return float(text)


def exported_layers(program: Mapping[str, Any]) -> dict[str, Layer]:
    """Return the layers of a program of `torch.export`, from its JSON.

    Convolutions and batch norms have the name of the module whose weight they take; pools and
    activations that of their node.
    """
    graph = program["graph_module"]
    owners = {}
    for entry in graph["signature"]["input_specs"]:
        if "parameter" in entry:
            name = entry["parameter"]["parameter_name"]
            owners[entry["parameter"]["arg"]["name"]] = name.removesuffix(".weight")
    found = {}
    for node in graph["graph"]["nodes"]:
        operator = re.fullmatch(r"torch\.ops\.aten\.(\w+?)_?\.\w+", node["target"])
        if operator is None:
            continue
        kind, arguments = operator[1], {each["name"]: each["arg"] for each in node["inputs"]}
        weight = arguments.get("weight", {}).get("as_tensor", {}).get("name")
        name = str(owners.get(weight, node.get("name")))
        values = {key: _argument(value) for key, value in arguments.items() if key in SETTINGS}
        if kind in ("conv3d", "convolution"):
            found[name] = Layer("conv3d", {"stride": 1, "padding": 0, "dilation": 1} | values)
        elif "batch_norm" in kind:
            found[name] = Layer("batch_norm", values)
        elif _POOLS.fullmatch(kind) or kind in ACTIVATIONS:
            found[name] = Layer(kind, values)
    return found


ACTIVATIONS = frozenset(
    ("celu", "elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "mish", "prelu", "rrelu", "selu",
     "sigmoid", "silu", "softplus", "tanh")
)  # fmt: skip
"""Operators of ATen that may stand in place of a ReLU."""


def _argument(value: Mapping[str, Any]) -> Any:
    (number,) = value.values()
    return tuple(number) if isinstance(number, list) else number


def check_kinds(layers: Layers) -> None:
    """Make sure that a network has no layers but those that the known families have.

    Raises:
        CheckpointError: it has others, such as another activation.
    """
    outer = modules_of(layers) | ({""} if len(layers) > 1 else set())
    for name, layer in layers.items():
        if name in outer or layer.kind.startswith(_LOSSES) or _CONVOLUTIONS.fullmatch(layer.kind):
            continue
        if ".quantized." in layer.kind:
            raise CheckpointError(
                f"its layer {plain(name)} is quantised (a {plain(layer.kind)}); save the "
                "floating-point model, and quantise it here with --precision int8"
            )
        own = "." not in layer.kind or layer.kind.startswith("torch.nn.modules.")
        if not own or not _EXPECTED.fullmatch(layer.name):
            raise CheckpointError(
                f"its layer {plain(name)} is a {plain(layer.kind)}, {unlike_any()}"
            )


def unlike_any() -> str:
    """Return the end of an error about a layer that changes what a network computes."""
    return (
        f"which no known family has, and which weights alone do not say (with those alone it would "
        f"be left out); {ADVICE}"
    )


def pools_of(layers: Layers, idle: Iterable[str]) -> dict[str, Pool]:
    """Return the max pools of a network.

    Args:
        layers: those of the file.
        idle: last names of pools that the family has and does not use.

    Raises:
        CheckpointError: a pool rounds up, has gaps, or is not padded by half its kernel.
    """
    found = {}
    for name, layer in layers.items():
        if not _POOLS.fullmatch(layer.name) or name.rpartition(".")[2] in idle:
            continue
        settings = layer.settings
        if "kernel_size" not in settings:  # TorchScript traces only what is used
            continue
        kernel = _triple(name, layer, "kernel_size")
        stride = _triple(name, layer, "stride") if settings.get("stride") else kernel
        _check_placed(name, layer, kernel)
        if settings.get("ceil_mode"):
            raise _other(name, "ceil_mode", True, False)
        found[name] = Pool(kernel, stride)
    return found


def stride_of(name: str, layer: Layer, kernel: Triple) -> Triple | None:
    """Return the stride of a convolution; None if the file does not say it.

    Args:
        name: in the file, for errors.
        kernel: its size.

    Raises:
        CheckpointError: it has gaps, or is not padded with zeros by half its kernel.
    """
    _check_placed(name, layer, kernel)
    if layer.settings.get("padding_mode", "zeros") != "zeros":
        raise _other(name, "padding_mode", layer.settings["padding_mode"], "zeros")
    return _triple(name, layer, "stride") if "stride" in layer.settings else None


def eps_of(name: str, layer: Layer) -> float | None:
    """Return the epsilon of a batch norm; None if the file does not say it.

    Raises:
        CheckpointError: it is no number between 0 and 1.
    """
    eps = layer.settings.get("eps")
    if eps is None:
        return None
    if not isinstance(eps, (int, float)) or not 0 < eps < 1:
        raise _other(name, "eps", eps, "a number between 0 and 1")
    return float(eps)


def _check_placed(name: str, layer: Layer, kernel: Triple) -> None:
    half: Triple = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    settings = layer.settings
    if "padding" in settings and settings["padding"] != "same":
        padding = (0, 0, 0) if settings["padding"] == "valid" else _triple(name, layer, "padding")
        if padding != half:
            raise _other(name, "padding", padding, half)
    if "dilation" in settings and (gaps := _triple(name, layer, "dilation")) != (1, 1, 1):
        raise _other(name, "dilation", gaps, (1, 1, 1))


def _triple(name: str, layer: Layer, setting: str) -> Triple:
    value = layer.settings[setting]
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    first, second, third, *more = given * 3 if len(given) == 1 else [*given, None, None]
    if more not in ([], [None, None]) or not all(map(_is_size, (first, second, third))):
        raise _other(name, setting, value, "three whole numbers")
    return int(first), int(second), int(third)


def _is_size(number: Any) -> bool:
    """Tell whether this is a whole number; TorchScript's constants are all fractions."""
    return type(number) in (int, float) and 0 <= number < 1 << 16 and number == int(number)


def _other(name: str, setting: str, found: Any, expected: Any) -> CheckpointError:
    values = found if isinstance(found, (list, tuple)) else [found]
    short = len(values) < 10 and all(
        isinstance(value, float) or (isinstance(value, (int, str)) and _is_short(value))
        for value in values
    )
    return CheckpointError(
        f"its layer {plain(name)} has {setting} "
        f"{plain(str(found)) if short else f'of type {type(found).__name__}'}, and only {expected} "
        f"can be exported from a file; {ADVICE}"
    )


def _is_short(value: int | str) -> bool:
    return abs(value) < 1 << 32 if isinstance(value, int) else len(value) < 40
