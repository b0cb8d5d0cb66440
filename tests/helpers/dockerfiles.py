"""The steps of a Dockerfile, and a run of them in a root file system where there is no Docker.

It knows the instructions that the Dockerfile of `examples/pc` has, and refuses all others.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import string
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What belongs to this machine's way to the network, and to no image.
_NETWORK = ("resolv.conf", "hosts", "pip.conf")
_CERTIFICATES = Path("/etc/ssl/certs")
_ENTER = """
for folder in dev proc sys; do mount --rbind /$folder "$1/$folder"; done
for pair in $3; do mount --rbind "${pair%%=*}" "$1${pair##*=}"; done
root=$1 user=$2 folder=$4; shift 4
exec chroot --userspec="$user" "$root" env --ignore-environment -C "$folder" "$@"
"""


class Step(NamedTuple):
    """One instruction of a Dockerfile, and what stands after it."""

    instruction: str
    text: str


def steps_of(path: Path) -> list[Step]:
    """Return the instructions of a Dockerfile in their order."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [Step(*line.split(None, 1)) for line in text.splitlines() if line.strip()]


@dataclass
class Image:
    """A root file system, and how programs run in it."""

    root: Path
    variables: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    user: str = "root"
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def run(
        self, *words: str | Path, shown: dict[Path, str] | None = None, variables: object = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, in mounts of its own.

        Args:
            words: the program and its arguments.
            shown: folders of this machine, and where the image has them.
            variables: further pairs of the environment.
        """
        pairs = [f"{name}={value}" for name, value in {**self.variables, **dict(variables)}.items()]
        binds = " ".join(f"{here}={there}" for here, there in (shown or {}).items())
        for there in (shown or {}).values():
            (self.root / there.lstrip("/")).mkdir(parents=True, exist_ok=True)
        enter = ["bash", "-euc", _ENTER, "enter", self.root, self.user, binds, self.folder]
        return subprocess.run(
            ["unshare", "--mount", *enter, *pairs, *words], capture_output=True, text=True
        )

    def start(self, *words: str | Path, **how: dict[Path, str]) -> subprocess.CompletedProcess[str]:
        """Run the image as `docker run IMAGE words` does."""
        return self.run(*self.entrypoint, *(words or self.command), **how)


class Builder:
    """Runs the steps of a Dockerfile.

    Args:
        context: folder that COPY copies from.
        bases: root file systems by the name of their image.
        work: folder for the stages.
    """

    def __init__(self, context: Path, bases: dict[str, Path], work: Path) -> None:
        self._context, self._bases, self._work = context, bases, work
        self._before: dict[str, str] = {}  # what ARG says before the first FROM
        self._stages: dict[str, Image] = {}
        self._arguments: dict[str, str] = {}
        self._image: Image | None = None

    def build(self, path: Path) -> Image:
        """Return the image of the last stage."""
        for step in steps_of(path):
            if self._image is None and step.instruction not in ("ARG", "FROM"):
                raise ValueError(f"{step.instruction} stands before FROM")
            getattr(self, f"_{step.instruction.lower()}")(step.text)
        assert self._image is not None
        return self._image

    def _filled(self, text: str) -> str:
        known = {} if self._image is None else self._image.variables
        return string.Template(text).substitute({**self._before, **self._arguments, **known})

    def _arg(self, text: str) -> None:
        name, _, value = text.partition("=")
        (self._before if self._image is None else self._arguments)[name] = value

    def _from(self, text: str) -> None:
        base, *name = self._filled(text).replace(" AS ", " ").split()
        self._arguments = {}
        root = self._work / f"stage{len(self._stages)}"
        subprocess.run(["cp", "-a", "--reflink=auto", self._bases[base], root], check=True)
        for file in _NETWORK:
            if (Path("/etc") / file).exists():
                (root / "etc" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path("/etc") / file, root / "etc" / file)
        self._image = Image(root)
        self._stages["".join(name) or str(len(self._stages))] = self._image

    def _run(self, text: str) -> None:
        assert self._image is not None
        variables = {**_network_variables(), **self._arguments}
        shown = {_CERTIFICATES: "/run/certificates"} if _CERTIFICATES.is_dir() else {}
        done = self._image.run("/bin/sh", "-c", text, shown=shown, variables=variables)
        if done.returncode != 0:
            raise RuntimeError(f"RUN {text} ended with {done.returncode}:\n{done.stderr[-4000:]}")

    def _copy(self, text: str) -> None:
        assert self._image is not None
        *sources, into = shlex.split(text)
        start = self._context
        if sources[0].startswith("--from="):
            start = self._stages[sources.pop(0).partition("=")[2]].root
        target = self._image.root / into.lstrip("/")
        for source in sources:
            path = start / source.lstrip("/")
            if path.is_dir():
                shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)

    def _env(self, text: str) -> None:
        assert self._image is not None
        name, _, value = text.partition("=")
        self._image.variables[name] = self._filled(value)

    def _user(self, text: str) -> None:
        assert self._image is not None
        self._image.user = text

    def _workdir(self, text: str) -> None:
        assert self._image is not None
        (self._image.root / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self._image.folder = text

    def _entrypoint(self, text: str) -> None:
        assert self._image is not None
        self._image.entrypoint = tuple(json.loads(text))

    def _cmd(self, text: str) -> None:
        assert self._image is not None
        self._image.command = tuple(json.loads(text))


def _network_variables() -> dict[str, str]:
    """Return the variables by which programs of this machine find the way to packages."""
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") or name.lower().endswith("_proxy")
    }
    if "PIP_CERT" in found:  # installing ca-certificates in the image would replace the image's own
        found["PIP_CERT"] = f"/run/certificates/{Path(found['PIP_CERT']).name}"
    return found


def size_of(root: Path) -> int:
    """Return the bytes of a root file system."""
    return sum(
        Path(folder, name).lstat().st_size for folder, _, names in os.walk(root) for name in names
    )
