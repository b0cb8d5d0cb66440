"""Our code that uses TensorRT, as each version runs it, under a type checker that has its stub.

A name that not every version has is asked for with hasattr or getattr. What these answer is known
for a version: in its copy of the code the answers stand in their place, and what they rule out is
gone. Every name that is left must exist.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from paths import ROOT

PACKAGES = {"r2p_edge": ".", "export": "export", "calibration": "calibration"}

Sources = dict[str, str]
"""Text of modules by their path in the installed package."""

ANY = 'Expression has type "Any"'


class Probe(NamedTuple):
    """A question whether a thing has a name: hasattr(thing, name), getattr(thing, name, other)."""

    path: str
    number: int
    name: str


class Error(NamedTuple):
    """A message of mypy with its statement; columns count from 1."""

    path: str
    line: int
    column: int
    message: str
    statement: str

    def __str__(self) -> str:
        return f"{self.path}: {self.statement}: {self.message}"


def sources(*libraries: str) -> Sources:
    """Return the modules that import tensorrt, or one of other names."""
    wanted = set(libraries or ("tensorrt",))
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if any(_imported(node) & wanted for node in ast.walk(ast.parse(text))):
                found[str(Path("r2p_edge", package, path.relative_to(ROOT / folder)))] = text
    return found


def _imported(node: ast.AST) -> set[str]:
    """Return the libraries that an import gives, either TensorRT through its types as one."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [node.module or ""]
        if {"Library", "as_library"} & {alias.name for alias in node.names}:
            names = ["tensorrt"]
    return {name.split(".")[0] for name in names}


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


def _probes(tree: ast.AST) -> list[ast.Call]:
    """Return the calls of hasattr and getattr."""
    calls = [node for node in _in_order(tree) if isinstance(node, ast.Call)]
    found = [node for node in calls if getattr(node.func, "id", None) in ("hasattr", "getattr")]
    for node in found:
        if not isinstance(node.args[1], ast.Constant):
            raise ValueError(f"{ast.unparse(node)}: write the name out, so that it can be found")
    return found


class _Answers(ast.NodeTransformer):
    """Puts answers in the place of probes, and drops what is then never reached."""

    def __init__(self, answers: dict[ast.Call, bool]) -> None:
        self.answers = answers

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if node not in self.answers:
            return node
        thing, name, *other = node.args
        if not other:
            return ast.Constant(self.answers[node])
        return ast.Attribute(thing, name.value) if self.answers[node] else other[0]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        known = isinstance(node.op, ast.Not) and _is_known(node.operand)
        return ast.Constant(not node.operand.value) if known else node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        deciding = isinstance(node.op, ast.Or)
        values = [one for one in node.values if not _is_known(one) or one.value == deciding]
        known = [_is_known(one) for one in values]
        values = values[: known.index(True) + 1 if True in known else None]
        if len(values) > 1:
            return ast.BoolOp(node.op, values)
        return values[0] if values else ast.Constant(not deciding)

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        # The operand that decides an `and` or `or` comes last; those before it are kept.
        test = node.test.values[-1] if isinstance(node.test, ast.BoolOp) else node.test
        if not _is_known(test):
            return node
        before = [] if test is node.test else [ast.Expr(node.test)]
        return [*before, *(node.body if test.value else node.orelse)] or ast.Pass()

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if not _is_known(node.test):
            return node
        return node.body if node.test.value else node.orelse

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for part in ("body", "orelse"):
            statements = getattr(node, part, None)
            if isinstance(statements, list):
                leaves = [isinstance(one, (ast.Return, ast.Raise)) for one in statements]
                del statements[leaves.index(True) + 1 if True in leaves else len(leaves) :]
        return node


