"""The source of an export: which file it is, how it is read, and what it says of itself."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.onnx_metadata import looks_like_onnx
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.artifact.pair_file import refuse_pair
from r2p_edge.artifact.parts import refuse_part
from r2p_edge.errors import ModelNotFoundError, UsageError
from r2p_edge.export.absent import absent_source
from r2p_edge.export.checkpoints.carried import CarriedRecipe
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.recorded import recorded_spec
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.foreign_files import refuse_foreign
from r2p_edge.export.foreign_folders import describe_folder
from r2p_edge.export.published.registry import PublishedWeights
from r2p_edge.export.published.store import WeightsStore
from r2p_edge.export.recognition import is_onnx_model
from r2p_edge.spec import ModelSpec

BUNDLED = "motion"
"""Name of the bundled model, and of its preset."""


class WeightsFacts(NamedTuple):
    """Facts that a checkpoint states before anything is built from it.

    Attributes:
        family: name of the family of its network, in `checkpoints.families.FAMILIES`.
        classes: number of outputs.
        sha256: of the file.
        carried: what the training script saved of its recipe.
        doubts: what speaks against reading it as that family's, a sentence each; a golden pair
            settles them.
        untrained: whether its batch norms have never seen a clip.
        headless: whether its outputs are features.
        channels: of a frame: 3 of colours, or 2 of optical flow.
    """

    family: str
    classes: int
    sha256: str
    carried: CarriedRecipe
    doubts: tuple[str, ...] = ()
    untrained: bool = False
    headless: bool = False
    channels: int = 3

    @property
    def own_labels(self) -> tuple[str, ...] | None:
        """Names of the classes that the file carries, if there is one for each output.

        Those of features are their numbers.
        """
        if self.headless:
            return tuple(f"feature {number}" for number in range(self.classes))
        names = self.carried.labels
        return names if names is not None and len(names) == self.classes else None


class SourceModel(NamedTuple):
    """The model that is exported.

    Attributes:
        path: file of a checkpoint or ONNX model.
        bundled: whether it is the bundled model.
        carried: spec that an ONNX artifact carries, or a checkpoint of this package; None for every
            other file.
        weights: how the weights of a checkpoint are to be read.
        published: what the registry says of it, where an ID was given.
        onnx: whether the file is an ONNX model.
        output: name of the output of an ONNX model; None for the only one.
    """

    path: Path
    bundled: bool
    carried: ModelSpec | None
    weights: WeightsOptions
    published: PublishedWeights | None = None
    onnx: bool = False
    output: str | None = None


def find_source(
    source: str | Path,
    weights: WeightsOptions | None = None,
    store: WeightsStore | None = None,
    output: str | None = None,
) -> SourceModel:
    """Return the model with a path, of an ID of published weights, or the bundled one for "motion".

    Args:
        source: path, ID or "motion"; a file that is there is a path.
        weights: options of reading a checkpoint.
        store: where published weights are; by default `WeightsStore()`.
        output: name of the output of an ONNX model that has several.

    Raises:
        UsageError: the source is empty or names two models, or the options are about a checkpoint
            and this is an ONNX file, or the reverse.
        ModelNotFoundError: there is no such file.
        ModelError: it is of a format that nothing can be made from, damaged, or no ordinary file.
        SpecError: the spec of an ONNX artifact is damaged.
    """
    if not str(source).strip():
        raise UsageError("the source is empty; give a checkpoint, an ONNX file or 'motion'")
    bundled = str(source) == BUNDLED
    path = _bundled_file() if bundled else Path(source)
    if os.path.isdir(path):
        raise ModelNotFoundError(f"{path} is {describe_folder(path)}")
    weights, published = weights or WeightsOptions(), None
    if not os.path.isfile(path):
        store = store or WeightsStore()
        if (published := store.registry.get(str(source))) is None:
            raise absent_source(source, store.registry)
        path = store.open_for_export(published).path
        family = published.family
        weights = weights._replace(
            id=published.id, hints=weights.hints if family is None else (family,)
        )
    is_onnx = is_onnx_model(path)
    if is_onnx and any(weights._replace(hints=(), id=None, settled=False)):
        raise UsageError(
            f"{path} is an ONNX file, which has one set of weights and says what it computes; "
            "leave weights_key, family, bn_eps, head and head_activation out"
        )
    if not is_onnx and output is not None:
        raise UsageError(
            f"{path} is no ONNX file, and a checkpoint has one output; leave output out"
        )
    if not looks_like_onnx(path):
        refuse_pair(path)
        refuse_foreign(path)
    carried = embedded_spec(path) if is_onnx else recorded_spec(path)
    if is_onnx and carried is None:
        refuse_part(path)
    if carried is not None:
        carried = carried.replace(per_frame=None)  # of that file alone
    return SourceModel(path, bundled, carried, weights, published, is_onnx, output)


def _bundled_file() -> Path:
    return Path(str(resources.files("r2p_edge") / "assets" / "motion.safetensors"))


def is_bundled(source: SourceModel, facts: WeightsFacts | None) -> bool:
    """Return whether these are the bundled model's weights, under whatever name."""
    if facts is None:
        return False
    return source.bundled or facts.sha256 == sha256_of_file(_bundled_file())


def facts_of(source: SourceModel) -> WeightsFacts | None:
    """Return what a checkpoint says; None for an ONNX model, which has no family.

    Raises:
        CheckpointError: see `read_checkpoint`, and `canonical_parameters`.
    """
    if source.onnx:
        return None
    read = read_checkpoint(source.path, source.weights.key)
    named = source.weights.named(read)
    network = named.network()
    return WeightsFacts(
        named.family.name,
        network.classes,
        read.sha256,
        read.carried,
        named.doubts,
        named.untrained(),
        named.headless,
        network.channels,
    )
