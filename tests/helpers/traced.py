"""Connections and files of a command and its children, as strace sees them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_SOCKETS = ("connect", "sendto", "sendmsg", "sendmmsg")
_FILES = (
    "open,openat,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,"
    "symlinkat,unlink,unlinkat,rmdir,truncate"
)
_STRACE = ("strace", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "4096", "-e", "signal=none")
_INTERNET = re.compile(r"sa_family=AF_INET6?\b.*?(?:inet_addr\(|inet_pton\(AF_INET6, )\"([^\"]+)\"")
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_PATH = re.compile(r"(?:AT_FDCWD<([^>]*)>|\d+<([^>]*)>)?(?:, )?\"((?:[^\"\\]|\\.)*)\"")
_WRITING = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC")
_NO_FILES = ("/dev/", "/proc/", "/sys/")  # of the kernel; /dev/shm is one of files
_HIDDEN = ("CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "ORT_DISABLE_TELEMETRY")


class Traced(NamedTuple):
    """Record of a command.

    Attributes:
        code: its exit code.
        output: what it printed, on stdout and stderr.
        connections: "address:port" of each that it or a child sent something to.
        files: paths that they wrote, made, moved or removed, or tried to.
    """

    code: int
    output: str
    connections: set[str]
    files: set[Path]

    def outside(self, *folders: Path) -> list[Path]:
        """Return the files that are in none of these folders."""
        own = [folder.resolve() for folder in folders]
        return sorted(p for p in self.files if not any(p.is_relative_to(each) for each in own))


def traced(command: Sequence[str | Path], folder: Path, **variables: str) -> Traced:
    """Run a command on a machine that knows nothing of it, and return what it did.

    Args:
        command: the program and its arguments.
        folder: gets `home`, the command's HOME, `tmp`, its TMPDIR, and `work`, its current folder;
            those that are there already stay as they are.
        variables: of the environment.
    """
    places = {name: folder / name for name in ("home", "tmp", "work")}
    for place in places.values():
        place.mkdir(exist_ok=True)
    log = folder / "strace.log"
    environment = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    environment |= {"HOME": str(places["home"]), "TMPDIR": str(places["tmp"])}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run(
        [*_STRACE, "-e", f"trace={','.join((*_SOCKETS, _FILES))}", "-o", log, *command],
        cwd=places["work"],
        env=environment,
        capture_output=True,
        text=True,
    )
    connections, files = set[str](), set[Path]()
    for line in log.read_text(errors="replace").splitlines():
        name, _, arguments = line.partition(" ")[2].lstrip().partition("(")
        if name in _SOCKETS:
            for address in _INTERNET.finditer(arguments):
                port = _PORT.search(arguments)
                connections.add(f"{address[1]}:{port[1] if port else ''}")
        elif not name.startswith("open") or any(flag in arguments for flag in _WRITING):
            files |= _paths(arguments, places["work"])
    return Traced(done.returncode, done.stdout + done.stderr, connections, files)


def _paths(arguments: str, work: Path) -> set[Path]:
    """Return the paths in a call's arguments, absolute."""
    found = set()
    for current, opened, name in _PATH.findall(arguments):
        path = Path(os.path.normpath(Path(current or opened or work, _plain(name))))
        if not str(path).startswith(_NO_FILES) or path.is_relative_to("/dev/shm"):
            found.add(path)
    return found


def _plain(name: str) -> str:
    """Return a name as it was before strace escaped it."""
    return name.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1").decode()
