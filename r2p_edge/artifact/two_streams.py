"""Pairs of model files that answer together, and the JSON file that names one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.artifact.open import Artifact, open_artifact
from r2p_edge.artifact.pair_file import PairFile, is_pair_file
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.two_streams import FusionSpec, TwoStreamSpec, fusion_named

ModelPath = str | Path | Sequence[str | Path]
"""Path of a model file or of a pair's JSON file; or the paths of two models."""


@dataclass(frozen=True)
class PairArtifact(Artifact):
    """Two model files that answer together.

    Attributes:
        path: of the JSON file that names them, or else of the first.
        size: of both, in bytes.
        spec: contract of the two.
        carrier: "pair".
        verified: the bytes of both were checked.
        rgb, flow: the files.
    """

    rgb: Artifact
    flow: Artifact


def models_of(artifact: Artifact) -> tuple[Artifact, ...]:
    """Return the model files of an artifact: two of a pair, or itself."""
    return (artifact.rgb, artifact.flow) if isinstance(artifact, PairArtifact) else (artifact,)


def open_model_or_pair(
    path: ModelPath,
    spec: ModelSpec | str | Path | None = None,
    fusion: FusionSpec | str | None = None,
) -> Artifact:
    """Return a model file, or a pair of them, with its contract.

    Args:
        path: the file, the JSON file of a pair, or the paths of a model of colours and one of flow.
        spec: contract of one foreign model, see `open_artifact`.
        fusion: of two paths, see `FusionSpec`; or a name in `FUSION_RECIPES`.

    Raises:
        UsageError: there are not two paths, or `spec` or `fusion` is not for such a model.
        SpecError: two models cannot answer together.
        ModelError: see `open_artifact`.
    """
    if isinstance(path, (str, Path)):
        if is_pair_file(Path(path)):
            _check_no_spec(spec)
            return _open_pair_file(Path(path), fusion)
        if fusion is not None:
            raise UsageError(
                f"fusion is of two models, and {path} is one; give the model of flow too (--flow), "
                "or leave fusion out"
            )
        return open_artifact(path, spec)
    _check_no_spec(spec)
    files = [Path(each) for each in path]
    if len(files) != 2 or fusion is None:
        problem = f"there are {len(files)} models" if len(files) != 2 else "fusion is missing"
        raise UsageError(
            f"{problem}; give a model of colours, one of optical flow, and how their answers "
            "become one: fusion='i3d' or 'r2plus1d' (--fusion), or a FusionSpec"
        )
    return _opened(files, fusion_named(fusion))


def _check_no_spec(spec: object) -> None:
    if spec is not None:
        raise UsageError(
            "spec is the contract of one model, and these are two; export each with its own "
            "contract (r2p-edge export)"
        )


def _open_pair_file(path: Path, fusion: object) -> PairArtifact:
    if fusion is not None:
        raise UsageError(f"{path} says itself how its models are fused; leave fusion out")
    pair = PairFile.read(path)
    try:
        # Relative paths are of where the file lies.
        found = _opened([path.parent / pair.rgb, path.parent / pair.flow], pair.fusion)
    except (ModelError, UsageError) as error:
        raise type(error)(f"{path}: {error}") from error
    return dataclasses.replace(found, path=path)


def _opened(files: Sequence[Path], fusion: FusionSpec) -> PairArtifact:
    rgb, flow = (open_artifact(each) for each in files)
    names = str(rgb.path), str(flow.path)
    return PairArtifact(
        path=rgb.path,
        size=rgb.size + flow.size,
        spec=TwoStreamSpec.of_streams(rgb.spec, flow.spec, fusion, names),
        carrier="pair",
        verified=rgb.verified and flow.verified,
        rgb=rgb,
        flow=flow,
    )
