"""The options of all verbs: their help, and spellings that are gone."""

import argparse
import re
import shlex

import pytest
from exit_codes import USAGE

from r2p_edge.cli import build_parser


def verbs_of(parser):
    """Return a parser's verbs by name."""
    return {
        name: verb
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, verb in action.choices.items()
    }


VERBS = verbs_of(build_parser())
ACTIONS = {
    f"{name} {action}": parser
    for name, verb in VERBS.items()
    for action, parser in verbs_of(verb).items()
}
"""The verbs of verbs."""

ALL = {**VERBS, **ACTIONS}


@pytest.mark.parametrize(
    ("command", "successor"),
    [
        ("predict m.onnx v.mp4 --clips 3", "--views N"),
        ("predict --clips=3 m.onnx v.mp4", "--views N"),
        ("demo --clips 24", "--num-clips N"),
        ("eval m.onnx --clips videos --split list.txt", "--videos DIR"),
        ("compare a.onnx b.onnx --clips videos", "--videos DIR"),
        ("export m.onnx --precision int8 --clips videos --out out", "--videos DIR"),
        ("calibrate m.onnx --clips videos --out int8.onnx", "--videos DIR"),
    ],
)
def test_clips_names_its_successor(fails, command, successor):
    verb = command.split()[0]
    fails(USAGE, f"{verb} has no option --clips; give {successor}", *shlex.split(command))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("export a.pth b.pth --out o", "b.pth is left over; give SOURCE once, in quotes if it has"),
        ("weights get a b c", "b c is left over; give ID once"),
        ("doctor x", "x is left over; give options alone"),
        ("export a.pth --out o --frame 8", "unrecognized arguments: --frame 8; did you mean --fra"),
        ("export a.pth --out o --frames 16,32", "argument --frames: invalid int value: '16,32'"),
        ("export a.pth --out o --graph con3d", "choose from 'auto', 'conv3d', 'conv2d'"),
        ("export a.pth --out o --graph con3d", "; did you mean conv3d?; r2p-edge export --help"),
        ("info --frobnicate=1 x", "unrecognized arguments: --frobnicate=1; r2p-edge info --help"),
    ],
)
def test_a_wrong_argument_is_told_in_two_lines(capsys, command, message):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(shlex.split(command))
    assert ended.value.code == USAGE
    usage, error = capsys.readouterr().err.splitlines()
    assert usage.startswith(f"usage: r2p-edge {command.split()[0]} ")
    assert usage.endswith(" [OPTIONS]")
    assert message in error


@pytest.mark.parametrize(
    ("command", "near"),
    [("predcit m.onnx v.mp4", "predict"), ("weights ge x", "get"), ("evaluate m.onnx", "eval")],
)
def test_a_verb_that_is_spelt_wrong_is_told_the_right_one(capsys, command, near):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(shlex.split(command))
    assert ended.value.code == USAGE
    assert f"; did you mean {near}?; " in capsys.readouterr().err


def test_verbs():
    assert list(VERBS) == [
        *("demo", "predict", "timeline", "annotate", "sheet", "stream", "watch", "serve"),
        *("compare", "eval", "report", "benchmark"),
        *("doctor", "info", "dataset", "export", "calibrate", "adapt", "serve-export"),
        *("teach", "weights"),
    ]


@pytest.mark.parametrize("verb", ALL)
def test_each_option_has_a_phrase(verb):
    parser = ALL[verb]
    for action in parser._actions:
        if action.help is argparse.SUPPRESS:
            continue
        # A phrase in lower case without a full stop; a name may come first.
        assert re.match(r"[a-z]|JSON|ONNX|GPU", action.help), action.help
        assert not action.help.endswith("."), action.help
        assert not re.match(r"(of|to|as|what) ", action.help), action.help
    assert parser.description.endswith(".")


@pytest.mark.parametrize("verb", ALL)
def test_the_examples_parse(verb):
    parser = build_parser()
    examples = re.findall(r"^    r2p-edge (.*)$", ALL[verb].epilog, re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        words = shlex.split(example)
        assert " ".join(words).startswith(verb)
        parser.parse_args(words)


@pytest.mark.parametrize("verb", ALL)
def test_defaults_in_the_help_are_the_real_ones(verb):
    for action in ALL[verb]._actions:
        told = re.search(r"\(default: ([\w.-]+)", action.help or "")
        if told and action.default not in (None, False, argparse.SUPPRESS):
            default = action.default
            expected = f"{default:g}" if isinstance(default, float) else str(default)
            assert told[1] == expected, action.help


@pytest.mark.parametrize(
    ("command", "videos"),
    [
        ("predict m.onnx", []),
        ("predict m.onnx a.mp4 b.mp4 --json", ["a.mp4", "b.mp4"]),
        ("predict m.onnx --json a.mp4 b.mp4", ["a.mp4", "b.mp4"]),
        ("predict --json m.onnx --runtime openvino a.mp4", ["a.mp4"]),
        ("predict m.onnx --json -- -a.mp4", ["-a.mp4"]),
        ("predict m.onnx --json a.mp4 -- -b.mp4", ["a.mp4", "-b.mp4"]),
        ("predict m.onnx --list x.txt --out y.csv", []),
    ],
)
def test_videos_may_stand_after_options(command, videos):
    assert build_parser().parse_args(shlex.split(command)).videos == videos


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("predict m.onnx a.mp4 --json b.mp4", "b.mp4 is left over; give MODEL VIDEO once"),
        ("predict m.onnx --jsn a.mp4", "unrecognized arguments: --jsn a.mp4; did you mean --json"),
    ],
)
def test_videos_in_two_places_and_a_wrong_option(capsys, command, message):
    with pytest.raises(SystemExit):
        build_parser().parse_args(shlex.split(command))
    assert message in capsys.readouterr().err
