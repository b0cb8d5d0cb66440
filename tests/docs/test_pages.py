"""Promises of the pages about themselves: length, order, completeness, pictures, commands."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
from pages import BOARDS, COMMANDS, PAGES, blocks_of
from paths import ROOT

from r2p_edge import errors
from r2p_edge.export import TARGETS
from r2p_edge.export.presets import PRESETS

README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = ROOT / "docs" / "scripts"


def page(name: str) -> str:
    """Return the text of a page."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_readme_is_one_page():
    assert len(README.splitlines()) <= 150


def test_the_first_screen_has_both_commands_and_the_picture():
    screen = "\n".join(README.splitlines()[:40])
    for wanted in ("r2p-edge demo", ".venv-test/bin/pytest", "overview-dark.svg", "overview-light"):
        assert wanted in screen


def test_the_quickstart_is_six_lines():
    first = next(b for b in COMMANDS if b.page.name == "README.md" and b.language == "python")
    assert len(first.code.splitlines()) <= 6


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_is_what_its_script_draws(theme):
    script = runpy.run_path(str(SCRIPTS / "draw_overview.py"))
    committed = (ROOT / "docs" / "assets" / f"overview-{theme}.svg").read_text(encoding="utf-8")
    assert script["draw"](script["THEMES"][theme]) == committed


def commands() -> list[str]:
    """Return every `r2p-edge` line in the blocks of the pages, of the boards' pages too.

    A server's line ends in an ampersand, so that the lines after it can ask the server.
    """
    boards = [block for board in BOARDS for block in blocks_of(board)]
    text = "".join(block.code for block in [*COMMANDS, *boards]).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("r2p-edge ")]
    return [line.removesuffix(" &") for line in lines]


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command):
    """A renamed option cannot linger on a page, not even where the line is not run."""
    parser = runpy.run_path(str(SCRIPTS / "cli_page.py"))["parser"]()
    parser.parse_args(shlex.split(command, comments=True)[1:])


def test_options_in_sentences_exist():
    text = runpy.run_path(str(SCRIPTS / "cli_page.py"))["cli_page"]()
    known = {verb: set(re.findall(r"--[a-z0-9-]+", part)) for verb, part in verbs(text)}
    for path in PAGES:
        for verb, rest in re.findall(r"`r2p-edge ([a-z]+)( [^`]*)`", path.read_text("utf-8")):
            assert set(re.findall(r"--[a-z0-9-]+", rest)) <= known[verb], (path.name, verb, rest)


def verbs(text: str) -> list[tuple[str, str]]:
    """Return each verb of the command line's page with its section."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return [(part.split("\n", 1)[0], part) for part in parts]


def test_the_command_line_page_has_every_option():
    script = runpy.run_path(str(SCRIPTS / "cli_page.py"))
    text = script["cli_page"]()
    verbs = ("predict", "timeline", "annotate", "stream", "compare", "eval")
    for verb in (*verbs, "doctor", "info", "export", "demo"):
        assert f"\n## {verb}\n" in f"\n{text}"
    for option in ("--smoothing", "--num-clips", "--timing-cache", "--json"):
        assert f"`{option}" in text


def test_every_preset_and_target_is_listed():
    for name in PRESETS:
        assert f"| `{name}` |" in page("export")
    for name in TARGETS:
        assert f"`{name}`" in page("export").split("## Targets")[1]


def test_every_error_is_listed():
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, (errors.R2PError, Warning)):
            assert f"`{name}`" in page("exit-codes-and-errors")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+)", text) + re.findall(r'src(?:set)?="([^"]+)"', text):
        if "://" not in link:
            assert (path.parent / link).exists(), link
