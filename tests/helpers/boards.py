"""Boards that are not here: a folder that scripts take for /, and programs that check their calls.

The scripts of `examples/jetson`, `examples/atlas` and `examples/rockchip` look for files of the
system under `R2P_ROOT`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

# A stand-in for a vendor's program. One that gets an option that its makers do not document fails,
# as theirs would; what it was called with is kept.
_PROGRAM = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    print(json.dumps([{name!r}, *sys.argv[1:]]), file=log)
known = set({options!r})
for word in sys.argv[1:]:
    if word.startswith("-") and word.split("=")[0] not in known:
        sys.exit(f"{name}: unknown option {{word}}")
arguments = sys.argv[1:]
{body}
"""

GIVES_A_FRAME = (
    "print('/GstPipeline:pipeline0/GstFakeSink:fakesink0: last-message = chain   ******* '"
    "'(fakesink0:sink) (13248 bytes)')"
)
"""Body of a `gst-launch-1.0` through whose pipeline a frame comes, as GStreamer 1.22 says it."""


def options_of(script: Path) -> set[str]:
    """Return the options that a script takes, in its own text and in that of what it sources."""
    text = script.read_text()
    sourced = re.findall(r"^source \"\$shared/(\w+\.sh)\"", text, re.MULTILINE)
    for name in sourced:
        text += (script.parents[1] / "shared" / name).read_text()
    return set(re.findall(r"(?<=[ |])(--[a-z][a-z0-9-]*)(?=\)| \|)", text))


def refused(
    done: subprocess.CompletedProcess[str], message: str, script: Path, code: int = 1
) -> None:
    """Assert that a script ended with one sentence and nothing printed before it."""
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script.name}: error: ")
    assert message in line


class Board:
    """A root folder with the files and programs of one board."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "calls.jsonl"
        self.programs = root / "programs"
        self.programs.mkdir(parents=True)
        (root / "home").mkdir()

    def file(self, path: str, text: str = "") -> Path:
        """Writes a file of the board; `path` begins with a slash."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def program(
        self, name: str, options: Iterable[str] = (), body: str = "", at: str | None = None
    ) -> Path:
        """Writes a program that takes these options only and then runs `body`, Python.

        It is found on the PATH, or lies at the path `at` of the board.
        """
        target = self.programs / name if at is None else self.file(at)
        target.write_text(
            _PROGRAM.format(
                python=sys.executable,
                log=str(self.log),
                name=name,
                options=sorted(options),
                body=body,
            )
        )
        target.chmod(0o755)
        return target

    def run(
        self, script: Path, *arguments: str | Path, as_a_user: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a script on the board; what this machine has on its PATH besides the system's
        own programs is not there.

        `as_a_user` takes from root what it has over other users: reading any file.
        """
        rights = "-dac_override,-dac_read_search"
        less = ["setpriv", f"--bounding-set={rights}"] if as_a_user and os.geteuid() == 0 else []
        return subprocess.run(
            [*less, script, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.root / "home",
            env={
                "PATH": f"{self.programs}{os.pathsep}/usr/bin:/bin",
                "HOME": str(self.root / "home"),
                "R2P_ROOT": str(self.root),
                "LC_ALL": "C.UTF-8",
                **environment,
            },
        )

    @property
    def calls(self) -> list[list[str]]:
        """The calls of this board's programs so far: name and arguments."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]
