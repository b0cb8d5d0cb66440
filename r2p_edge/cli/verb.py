"""The parser of one verb, with `--json`, `--verbose` and examples, which every verb has."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from r2p_edge.addresses import without_password
from r2p_edge.errors import UsageError, similar_name

Verbs: TypeAlias = "argparse._SubParsersAction[VerbParser]"
"""The verbs of the command line, to which a verb's `add` adds its parser."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors, which repeat what was typed, show no password."""

    def error(self, message: str) -> NoReturn:
        """End the program with a message; see `argparse.ArgumentParser`.

        The usage of a verb has two dozen lines, above which nobody finds the message.
        """
        words = [action.metavar or action.dest for action in self._get_positional_actions()]
        usage = " ".join([self.prog, *map(str, words), "[OPTIONS]"])
        message = f"{without_password(message)}; {self.prog} --help has all options"
        self.exit(2, f"usage: {usage}\n{self.prog}: error: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices, verbs among them, with the nearest one."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            # By itself Python does so from 3.14 on, if it is asked to.
            if hint := similar_name(str(value), map(str, action.choices or ())):
                error.message += f"; {hint.rstrip()}"
            raise


class VerbParser(Parser):
    """The parser of one verb."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **options, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self._bare: dict[str, str] = {}

    def add_flag_with_number(self, group: Any, option: str, default: float, **more: Any) -> None:
        """Add an option that is given as `--option`, for the default, or as `--option=NUMBER`.

        By itself argparse would take whatever follows `--option` for the number.
        """
        group.add_argument(option, type=float, nargs="?", **more)
        self._bare[option] = f"{option}={default}"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments as `argparse.ArgumentParser` does."""
        words = sys.argv[1:] if args is None else args
        words = [self._bare.get(each, each) for each in words]
        found, left = super().parse_known_args(words, namespace)
        left = self._without_late(found, left)
        if left:
            self.error(self._left_over(left))
        return found, left

    def _without_late(self, found: argparse.Namespace, left: list[str]) -> list[str]:
        """Give the last argument the words after an option, if it takes any number and has none.

        Older Pythons give it nothing where an option follows the argument before it:
        https://github.com/python/cpython/issues/59317.

        Returns:
            The words that are left over now.
        """
        last = self._get_positional_actions()[-1:]
        if not last or last[0].nargs != "*" or getattr(found, last[0].dest):
            return left
        end = left.index("--") if "--" in left else len(left)
        if any(word.startswith("-") for word in left[:end]):
            return left
        setattr(found, last[0].dest, left[:end] + left[end + 1 :])
        return []

    def _left_over(self, words: list[str]) -> str:
        """Return the message about words that are no option and no argument of the verb."""
        option = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
        if option is None:
            taken = [str(action.metavar) for action in self._get_positional_actions()]
            what = (
                f"{' '.join(taken)} once, in quotes if it has spaces" if taken else "options alone"
            )
            return f"{' '.join(words)} is left over; give {what}"
        hint = similar_name(option, self._option_string_actions)
        return f"unrecognized arguments: {' '.join(words)}" + (f"; {hint.rstrip()}" if hint else "")

    def add_former_clips(self, successor: str) -> None:
        """Add `--clips`, which is gone, as an error that names its successor."""
        self.add_argument(
            "--clips", action=_Gone, nargs="?", help=argparse.SUPPRESS, const=successor
        )


class _Gone(argparse.Action):
    """An option that is no longer there."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Raise UsageError."""
        verb = parser.prog.split()[-1]
        raise UsageError(f"{verb} has no option --clips; give {self.const}")


def add_verb(
    verbs: Verbs,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    *examples: str,
) -> VerbParser:
    """Add a verb with the options that every verb has.

    Args:
        verbs: the parser's verbs.
        name: the verb.
        run: takes the parsed options and returns the exit code.
        summary: a sentence for the help.
        examples: what a user may type after `r2p-edge`.
    """
    verb = _add_parser(verbs, name, summary, *examples)
    verb.add_argument("--json", action="store_true", help="print JSON, one object per line")
    # A default here would undo the option that stands before the verb.
    add_verbose(verb, default=argparse.SUPPRESS)
    verb.set_defaults(run=run)
    return verb


def add_verb_of_verbs(verbs: Verbs, name: str, summary: str, *examples: str) -> Verbs:
    """Add a verb that has verbs of its own, for `add_verb`; return these.

    Args:
        verbs, name, summary, examples: see `add_verb`.
    """
    verb = _add_parser(verbs, name, summary, *examples)
    return verb.add_subparsers(
        required=True, metavar="ACTION", parser_class=VerbParser, title="actions", help="one of"
    )


def _add_parser(verbs: Verbs, name: str, summary: str, *examples: str) -> VerbParser:
    lines = "\n".join(f"    r2p-edge {example}" for example in examples)
    return verbs.add_parser(
        name, help=summary, description=summary, epilog=f"Examples:\n\n{lines}\n"
    )


def add_verbose(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add `--verbose`."""
    parser.add_argument(
        "--verbose",
        action="store_true",
        default=default,
        help="report on stderr what is done, for example which runtime and device are used",
    )