def _is_known(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _mentioned(trees: dict[str, ast.Module]) -> set[str]:
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def as_run(code: Sources, missing: set[Probe]) -> Sources:
    """Return the code as a version runs it that answers `missing` with no.

    Private functions that only other versions call are left out.
    """
    trees = {path: ast.parse(text) for path, text in code.items()}
    private = {name for name in _mentioned(trees) if name.startswith("_")}
    no = {(probe.path, probe.number) for probe in missing}
    for path, tree in trees.items():
        _Answers({one: (path, i) not in no for i, one in enumerate(_probes(tree))}).visit(tree)
    while gone := private - _mentioned(trees):
        private -= gone
        for tree in trees.values():
            tree.body = [one for one in tree.body if getattr(one, "name", None) not in gone]
    return {path: _unparse(tree) for path, tree in trees.items()}


def _unparse(tree: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(tree))


def _spread(text: str) -> str:
    """Return the code with each expression on a line: mypy says a thing only once of a line."""
    starts: set[tuple[int, int]] = set()
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.expr):
            starts.add((node.lineno, node.col_offset))
        if not isinstance(node, ast.JoinedStr):
            waiting += ast.iter_child_nodes(node)
    lines = text.encode().split(b"\n")
    for line, column in sorted(starts, reverse=True):
        before, after = lines[line - 1][:column], lines[line - 1][column:]
        if before.strip():
            lines[line - 1] = before + b"\\\n" + after
    return b"\n".join(lines).decode()


def missing_probes(code: Sources, stubs: Path, scratch: Path) -> set[Probe]:
    """Return the probes that a version answers with no.

    Raises:
        ValueError: nobody can know what a probe asks.
    """
    asked: dict[tuple[str, int, int], Probe] = {}
    uses = {}
    for path, text in code.items():
        tree = ast.parse(text)
        for probe in _probes(tree):
            probe.args[0] = ast.Attribute(probe.args[0], probe.args[1].value)
        uses[path] = _spread(_unparse(tree))
        for number, probe in enumerate(_probes(ast.parse(uses[path]))):
            thing = probe.args[0]
            place = (path, thing.lineno, thing.col_offset + 1)
            asked[place] = Probe(path, number, thing.attr)
    missing: set[Probe] = set()
    untyped: dict[Probe, Error] = {}
    for error in check(uses, stubs, scratch):
        probe = asked.get((error.path, error.line, error.column))
        if probe and f'has no attribute "{probe.name}"' in error.message:
            missing.add(probe)
        elif probe and error.message.startswith(ANY):
            untyped[probe] = error
    for probe in untyped.keys() - missing:
        raise ValueError(f"{probe.name} is asked of a thing of unknown type: {untyped[probe]}")
    return missing


def findings(code: Sources, names: set[str], stubs: Path, scratch: Path) -> list[str]:
    """Return the faults of code `as_run`.

    They are mypy's errors, and uses of TensorRT that mypy cannot check because it does not know
    their types; `names` are those that TensorRT has.
    """
    code = {path: _spread(text) for path, text in code.items()}
    uses = {(path, *place) for path, text in code.items() for place in _uses(text, names)}
    return [
        str(error)
        for error in check(code, stubs, scratch)
        if not re.match(r'Expression (has type|type contains) .*"Any"', error.message)
        or (error.message.startswith(ANY) and (error.path, error.line, error.column) in uses)
    ]


def _uses(text: str, names: set[str]) -> set[tuple[int, int]]:
    """Return lines and columns where uses of the names begin, and their arguments."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr in names:
            found.append(node)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in names:
            found += [*node.args, *(keyword.value for keyword in node.keywords)]
    return {(one.lineno, one.col_offset + 1) for one in found}


def check(code: Sources, stubs: Path, scratch: Path) -> list[Error]:
    """Return mypy's messages on modules, in a copy of the package, with the stub of a version."""
    copy = scratch / "package"
    shutil.rmtree(copy, ignore_errors=True)
    left_out = shutil.ignore_patterns("__pycache__", "assets", "*.so")
    shutil.copytree(ROOT / "r2p_edge", copy / "r2p_edge", ignore=left_out)
    for path, text in code.items():
        (copy / path).write_text(text)
    command = [
        *(sys.executable, "-m", "mypy", f"--config-file={ROOT / 'pyproject.toml'}"),
        *(f"--cache-dir={scratch / 'cache'}", "--follow-imports=silent", "--show-column-numbers"),
        *("--disallow-any-expr", *code),
    ]
    variables = {**os.environ, "MYPYPATH": str(stubs)}
    done = subprocess.run(command, cwd=copy, env=variables, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(r"^(\S+?):(\d+):(\d+): error: (.*)", done.stdout, re.MULTILINE)
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return [
        Error(path, int(line), int(column), message, _statement(copy / path, int(line)))
        for path, line, column, message in found
    ]


def _statement(path: Path, line: int) -> str:
    """Return the first line of the innermost statement there."""
    tree = ast.parse(path.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and node.lineno <= line]
    innermost = max(nodes, key=lambda node: (node.lineno, node.col_offset))
    return ast.unparse(innermost).splitlines()[0]
