"""Mutants of the TensorRT adapter, each with a mistake that adapters make, and noticed by a check.

A mutant is made in the syntax tree: the call or statement to change is found by its names, in any
module of the adapter, whatever its formatting.
"""

from __future__ import annotations

import ast
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from models import brightness_model
from paths import HELPERS, STANDINS
from requirements import needs
from tensorrt_models import small

import r2p_edge

# A process for each mutant: more than a minute for all.
pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors"), pytest.mark.slow]

ADAPTER = ("runtimes/tensorrt", "export/targets/tensorrt")
"""Folders in which the code to change is looked for."""

Change = Callable[[ast.AST], ast.AST | list[ast.stmt] | None]
"""Return what replaces a node; None if it is not the one."""


def words(node: ast.AST) -> set[str]:
    """Return the names, attributes and texts in a piece of code."""
    found = {getattr(one, key, None) for one in ast.walk(node) for key in ("id", "attr", "arg")}
    texts = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
    return {word for word in found | texts if isinstance(word, str)}


def is_call(node: ast.AST, name: str, word: str | None = None) -> bool:
    """Return whether a node calls the function or method `name`, with `word` in an argument."""
    if not isinstance(node, ast.Call):
        return False
    called = getattr(node.func, "attr", getattr(node.func, "id", None))
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return called == name and (word is None or any(word in words(one) for one in given))


def has_call(node: ast.AST, name: str, word: str | None = None) -> bool:
    """Return whether a call is anywhere in a piece of code."""
    return any(is_call(one, name, word) for one in ast.walk(node))


def expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def without(name: str, word: str | None = None) -> Change:
    """Drop a statement that is a call."""

    def change(node: ast.AST) -> ast.AST | None:
        return (
            ast.Pass() if isinstance(node, ast.Expr) and is_call(node.value, name, word) else None
        )

    return change


def preceded(text: str, name: str) -> Change:
    """Put a statement before one that is a call."""

    def change(node: ast.AST) -> list[ast.stmt] | None:
        if not (isinstance(node, ast.Expr) and is_call(node.value, name)):
            return None
        return [*ast.parse(text).body, node]

    return change


def given(name: str, position: int, text: str | None) -> Change:
    """Give a call another argument; None drops it."""

    def change(node: ast.AST) -> ast.AST | None:
        if not is_call(node, name):
            return None
        assert isinstance(node, ast.Call)
        node.args[position : position + 1] = [] if text is None else [expression(text)]
        return node

    return change


def decided(value: bool, name: str, word: str | None = None) -> Change:
    """Take one branch of an `if` whose condition has a call."""

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.If) or not has_call(node.test, name, word):
            return None
        node.test = ast.Constant(value)
        return node

    return change


def always(one: str, other: str) -> Change:
    """Choose one attribute always, in place of another under a condition."""

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.IfExp) or not isinstance(node.orelse, ast.Attribute):
            return None
        found = node.orelse.attr == one and getattr(node.body, "attr", None) == other
        return node.orelse if found else None

    return change


def only_for(tensor: str, name: str) -> Change:
    """Make an `if` whose condition has a call consider one tensor alone."""

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.If) or not has_call(node.test, name):
            return None
        node.test = ast.BoolOp(ast.And(), [expression(f"name == {tensor!r}"), node.test])
        return node

    return change


def uncopied(variable: str) -> Change:
    """Assign to a variable the thing of which it is to be a copy."""

    def change(node: ast.AST) -> ast.AST | None:
        if not _assigns(node, variable) or not is_call(node.value, "copy"):
            return None
        node.value = node.value.func.value
        return node

    return change


def unassigned(variable: str) -> Change:
    """Drop the assignment of a copy to a variable."""

    def change(node: ast.AST) -> ast.AST | None:
        return ast.Pass() if _assigns(node, variable) and is_call(node.value, "copy") else None

    return change


def _assigns(node: ast.AST, variable: str) -> bool:
    return isinstance(node, ast.AnnAssign) and getattr(node.target, "id", None) == variable


