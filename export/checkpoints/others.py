"""The words for files whose network is of no known family, and the way out of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.matching import (
    Arrays,
    Fit,
    families_of,
    features_of,
    nearest_family,
)
from r2p_edge.export.checkpoints.training_state import is_training_state
from r2p_edge.spec.checks import plain, some_of

_SHOWN = 3
_NO_VIDEO = "which is no network of video; give one that was trained on clips"
_TWO_DIMENSIONS = (
    "one of 2-D layers for video, such as TimeSformer, TSM or a CNN with an LSTM, and only "
    f"networks of 3-D convolutions are read; {ADVICE}"
)

_LORA = r".*\.lora_[AB](\..*)?"

# Files that are no whole network, by a name: what each is, and the way out.
_NO_NETWORK = (
    (
        r".*\.base_layer\.weight",
        "has LoRA adapters beside its weights",
        "merge them in PEFT (model.merge_and_unload()), and save the state_dict of what it returns",
    ),
    (
        _LORA,
        "is a LoRA adapter, and no network without the one that it was trained on",
        "load both in PEFT, merge them (model.merge_and_unload()), and save the state_dict of what "
        "it returns",
    ),
    (
        r"(.*\.)?(encoder_[qk]|(online|target|momentum)_(encoder|network))\..*|(.*\.)?queue_ptr",
        "is of self-supervised pre-training, which has no classifier of actions",
        "train one on it (fine-tune its encoder on labelled clips), and give that file",
    ),
)

# Other networks, by the name and the axes of a tensor; 0 for any.
_OTHERS = (
    (r"(conv1|comp_\d+_conv_\d+)(_middle)?_w", 5, "a VMZ network in Caffe2's format, and only its "
     f"PyTorch form is read; {ADVICE}"),
    (r"(.*\.)?[Mm]ixed_\d[a-f]\..*\.weight", 5, f"an I3D or S3D, and of no known family; "
     f"{ADVICE}"),
    (r".*pathway1.*", 5, "a SlowFast, which takes two clips and not one; write a module whose "
     "forward(clip) makes both of one (such as [clip[:, :, ::4], clip]), and export it with "
     "--module FILE:FACTORY --weights CHECKPOINT --trust-code"),
)  # fmt: skip
_OTHERS_OF_2D = (
    (r"(.*[._])?(flow_head|fnet)\..*", f"an estimator of optical flow, {_NO_VIDEO}"),
    (r"(.*[._])?(st_gcn\w*|gcn|gcns|data_bn)\b.*", f"one of skeletons, {_NO_VIDEO}"),
    (r"(.*[._])?(time_embed|temporal_\w+|timeattn\w*|weight_hh_l0|base_model|new_fc)\b.*|"
     r".*\.conv\d\.net\.weight", _TWO_DIMENSIONS),
)  # fmt: skip
_TEXT = re.compile(r"(.*\.)?(word_embeddings|embed_tokens|wte|token_embd|tok_embeddings)\b.*")


def refuse_no_network(parameters: Arrays, *, whole: bool) -> None:
    """Make sure that parameters are those of a network, for classes and with nothing to merge.

    Args:
        parameters: all of the file.
        whole: whether all tensors of a family's network are there.

    Raises:
        CheckpointError: they are an adapter, an optimiser's state, of pre-training, or a network
            with an adapter beside it.
    """
    if whole and (name := _named(parameters, _LORA)):
        raise CheckpointError(
            f"the file has a network and LoRA adapters beside its weights ({plain(name)}), which "
            f"are not merged into them; merge them (in PEFT: model.merge_and_unload()), and save "
            "the state_dict again"
        )
    for pattern, what, way in _NO_NETWORK:
        if name := _named(parameters, pattern):
            raise CheckpointError(f"the file {what} ({plain(name)}); {way}")
    if parameters and all(map(is_training_state, parameters)):
        raise CheckpointError(
            f"the file has the state of an optimiser ({_listed(list(parameters))}) and no network; "
            "give the checkpoint that has its weights"
        )


def refuse_several(parameters: Arrays, fits: Sequence[Fit]) -> None:
    """Make sure that no more than one whole network is there.

    Raises:
        CheckpointError: there are several.
    """
    prefixes = list(dict.fromkeys(fit.prefix.rstrip(".") for fit in fits if not fit.missing))
    if len(prefixes) < 2:
        return
    keys = [plain(prefix) for prefix in prefixes if prefix]
    meeting = _fused(parameters, [fit for fit in fits if not fit.missing])
    if meeting is not None:
        rows, columns = parameters[meeting].shape
        raise CheckpointError(
            f"the file has {len(prefixes)} networks (under {', '.join(keys)}) whose features meet "
            f"in {plain(meeting.removesuffix('.weight'))} ({rows}x{columns}), and one of them "
            f"alone gives no answer; {ADVICE}"
        )
    raise CheckpointError(
        f"the file has {len(prefixes)} whole networks (under "
        f"{', '.join(plain(prefix) or 'no name' for prefix in prefixes)}); choose one with "
        f"--weights-key {' or '.join(keys)}, or, where the answer is made of several, {ADVICE}"
    )


def _fused(parameters: Arrays, fits: Sequence[Fit]) -> str | None:
    """Return the name of a matrix that takes the features of several networks together."""
    counts = {fit.prefix: features_of(fit, parameters) for fit in fits}
    total = sum(counts.values())
    return next(
        (
            name
            for name, array in parameters.items()
            if array.ndim == 2 and array.shape[1] == total and _outside(name, counts)
        ),
        None,
    )


def _outside(name: str, prefixes: Collection[str]) -> bool:
    return all(not prefix or not name.startswith(prefix) for prefix in prefixes)


def unknown_network(parameters: Arrays, fit: Fit | None) -> CheckpointError:
    """Return the error about a network of no known family.

    Args:
        parameters: all of the file.
        fit: the nearest layout, of which too much is missing.
    """
    if other := _other(parameters):
        return CheckpointError(f"the network is {other}")
    if fit is not None and _folded(fit):
        family = families_of(fit, parameters)[0]
        biases = [name for name in fit.names.values() if name.endswith(".bias")]
        return CheckpointError(
            f"the network is an {family.network} as {family.name} names it whose batch norms are "
            "folded into its convolutions, which have biases in their place, as fusing for "
            f"inference does ({_listed(biases)}); give the checkpoint that was saved before that, "
            f"or {ADVICE}"
        )
    if fit is not None and len(fit.names) > len(fit.missing):
        return _incomplete(parameters, fit)
    near, hint = nearest_family(parameters), ""
    if near is not None:
        family, lacking = near
        hint = f"; nearest is {family.name} ({family.source}), "
        hint += (
            f"but {_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} not there"
            if lacking
            else "whose modules are there, but not their tensors by the names of PyTorch (such as "
            f"{family.layout.stem.split()[0]}.weight)"
        )
    return CheckpointError(
        f"the parameter names ({_listed(list(parameters)) or 'none'}) match no known family of "
        f"networks{hint}; {ADVICE}"
    )


def _folded(fit: Fit) -> bool:
    """Tell whether a network has all convolutions, with biases, and no batch norm."""
    leaves = [name.rpartition(".")[2] for name in fit.names]
    missing = {name.rpartition(".")[0] for name in fit.missing}
    norms = {name.rpartition(".")[0] for name in fit.missing if name.endswith("running_var")}
    return (
        len(leaves) > 1
        and leaves.count("bias") == leaves.count("weight") == len(leaves) // 2
        and missing == norms
    )


def _incomplete(parameters: Arrays, fit: Fit) -> CheckpointError:
    """Return the error about a family's network of which much is missing."""
    family = families_of(fit, parameters)[0]
    own = f"an {family.network} as {family.name} names it"
    lacking = {missing.rpartition(".")[2] for missing in fit.missing}
    what = f"lacks {len(fit.missing)} of its {len(fit.names) + len(fit.missing)} tensors"
    if lacking <= {"running_mean", "running_var", "moving_mean", "moving_variance"}:
        return CheckpointError(
            f"the network is {own} whose norms have no statistics of the "
            f"training ({_listed(fit.missing)}), as a GroupNorm, or a batch norm without "
            f"track_running_stats; {ADVICE}"
        )
    return CheckpointError(
        f"the network is {own} that {what}: {_listed(fit.missing)}; save "
        "the whole network in one file (model.state_dict())"
    )


