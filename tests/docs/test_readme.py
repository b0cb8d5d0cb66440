"""The README's Python runs as it stands, on what its first command leaves behind."""

import re
import shlex

from paths import ROOT

from r2p_edge.cli import build_parser
from r2p_edge.export.presets import PRESETS

README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_snippets_run(demo, monkeypatch, capsys):
    monkeypatch.chdir(demo[1].parent)
    assert SNIPPETS
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("grow ")


def test_snippet_is_six_lines():
    assert len(SNIPPETS[0].splitlines()) <= 6


def test_verbs_and_options_exist():
    """Every `r2p-edge` line of the README parses: a renamed option cannot linger there."""
    lines = README.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line)[1:] for line in lines if re.match(r"r2p-edge [a-z]", line)]
    assert len(commands) >= 5
    for command in commands:
        build_parser().parse_args(command)


def test_every_preset_is_listed():
    for name in PRESETS:
        assert f"| `{name}` |" in README
