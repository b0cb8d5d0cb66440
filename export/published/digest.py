"""Digests of published files: of the kinds that publishers give, and the check against them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from r2p_edge.errors import SpecError

_FORMS = {
    "sha256": "[0-9a-f]{64}",
    "sha256-prefix": "[0-9a-f]{8,63}",  # as torch.hub has it in the names of files
    "sha1": "[0-9a-f]{40}",
}
_BLOCK = 1 << 20  # bytes


class PublishedDigest(NamedTuple):
    """A digest that a publisher gives of a file.

    Attributes:
        kind: "sha256", "sha256-prefix" (its first digits) or "sha1".
        digits: lower-case hexadecimal.
    """

    kind: str
    digits: str

    @property
    def words(self) -> str:
        """The digest as errors name it."""
        name, _, prefix = self.kind.partition("-")
        return f"{name} {'beginning ' if prefix else ''}{self.digits}"


def parse_digest(text: str) -> PublishedDigest:
    """Return a digest written as "kind:digits".

    Raises:
        SpecError: the kind is unknown, or the digits are not those of such a digest.
    """
    kind, _, digits = text.partition(":")
    if kind not in _FORMS or not re.fullmatch(_FORMS[kind], digits):
        raise SpecError(
            f"digest is {text!r:.100}; it must be one of {', '.join(_FORMS)}, a colon, and as many "
            "hexadecimal digits in lower case as it has"
        )
    return PublishedDigest(kind, digits)


class Hashing:
    """The digests of a file's bytes, in the order in which they come.

    Args:
        published: the digest that the bytes are to have; None if there is none to compare with.
    """

    def __init__(self, published: PublishedDigest | None) -> None:
        self._published = published
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1() if published and published.kind == "sha1" else None

    def update(self, block: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._sha256.update(block)
        if self._sha1 is not None:
            self._sha1.update(block)

    def update_from(self, file: BinaryIO) -> None:
        """Take the bytes from the file's position to its end."""
        for block in blocks(file):
            self.update(block)

    @property
    def sha256(self) -> str:
        """The sha256 of what came so far, in hexadecimal."""
        return self._sha256.hexdigest()

    def difference(self) -> str | None:
        """Return in words how the bytes differ from what was published; None if they do not."""
        if self._published is None:
            return None
        found = self.sha256 if self._sha1 is None else self._sha1.hexdigest()
        if found.startswith(self._published.digits):
            return None
        return f"has {self._published.kind.partition('-')[0]} {found}, and the published file " + (
            f"has {self._published.words}"
        )


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes from a file's position to its end in pieces."""
    while block := file.read(_BLOCK):
        yield block


def hashing_of_file(path: Path, published: PublishedDigest | None) -> Hashing:
    """Return the digests of a whole file.

    Raises:
        OSError: the file cannot be read.
    """
    hashing = Hashing(published)
    with path.open("rb") as file:
        hashing.update_from(file)
    return hashing