def _other(parameters: Arrays) -> str | None:
    """Return what other network this is and what to do, if one can tell."""
    for pattern, axes, other in _OTHERS:
        if _named(parameters, pattern, axes):
            return other
    plane = [name for name, array in parameters.items() if array.ndim == 4]
    if any(array.ndim == 5 for array in parameters.values()):
        return None
    if not plane:
        found = next(filter(_TEXT.fullmatch, parameters), None)
        return f"one of text ({plain(found)}), {_NO_VIDEO}" if found else None
    for pattern, other in _OTHERS_OF_2D:
        if _named(parameters, pattern):
            return other
    shape = parameters[plane[0]].shape
    shown = f"({plain(plane[0])} {'x'.join(map(str, shape))})"
    if shape[1] == 1 and shape[0] > 1:
        return f"one of single channels {shown}, such as spectrograms of sound, {_NO_VIDEO}"
    return f"one of 2-D convolutions, for images {shown}, {_NO_VIDEO}"


def _named(parameters: Arrays, pattern: str, axes: int = 0) -> str | None:
    """Return the first name of a pattern, of a tensor of so many axes."""
    whole = re.compile(pattern)
    return next(
        (
            name
            for name, array in parameters.items()
            if axes in (0, array.ndim) and whole.fullmatch(name)
        ),
        None,
    )


def _listed(names: list[str]) -> str:
    return some_of([plain(name) for name in names], _SHOWN)
