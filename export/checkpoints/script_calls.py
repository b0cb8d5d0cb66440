"""The calls of a TorchScript network, from the source that its archive has.

The source is a subset of Python. It is parsed and followed with results that stand for tensors, and
never executed; what cannot be followed, such as a loop, makes the whole unknown. Layers of
`torch.nn` are calls by themselves. Source: pytorch/pytorch,
torch/csrc/jit/serialization/python_print.cpp, 2.13.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from r2p_edge.export.checkpoints.calls import INPUT, Call, Calls
from r2p_edge.export.checkpoints.inert_pickle import Instance
from r2p_edge.export.checkpoints.state_dicts import is_module
from r2p_edge.export.checkpoints.torch_pickle import TensorView

_LAYER = re.compile(r"__torch__\.torch\.nn\.modules\.(?!container\.)[\w.]+\.(\w+)")
_OPERATORS = re.compile(r"(torch|ops|__torch__\.torch\.nn\.functional)\.|\w+$")
_HOOKS = re.compile(r"^  __forward_(pre_)?hooks__ = \[[^\]]", re.MULTILINE)
_NESTING = 100  # brackets in each other
_SOURCE = 200_000  # characters of a class's source
_CALLS = 20_000
_STEPS = 100_000  # expressions that are followed
_DEPTH = 64  # modules in each other
_CASTS = ("annotate", "unchecked_cast")  # of their second argument
_OF_NUMBERS = frozenset(
    ("size", "dim", "len", "numel", "NumToTensor", "Int", "Float", "Bool", "ScalarImplicit", "eq",
     "ne", "lt", "le", "gt", "ge", "__is__", "__isnot__", "__not__", "format", "warn")
)  # fmt: skip


class _UnknownCodeError(Exception):
    """Code that cannot be followed."""


@dataclass(frozen=True)
class _Tensor:
    number: int


class _Weight(NamedTuple):
    layer: str


class _Module(NamedTuple):
    name: str
    instance: Instance


class _Name(NamedTuple):
    """A name of an operator or function, with dots."""

    path: str


def script_calls(module: Instance, source: Callable[[Any], str]) -> Calls | None:
    """Return the calls of a module of TorchScript's; None if its code cannot be followed.

    Args:
        module: as it was pickled.
        source: returns the source of a class, as `TorchContent.source` does.
    """
    try:
        run = _Run(source)
        answer = run.method(_Module("", module), "forward", [_Tensor(INPUT)], 0)
    except (_UnknownCodeError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return Calls(tuple(run.calls), answer.number) if isinstance(answer, _Tensor) else None


class _Run:
    def __init__(self, source: Callable[[Any], str]) -> None:
        self.calls: list[Call] = []
        self._source, self._steps = source, 0
        self._parsed: dict[Any, dict[str, ast.FunctionDef]] = {}

    def method(self, module: _Module, name: str, arguments: list[Any], depth: int) -> Any:
        """Return what a method of a module returns."""
        called = module.instance.called
        layer = _LAYER.fullmatch(re.sub(r"\.___torch_mangle_\d+", "", str(called)))
        if layer is not None and re.fullmatch(r"forward\d*", name):
            return self._call(layer[1], arguments, module.name)
        function = self._methods(called).get(name)
        if function is None or depth == _DEPTH:
            raise _UnknownCodeError
        names = [argument.arg for argument in function.args.args]
        if len(names) != 1 + len(arguments):
            raise _UnknownCodeError
        known = dict(zip(names, [module, *arguments], strict=True))
        return self._block(function.body, known, depth)

    def _methods(self, called: Any) -> dict[str, ast.FunctionDef]:
        if called not in self._parsed:
            text = self._source(called)
            opened = deepest = 0
            for bracket in re.findall(r"[()\[\]]", text):
                opened += 1 if bracket in "([" else -1
                deepest = max(deepest, opened)
            if not text or len(text) > _SOURCE or deepest > _NESTING or _HOOKS.search(text):
                raise _UnknownCodeError
            (parsed,) = ast.parse(f"class Parsed:\n{text}").body
            assert isinstance(parsed, ast.ClassDef)
            own = [part for part in parsed.body if isinstance(part, ast.FunctionDef)]
            self._parsed[called] = {function.name: function for function in own}
        return self._parsed[called]

    def _block(self, body: list[ast.stmt], known: dict[str, Any], depth: int) -> Any:
        """Follow statements to the one that returns."""
        for statement in body:
            match statement:
                case ast.Return(value=ast.expr() as value):
                    return self._value(value, known, depth)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    known[name] = self._value(value, known, depth)
                case ast.Expr(value=value):
                    self._value(value, known, depth)
                case ast.If(test=test, body=then, orelse=otherwise):
                    chosen = self._value(test, known, depth)
                    if type(chosen) is not bool:
                        raise _UnknownCodeError
                    branch = then if chosen else otherwise
                    if any(isinstance(part, ast.Return) for part in branch):
                        return self._block(branch, known, depth)
                    self._block(branch, known, depth)
                case ast.Pass():
                    pass
                case _:
                    raise _UnknownCodeError
        return None

    def _value(self, node: ast.expr, known: dict[str, Any], depth: int) -> Any:
        """Return the value of an expression; None for numbers and the like."""
        self._steps += 1
        if self._steps > _STEPS:
            raise _UnknownCodeError

        def values(nodes: list[ast.expr]) -> list[Any]:
            return [self._value(each, known, depth) for each in nodes]

        match node:
            case ast.Constant(value=value):
                return value if isinstance(value, (bool, str)) else None
            case ast.Name(id=name):
                return known.get(name, _Name(name))
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return values(elements)
            case ast.Attribute(value=inner, attr=name):
                return self._attribute(self._value(inner, known, depth), name)
            case ast.Call(
                func=ast.Name(id="getattr"), args=[inner, ast.Constant(value=str() as name)]
            ):
                return self._attribute(self._value(inner, known, depth), name)
            case ast.Call(func=ast.Attribute(value=inner, attr=name), args=arguments) if isinstance(
                module := self._value(inner, known, depth), _Module
            ):
                return self.method(module, name, values(arguments), depth + 1)
            case ast.Call(func=function, args=arguments):
                called = self._value(function, known, depth)
                if not isinstance(called, _Name) or not _OPERATORS.match(called.path):
                    raise _UnknownCodeError
                name = called.path.rpartition(".")[2]
                if name in _CASTS:
                    return self._value(arguments[-1], known, depth)
                given = values(arguments) + values([each.value for each in node.keywords])
                if name in _OF_NUMBERS:
                    return None
                return self._call(name if name.endswith("__") else name.removesuffix("_"), given)
            case _:
                parts = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr)]
                if any(isinstance(each, (_Tensor, list)) for each in values(parts)):
                    raise _UnknownCodeError
                return None

    def _attribute(self, owner: Any, name: str) -> Any:
        if isinstance(owner, _Name):
            return _Name(f"{owner.path}.{name}")
        if not isinstance(owner, _Module):
            raise _UnknownCodeError
        value = owner.instance.state.get(name)
        if is_module(value):
            return _Module(f"{owner.name}.{name}" if owner.name else name, value)
        if isinstance(value, TensorView):
            return _Weight(owner.name)
        return value if isinstance(value, bool) else None

    def _call(self, operator: str, arguments: list[Any], layer: str = "") -> Any:
        """Add a call of an operator, and return its result; None if it takes no tensor."""
        given = [
            each
            for argument in arguments
            for each in (argument if isinstance(argument, list) else [argument])
        ]
        if any(isinstance(each, (_Module, list)) for each in given):
            raise _UnknownCodeError
        inputs = tuple(each.number for each in given if isinstance(each, _Tensor))
        layers = [each.layer for each in given if isinstance(each, _Weight)]
        if not inputs:
            return None
        if len(self.calls) == _CALLS:
            raise _UnknownCodeError
        self.calls.append(Call(operator, inputs, layer or (layers[0] if layers else "")))
        return _Tensor(len(self.calls) - 1)