def unlisted(text: str) -> Change:
    """Drop a text from the tuple that a loop goes through."""

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.For) or not isinstance(node.iter, ast.Tuple):
            return None
        kept = [one for one in node.iter.elts if getattr(one, "value", None) != text]
        if len(kept) == len(node.iter.elts):
            return None
        node.iter.elts = kept
        return node

    return change


def unlocked() -> Change:
    """Run without the session's lock."""

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.With) or "_session" not in words(node.items[0]):
            return None
        node.items[0].context_expr = expression("__import__('contextlib').nullcontext()")
        return node

    return change


def earlier(attribute: str, name: str) -> Change:
    """Move the assignment to an attribute before the statement that is a call."""

    def place(body: list[ast.stmt], wanted: Callable[[ast.stmt], bool]) -> int | None:
        return next((number for number, one in enumerate(body) if wanted(one)), None)

    def change(node: ast.AST) -> ast.AST | None:
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            return None
        there = place(body, lambda one: isinstance(one, ast.Expr) and is_call(one.value, name))
        here = place(
            body,
            lambda one: (
                isinstance(one, ast.Assign) and getattr(one.targets[0], "attr", None) == attribute
            ),
        )
        if there is None or here is None:
            return None
        assert there < here
        body.insert(there, body.pop(here))
        return node

    return change


class Mutation(NamedTuple):
    """A mistake, the check that notices it, and a text in that check's error."""

    changes: tuple[Change, ...]
    check: str
    said: str


MUTATIONS = {
    "no FP16 on 8.6": Mutation(
        (without("set_flag", "FP16"),), "8.6.1 fp16", "computes in another precision"
    ),
    "no INT8 on 8.6": Mutation(
        (without("set_flag", "INT8"),), "8.6.1 int8", "int8 is not configured"
    ),
    "INT8 without FP16 on 8.6": Mutation(
        (without("set_flag", "FP16"),), "8.6.1 int8", "computes in another precision"
    ),
    "flags on 11": Mutation(
        (decided(True, "hasattr", "FP16"),), "11.4 fp16", "no attribute 'FP16'"
    ),
    "TF32 is not cleared": Mutation((without("clear_flag", "TF32"),), "10.3.0 fp32", "TF32 is on"),
    "the plain file on 11": Mutation(
        (always("plain", "typed"),), "11.4 fp16", "in another precision"
    ),
    "an implicit batch on 8.6": Mutation(
        (given("create_network", 0, None),), "8.6.1 fp32", "an explicit batch"
    ),
    "EXPLICIT_BATCH on 11": Mutation(
        (decided(False, "hasattr", "EXPLICIT_BATCH"),), "11.4 fp32", "no attribute 'EXPLICIT_BATCH'"
    ),
    "the name before parsing": Mutation(
        (earlier("name", "_parse"),), "10.3.0 fp32", "the name is another"
    ),
    "no shape": Mutation((decided(False, "set_input_shape"),), "open", "has no shape of its own"),
    "no address of the output": Mutation(
        (only_for("frames", "set_tensor_address"),),
        "run",
        "Address is not set for output tensor logits",
    ),
    "no address of the input": Mutation(
        (only_for("logits", "set_tensor_address"),),
        "run",
        "Address is not set for input tensor frames",
    ),
    "the host's address": Mutation(
        (given("set_tensor_address", 1, "host.address"),), "run", "an illegal memory access"
    ),
    "the default stream": Mutation(
        (given("execute_async_v3", 0, "0"),), "run", "Using default stream"
    ),
    "a stream of its own": Mutation(
        (given("execute_async_v3", 0, "self._cuda.stream().handle"),),
        "run",
        "the numbers are wrong",
    ),
    "read before synchronising": Mutation(
        (preceded("answer = self.output.array.copy()", "synchronize"), unassigned("answer")),
        "run",
        "the numbers are wrong",
    ),
    "not synchronised": Mutation((without("synchronize"),), "run", "the numbers are wrong"),
    "an input that is not copied": Mutation(
        (without("copy", "host to device"),), "run", "the numbers are wrong"
    ),
    "an output that is not copied": Mutation(
        (without("copy", "device to host"),), "run", "the numbers are wrong"
    ),
    "an answer that is the buffer": Mutation((uncopied("answer"),), "run", "an answer has changed"),
    "the host's buffers stay": Mutation((without("callback", "host"),), "run", "something is left"),
    "the device's buffers stay": Mutation(
        (without("callback", "device"),), "run", "something is left"
    ),
    "the context stays": Mutation((unlisted("_context"),), "run", "something is left"),
    "the stream stays": Mutation((without("callback", "_stream"),), "run", "something is left"),
    "the graph stays": Mutation((without("callback", "_graph"),), "graph", "something is left"),
    "a graph of the first run": Mutation(
        (without("run", "zeros_like"),),
        "graph",
        "a CUDA graph captured a context's first execution",
    ),
    "buffers for each run": Mutation(
        (preceded("self._cuda.device_memory(9).free()", "copyto"),), "run", "a run allocates"
    ),
    "no lock": Mutation((unlocked(),), "threads", ""),
}


