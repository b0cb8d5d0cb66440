"""Checkpoints to train further, read as `export` reads them, and written for it to read again.

What is written has the names of the file that was read, and the contract of its training, so that
`export` needs no option for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from r2p_edge._optional import import_library
from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.calibration.learnt import learnt_record
from r2p_edge.calibration.manifest import sha256_of_video
from r2p_edge.calibration.matching import Video
from r2p_edge.errors import CheckpointError, UsageError
from r2p_edge.export.checkpoints.dialects import NamedParameters
from r2p_edge.export.checkpoints.layouts import InceptionLayout
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.recorded import SPEC_KEY
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.contract import contract_of
from r2p_edge.export.presets import PRESETS
from r2p_edge.export.source import facts_of, find_source
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.flow import require_colours
from r2p_edge.training.network import TrainableNetwork


class Trainable(NamedTuple):
    """A network to train, and what the file that it came from says of it.

    Attributes:
        network: the PyTorch module.
        spec: its contract.
        named: its parameters as they were read.
        parent: name and sha256 of that file.
    """

    network: TrainableNetwork
    spec: ModelSpec
    named: NamedParameters
    parent: Mapping[str, str]


def open_trainable(
    source: str | Path,
    *,
    preset: str | None = None,
    spec: ModelSpec | str | Path | None = None,
    weights: WeightsOptions | None = None,
    dropout: float = 0.0,
) -> Trainable:
    """Read a checkpoint as a network to train.

    Args:
        source: checkpoint (.ckpt, .pth, .pt, .safetensors) of any framework, ID of published
            weights, or "motion", the bundled model.
        preset, spec: how it was trained; see `build.build`. A file that `save_trainable` wrote
            says it itself.
        weights: options of reading it.
        dropout: see `TrainableNetwork`.

    Raises:
        UsageError: the source is an ONNX model, whose batch norms are gone, or nothing says how it
            was trained.
        CheckpointError: the file cannot be read, is of no known family or of one without a
            classifier, or has layers that its weights alone do not tell.
    """
    hints = PRESETS[preset].families if preset is not None and preset in PRESETS else ()
    weights = (weights or WeightsOptions())._replace(hints=hints)
    model = find_source(source, weights)
    if model.onnx:
        raise UsageError(
            f"{source} is an ONNX model, in which batch norms are folded into convolutions and can "
            "no longer be trained; give the checkpoint that it was exported from, or teach it new "
            "classes as it is (r2p-edge teach)"
        )
    contract = contract_of(
        model,
        facts_of(model),
        preset_name=preset,
        spec=spec,
        labels=None,
        name=None,
        clip={},
        size=None,
        input=None,
    )
    require_colours(contract.flow, contract.name, "training makes views of colours")
    read = read_checkpoint(model.path, model.weights.key)
    named = model.weights.named(read)
    if named.family.headless:
        raise CheckpointError(
            f"checkpoint {read.file}: an {named.family.network} ends at its features and has no "
            "classifier to train; export it, and teach that its classes (r2p-edge teach)"
        )
    if isinstance(named.family.layout, InceptionLayout):
        raise CheckpointError(
            f"checkpoint {read.file}: networks such as this {named.family.network} are not trained "
            "further here; train it with its own code, or export it and teach that new classes "
            "(r2p-edge teach)"
        )
    network = named.network()
    # The file that will be written has weights alone.
    if network_from_parameters(named.parameters, named.family, named.names) != network:
        raise CheckpointError(
            f"checkpoint {read.file}: its layers have strides, epsilons or pools of their own, "
            f"which are not those of {named.family.name}, and weights that are trained further "
            "would not say so; train it with its own code, and export that with --module"
        )
    fixed = {name for name in network.shapes if name not in named.names} - {"fc.bias"}
    frozen = sorted({name.rpartition(".")[0] for name in fixed})
    parent = {"file": read.file, "sha256": read.sha256}
    module = TrainableNetwork(named.parameters, network, frozen, dropout)
    return Trainable(module, contract, named, parent)


def save_trainable(
    trained: Trainable,
    path: str | Path,
    labels: Sequence[str],
    training: Mapping[str, Any],
    videos: Sequence[Video] = (),
) -> ModelSpec:
    """Write the weights and the contract of a network as a `.safetensors` file.

    `export` reads it without further options, also where several families have these names.

    Args:
        trained: of `open_trainable`; its network has a class for each label.
        path: the file to write.
        labels: names of the classes, in the order of the outputs.
        training: what is recorded of the training, as JSON.
        videos: those that it was trained on, whose sha256 are recorded, so that figures on them are
            told from others.

    Returns:
        The contract, as it is in the file.

    Raises:
        UsageError: the name is not that of a .safetensors file.
        SpecError: labels repeat or are empty.
        VideoError: a video cannot be read.
        OutputError: the file cannot be written.
        MissingDependencyError: the safetensors package is not installed.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} is no name of a .safetensors file; give it that suffix")
    check_folder(path)
    library = import_library("safetensors.numpy", "run: pip install safetensors")
    named = trained.named
    source: dict[str, Any] = {"dialect": named.family.name, "parent": dict(trained.parent)}
    if named.bn_eps is not None:
        source["bn_eps"] = named.bn_eps
    if trained.network.network.hidden:
        source["head_activation"] = named.head.activation
    sha256s = [sha256_of_video(video.path) for video in videos]
    learnt = learnt_record(sha256s, trained.spec.source)
    spec = trained.spec.replace(
        name=path.stem,
        labels=tuple(labels),
        source={**source, "training": {**training, **learnt}},
        checks=None,
        accuracy=None,
        per_frame=None,
    )
    names = {"fc.bias": f"{named.names['fc.weight'].rpartition('.')[0]}.bias", **named.names}
    tensors = {
        names[name]: np.ascontiguousarray(value.detach().cpu().numpy())
        for name, value in trained.network.state_dict().items()
        if name in names
    }
    metadata = {"format": "pt", SPEC_KEY: spec.to_json()}
    atomic_write(path, library.save(tensors, metadata=metadata))
    return spec
