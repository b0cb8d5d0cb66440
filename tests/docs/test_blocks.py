"""Every `sh` and `python` block of the pages runs as it stands, and prints what the page shows.

A block runs in a folder of its own, a copy of `workshop`. Comments above a block, and what they
mean, are listed in CONTRIBUTING.md under Documentation.
"""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ALL, BOARDS, COMMANDS, LANGUAGES, PAGES, RUNNABLE, Block, blocks_of
from paths import HELPERS, ROOT
from requirements import is_required


def parameters() -> list[object]:
    """Return the blocks that run here, the long ones marked; all of them are slow."""
    return [
        pytest.param(
            block, id=block.name, marks=[pytest.mark.long] if "long" in block.marks else []
        )
        for block in COMMANDS
        if not {"not run", "run by"} & block.marks.keys()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("block", parameters())
def test_block(
    block: Block, workshop: Path, camera: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    skip_without(block.marks.get("needs"))
    folder = tmp_path / "here"
    shutil.copytree(workshop, folder, symlinks=True)
    if ".pth" in block.code:
        shutil.copy(request.getfixturevalue("torch_checkpoint"), folder)
    programs = Path(sys.executable).parent
    paths = [camera, HELPERS] if re.search(r"\b0\b", block.code) else [HELPERS]
    if block.language == "sh":
        command = ["bash", "-euo", "pipefail", "-c", block.code]
    else:
        (tmp_path / "block.py").write_text(block.code, encoding="utf-8")
        command = [sys.executable, str(tmp_path / "block.py")]
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.name}\n{done.stdout}\n{done.stderr}"
    if block.output is not None:
        assert shows(block.output, done.stdout), f"{block.name} printed\n{done.stdout}"


def shows(page: str, printed: str) -> bool:
    """Return if the page shows what was printed: numbers may differ, `...` is anything."""

    def words(text: str) -> str:
        return re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", text.strip()) + "\n"

    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(words(page), words(printed), options)


def skip_without(module: str | None) -> None:
    """Skip a block that needs what is not here."""
    if module is None or is_required(module):
        return
    if module == "bf16":
        openvino = pytest.importorskip("openvino")
        there = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    else:
        there = importlib.util.find_spec(module) is not None
    if not there:
        pytest.skip(f"needs {module}")


def test_words_count_and_numbers_do_not() -> None:
    assert shows("grow 100.0% in 3 ms\n", "grow 99.98%   in 12.5 ms\n")
    assert shows("a\n...\nz\n", "a\nb\nc\nz\n")
    assert not shows("grow 100.0%\n", "shrink 100.0%\n")


def test_every_block_says_what_it_is() -> None:
    for block in ALL:
        assert block.language in LANGUAGES, f"{block.name}: write one of {LANGUAGES} after ```"


def test_pages_have_no_commands_outside_blocks() -> None:
    for page in PAGES:
        indented = re.findall(r"^    (?:r2p-edge|python|\$) .*", page.read_text(), re.MULTILINE)
        inside = "".join(block.code for block in ALL if block.page == page)
        assert [line for line in indented if line not in inside] == [], page


def test_at_most_a_tenth_is_not_run() -> None:
    boards = [block for page in BOARDS for block in blocks_of(page)]
    commands = [*COMMANDS, *(block for block in boards if block.language in RUNNABLE)]
    left_out = [block for block in commands if "not run" in block.marks]
    for block in left_out:
        assert block.marks["not run"], f"{block.name}: say why it is not run"
    assert len(left_out) <= 0.1 * len(commands), [block.name for block in left_out]


def test_what_others_run_is_known_to_them() -> None:
    """A script finds a block by its heading, or by that of the same lines on another page."""
    for block in COMMANDS:
        if (file := block.marks.get("run by")) is not None:
            text = (ROOT / file).read_text(encoding="utf-8")
            headings = [other.heading for other in COMMANDS if other.code == block.code]
            assert any(heading in text for heading in headings), f"{block.name}: {file}"
