"""`r2p-edge info`: the artifacts in a folder, and whether the folder is as it was exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from r2p_edge.artifact import Artifact, bundle, open_artifact
from r2p_edge.artifact.parts import check_parts, is_part, part_files
from r2p_edge.errors import ModelError, ModelNotFoundError, R2PError
from r2p_edge.runtimes import RUNTIMES


class BrokenModel(NamedTuple):
    """A model file that cannot be used.

    Attributes:
        path: the file.
        error: the reason.
    """

    path: Path
    error: R2PError


@dataclass(frozen=True)
class FolderReport:
    """The contents of a folder.

    Attributes:
        models: the model files in the order of their names: each with its contract, or broken.
        kits: the folders that are kits, in the order of their names.
        listed: number of files in the manifest, if all of them are as they were exported.
        damage: error that names the files that are missing or changed; None without any.
    """

    models: list[Artifact | BrokenModel]
    kits: list[Path]
    listed: int | None
    damage: ModelError | None


def inspect_folder(folder: str | Path) -> FolderReport:
    """Read every model file of a folder, and check the folder against its manifest.

    A model whose form with state is not whole counts as broken, and so does a part of no model.

    Returns:
        The report; `listed` and `damage` are both None for a folder without a manifest.

    Raises:
        ModelNotFoundError: the folder does not exist, or has no model, kit or manifest.
        ModelError: the folder cannot be read.
    """
    folder = Path(folder)
    suffixes = sorted({suffix for entry in RUNTIMES.values() for suffix in entry.suffixes})
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFoundError(f"there is no folder {folder}; check the path") from error
    except OSError as error:
        raise ModelError(
            f"folder {folder} cannot be read ({error.strerror}); check its name and permissions"
        ) from error
    # A hidden folder is a kit that is being written, or was when its process was killed.
    found = (*folder.glob("kit.json"), *folder.glob("[!.]*/kit.json"))
    kits = sorted(file.parent for file in found)
    parts = {file for file in files if is_part(file)}
    owned: set[Path] = set()
    models = [_model(file, owned) for file in files if file not in parts]
    # What is wrong with a part is told with its model.
    models = [each for each in models if isinstance(each, Artifact) or each.path not in owned]
    models += [_model(part, owned) for part in sorted(parts - owned)]  # of none: an error
    listed, damage = None, None
    try:
        listed = bundle.check(folder)
    except ModelError as error:
        damage = error
    if not (models or kits or listed is not None or damage):
        raise ModelNotFoundError(
            f"{folder} has no model file ({', '.join(suffixes)}); check the folder"
        )
    return FolderReport(models, kits, listed, damage)


def _model(file: Path, owned: set[Path]) -> Artifact | BrokenModel:
    """Return a model, and add the parts of its form to `owned`."""
    try:
        artifact = open_artifact(file)
        if artifact.spec.per_frame is not None:
            owned.update(part_files(file, artifact.spec))
            check_parts(file, artifact.spec)
        return artifact
    except R2PError as error:
        return BrokenModel(file, error)
