"""The folders of models of a server's repository, each written whole or not at all.

A folder has a record of what is in it, by which a later export finds out whether the folder is
its own: a newer model of the same classes and tensors becomes a further version, beside the older.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2p_edge._version import __version__
from r2p_edge.artifact import bundle
from r2p_edge.artifact.atomic import atomic_folder, atomic_write, made_folder
from r2p_edge.artifact.files import sha256_of_model
from r2p_edge.errors import OutputError, SpecError, UsageError
from r2p_edge.serve_export.served import ServedModel, link_or_copy, served_model
from r2p_edge.serve_export.servers import ModelFolder, server_of
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.difference import difference_of_models
from r2p_edge.spec.parsing import parse_json

RECORD = "r2p_edge.json"
"""Name of the record in the folder of a model."""

_FORMAT = 1


@dataclass(frozen=True)
class Repository:
    """A repository that was written.

    Attributes:
        folder: the repository.
        server: name of the server that it is for.
        models: the version that each model has got, by its name.
        start: command that starts the server.
    """

    folder: Path
    server: str
    models: Mapping[str, int] = field(default_factory=dict)
    start: str = ""


def write_repository(
    model: str | Path,
    server: str,
    out: str | Path,
    *,
    name: str | None = None,
    spec: ModelSpec | str | Path | None = None,
    max_batch: int = 8,
    replace: bool = False,
) -> Repository:
    """Write a model into the repository of a server, which may have other models.

    Args:
        model: the model file, or a folder with one model.
        server: name in `SERVERS`.
        out: folder of the repository; made if it does not exist.
        name: name of the model on the server; by default that of its contract.
        spec: contract of a model that carries none.
        max_batch: most clips that the server may put into one call, where the batch axis is open.
        replace: put the model in the place of another one of the same name.

    Raises:
        UsageError: the server is unknown, or the name is another model's.
        ModelError: the server cannot run such a model, or see `open_artifact`.
        OutputError: the repository cannot be written, or a folder there is not of this package.
    """
    row = server_of(server)
    served = served_model(model, name=name, spec=spec, max_batch=max_batch)
    row.check(served)
    out = Path(out)
    folders = row.folders(served)
    records = {each.name: _record_of(out / each.name, each, replace) for each in folders}
    root_files = row.root_files(served, out)
    digest = sha256_of_model(served.artifact.path)
    with made_folder(out):
        bundle.forget(out, lambda path, _: path.split("/")[0] in records)
        versions = {}
        for each in folders:
            versions[each.name] = _write_folder(out, server, served, each, records, digest)
        for file, content in root_files.items():
            atomic_write(out / file, content)
    written = [file for each in folders for file in _files_in(out / each.name)]
    bundle.record(out, (), written + [out / file for file in root_files])
    return Repository(out, server, versions, row.start(served, out))


def _write_folder(
    out: Path,
    server: str,
    served: ServedModel,
    folder: ModelFolder,
    records: Mapping[str, dict[str, Any]],
    digest: str,
) -> int:
    """Write one folder; return the number of the version that the model has got in it."""
    former: dict[str, str] = records[folder.name].get("versions", {})
    same = [number for number, found in former.items() if found == digest]
    version = int(same[0]) if same else max([0, *map(int, former)]) + 1
    with atomic_folder(out / folder.name) as draft:
        for number in former if folder.has_versions else ():
            if int(number) != version:
                _keep(out / folder.name / number, draft / number)
        place = draft / str(version) if folder.has_versions else draft
        place.mkdir(exist_ok=True)
        folder.write(draft, place)
        kept = {number: found for number, found in former.items() if folder.has_versions}
        record = {
            "format": _FORMAT,
            "r2p_edge": __version__,
            "server": server,
            "spec": served.spec.to_dict(),
            "tensors": _tensors(folder),
            "versions": {**kept, str(version): digest},
        }
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (draft / RECORD).write_text(text, encoding="utf-8")
    return version


def _keep(old: Path, new: Path) -> None:
    """Give all files of an older version a place in the new folder."""
    for file in _files_in(old):
        target = new / file.relative_to(old)
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(file, target)


def _files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _tensors(folder: ModelFolder) -> Any:
    """Return the tensors of a folder as its record has them once it is read again."""
    return json.loads(json.dumps(folder.tensors))


def _record_of(path: Path, folder: ModelFolder, replace: bool) -> dict[str, Any]:
    """Return the record of a folder that is to be written; {} for one whose versions go.

    Raises:
        OutputError: the folder is not of this package.
        UsageError: it is another model's, and must not be replaced.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        content = (path / RECORD).read_bytes()
        record: Any = parse_json(content, str(path / RECORD))
        found = ModelSpec.from_dict(record["spec"])
        versions = record["versions"]
        ours = record["format"] == _FORMAT and all(map(str.isdecimal, versions))
    except (OSError, SpecError, LookupError, TypeError):
        ours = False
    if not ours:
        raise OutputError(
            f"{path} exists and is not a folder that serve-export has written; remove it, or "
            "choose another --out or --name"
        )
    if replace:
        return {}
    differs = difference_of_models(found, folder.spec)
    if not differs and found.labels != folder.spec.labels:
        differs = "its classes in another order"
    if not differs and record.get("tensors") != _tensors(folder):
        differs = "of other inputs or outputs"
    if differs:
        raise UsageError(
            f"{path} is another model of the name {folder.name} ({differs}); give another --name "
            "or --out, or replace it (--replace)"
        )
    return dict(record)
