"""The page of the command line, from the argument parser.

    python docs/scripts/cli_page.py

prints its Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator


def parser() -> argparse.ArgumentParser:
    """Return the parser of `r2p-edge`."""
    from r2p_edge.cli import build_parser

    return build_parser()


def cli_page() -> str:
    """Return a section of Markdown for each verb: what it does, and its options in tables."""
    return "\n".join(_lines(parser()))


def _lines(program: argparse.ArgumentParser) -> Iterator[str]:
    for action in program._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for name, verb in action.choices.items():
            yield from _verb(name, verb)


def _verb(name: str, verb: argparse.ArgumentParser, heading: str = "##") -> Iterator[str]:
    arguments = " ".join(_placeholder(each) for each in verb._get_positional_actions())
    actions = [each for each in verb._actions if isinstance(each, argparse._SubParsersAction)]
    yield f"{heading} {name}\n"
    yield f"`r2p-edge {name}{f' {arguments}' if arguments else ''} [options]`\n"
    yield f"{verb.description or ''}\n"
    for group in verb._action_groups:
        options = [each for each in group._group_actions if each.help != argparse.SUPPRESS]
        if not options or set(options) & set(actions):
            continue
        title = str(group.title).removeprefix("positional ")
        yield f"**{title[:1].upper()}{title[1:]}**\n"
        yield "| | |"
        yield "|---|---|"
        for each in options:
            yield f"| {_spelling(each)} | {_help(each, verb)} |"
        yield ""
    if verb.epilog:
        yield f"{verb.epilog.strip()}\n"
    for action in actions:
        for one, child in action.choices.items():
            yield from _verb(f"{name} {one}", child, f"{heading}#")


def _placeholder(action: argparse.Action) -> str:
    """Return what stands for the value of an argument in a usage line."""
    name = action.metavar or action.dest.upper()
    text = name if isinstance(name, str) else " ".join(name)
    if action.choices is not None and action.metavar is None:
        text = "{" + ",".join(map(str, action.choices)) + "}"
    return {"+": f"{text}...", "*": f"[{text}...]", "?": f"[{text}]"}.get(str(action.nargs), text)


def _spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{_placeholder(action)}`"
    names = ", ".join(action.option_strings)
    value = "" if action.nargs == 0 else f" {_placeholder(action)}"
    return f"`{names}{value}`".replace("|", "\\|")


def _help(action: argparse.Action, verb: argparse.ArgumentParser) -> str:
    """Return an option's help with its %(default)s and the like filled in."""
    if not action.help:
        return ""
    text = verb._get_formatter()._expand_help(action)
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(cli_page())