class Changer(ast.NodeTransformer):
    """Apply a change to the nodes of a module, and count them."""

    def __init__(self, change: Change) -> None:
        self.change, self.count = change, 0

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        changed = self.change(node)
        self.count += changed is not None
        return node if changed is None else changed


def mutants(package: Path, changes: tuple[Change, ...]) -> dict[Path, str]:
    """Return the mutated text of the modules that changes concern; each fits one place."""
    trees = {
        file: ast.parse(file.read_text())
        for folder in ADAPTER
        for file in sorted((package / "r2p_edge" / folder).rglob("*.py"))
        if file.name != "part.py"  # the same calls for parts, which test_parts.py tries
    }
    concerned = {}
    for change in changes:
        counts = {}
        for file, tree in trees.items():
            changer = Changer(change)
            changer.visit(tree)
            counts[file] = changer.count
        assert sum(counts.values()) == 1, "the adapter has no longer one such place"
        concerned |= {file: trees[file] for file, count in counts.items() if count}
    return {
        file: ast.unparse(ast.fix_missing_locations(tree)) + "\n"
        for file, tree in concerned.items()
    }


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package in a folder of its own."""
    home = tmp_path_factory.mktemp("package")
    left_out = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(Path(r2p_edge.__file__).parent, home / "r2p_edge", ignore=left_out)
    # By content: a mutant may be as long as the original, and as old.
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    assert compileall.compile_dir(home, quiet=1, invalidation_mode=mode)
    return home


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the ONNX files that the checks use."""
    home = tmp_path_factory.mktemp("sources")
    for kind in ("fp32", "int8"):
        small(home / f"{kind}.onnx", kind)
    brightness_model(home / "level.onnx")
    brightness_model(home / "open.onnx", batch="n")
    return home


@pytest.fixture
def check(package, folder):
    """Run checks on the copy; return the exit code and the errors."""

    def check(*names):
        done = subprocess.run(
            [sys.executable, HELPERS / "tensorrt_check.py", folder, *names],
            env={
                **os.environ,
                "PYTHONPATH": f"{package}{os.pathsep}{STANDINS}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=package,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr

    return check


def test_without_a_mistake(check):
    code, errors = check(*dict.fromkeys(mutation.check for mutation in MUTATIONS.values()))
    # The int8 that it compares with was made for TensorRT, which a CPU without VNNI warns of.
    others = [line for line in errors.splitlines() if "was not made for this CPU" not in line]
    assert (code, others) == (0, [])


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_is_noticed(package, check, mistake):
    mutation = MUTATIONS[mistake]
    mutated = mutants(package, mutation.changes)
    originals = {file: file.read_text() for file in mutated}
    for file, text in mutated.items():
        file.write_text(text)
    try:
        code, errors = check(mutation.check)
    finally:
        for file, text in originals.items():
            file.write_text(text)
    assert "NameError" not in errors
    assert mutation.said in errors
    assert code != 0
