"""The registry: what is known of each published file of weights, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from r2p_edge.errors import ModelError, SpecError, UsageError, similar_name
from r2p_edge.export.published.digest import PublishedDigest, parse_digest
from r2p_edge.export.published.json_records import parse_record, read_json_file
from r2p_edge.spec.checks import check_text, shown

_FORMAT = 1
_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_ADVICE = "write it as in r2p_edge/assets/weights.json"
_LARGEST = 1 << 32  # bytes

Registry = Mapping[str, "PublishedWeights"]
"""What is known of published weights, by ID."""


@dataclass(frozen=True)
class PublishedWeights:
    """One published file of weights.

    Attributes:
        id: name for the command line, and of the file in the store.
        title: what it is, in a few words.
        status: "direct" if a program may fetch it; "by-hand" if its server wants a person.
        url: address of the file, or of the page where a person finds it.
        file: name that its publisher gives it.
        page: address at which its publisher speaks of it.
        size: in bytes; None if it was never written down.
        megabytes: about how large it is, where `size` is None.
        digest: as "kind:digits", see `digest.parse_digest`; None if none was published.
        licence: of the repository that published it, by its SPDX name.
        licence_url: address of its text.
        trained_on: data sets, whose own terms may bind too.
        classes: number of outputs; None if it was never written down.
        family: name in `checkpoints.families.FAMILIES`; None if no family is known to fit.
        preset: name in `presets.PRESETS` of how it was trained; None if none says so.
        frames: frames of the clips that it was trained on.
        labels: name of the list of its classes in `assets/labels`.
        notes: what else must be known; may be empty.
    """

    id: str
    title: str
    status: Literal["direct", "by-hand"]
    url: str
    file: str
    page: str
    size: int | None
    megabytes: int | None
    digest: str | None
    licence: str
    licence_url: str
    trained_on: str
    classes: int | None
    family: str | None
    preset: str | None
    frames: int | None
    labels: str | None
    notes: str

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise SpecError(
                f"id is {shown(self.id)}; it must begin with a small letter or a digit, and have "
                "at most 64 of these, dots, hyphens and underscores"
            )
        for name in ("title", "licence", "trained_on"):
            check_text(name, getattr(self, name))
        if not re.fullmatch(r"[\w.+-]{1,200}", self.file) or not PurePosixPath(self.file).suffix:
            raise SpecError(f"file is {shown(self.file)}; it must be a file's name with a suffix")
        for name in ("size", "megabytes", "classes", "frames"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= _LARGEST:
                raise SpecError(
                    f"{name} is {shown(value)}; it must be from 1 to {_LARGEST}, or null"
                )
        schemes = {"https"}
        if self.digest is not None and not parse_digest(self.digest).kind.endswith("-prefix"):
            schemes.add("http")  # whoever may change its bytes on the way is found out
        for name in ("url", "page", "licence_url"):
            _check_address(name, getattr(self, name), schemes)

    @property
    def published(self) -> PublishedDigest | None:
        """The digest, parsed."""
        return None if self.digest is None else parse_digest(self.digest)

    @property
    def stored_as(self) -> str:
        """Name of the file in the store."""
        return self.id + PurePosixPath(self.file).suffix

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, as in the registry."""
        return asdict(self)


def _check_address(name: str, url: str, schemes: set[str]) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise SpecError(
            f"{name} is {shown(url)}; it must be an address of https in ASCII, or of http where "
            "the whole digest of the file is known"
        )


def read_registry(path: str | Path | None = None) -> Registry:
    """Return the published weights that a registry lists, by ID, in its order.

    Args:
        path: a file like `r2p_edge/assets/weights.json`, which is the default.

    Raises:
        ModelError: the file cannot be read, is no registry, or an entry of it is wrong.
    """
    if path is None:
        path = str(resources.files("r2p_edge") / "assets" / "weights.json")
    path = Path(path)
    data = read_json_file(path, "registry", _ADVICE)
    rows = data.get("weights") if isinstance(data, dict) and data.get("format") == _FORMAT else None
    if not isinstance(rows, list):
        raise ModelError(
            f"registry {path} is not of format {_FORMAT} with a list of weights; {_ADVICE}"
        )
    found: dict[str, PublishedWeights] = {}
    for number, row in enumerate(rows):
        name = row.get("id") if isinstance(row, dict) else None
        where = f"registry {path}, entry {number}" + ("" if name is None else f" ({shown(name)})")
        entry = parse_record(PublishedWeights, row, where, _ADVICE)
        if entry.id in found:
            raise ModelError(f"{where} has the id of an entry before it; {_ADVICE}")
        found[entry.id] = entry
    return found


def weights_of_id(name: str, registry: Registry) -> PublishedWeights:
    """Return the entry of an ID.

    Raises:
        UsageError: there is none.
    """
    if name not in registry:
        raise UsageError(
            f"no published weights are called {shown(name)}; {similar_name(name, registry)}"
            "r2p-edge weights list has all IDs"
        )
    return registry[name]
