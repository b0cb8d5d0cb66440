"""Definitions of the `tensorrt` that Python finds here, as names or as a stub for type checkers.

tensorrt_wheels.py runs it as a program, beside a real module. The types are those that pybind11
writes into the docstrings; what has none there is `Any`.
"""

from __future__ import annotations

import ast
import builtins
import ctypes
import json
import re
import sys
import types
from collections.abc import Iterator

import tensorrt

# mypy would say of the others that a type is not defined.
HEADER = """\
# mypy: disable-error-code="assignment, misc, overload-cannot-match, override, type-arg"
import builtins, collections.abc, numpy, typing, typing_extensions
from typing import Any, Callable, ClassVar, Iterable, Iterator, List, Tuple, overload
buffer: typing_extensions.TypeAlias = typing_extensions.Buffer
capsule: typing_extensions.TypeAlias = object
handle: typing_extensions.TypeAlias = object
__version__: str
"""

SPECIAL = re.compile("__(init|len|getitem|setitem|iter|int|index)__")

# pybind11 says so of what it takes; what it gives to a class that Python derives is an int.
CONVERTED = {"typing.SupportsInt": "int", "typing.SupportsFloat": "float"}


def public(thing: object) -> list[str]:
    return sorted(name for name in dir(thing) if not name.startswith("_"))


def classes(thing: object) -> dict[str, type]:
    found = {name: getattr(thing, name) for name in public(thing)}
    return {name: cls for name, cls in found.items() if isinstance(cls, type)}


def nested(cls: type) -> dict[str, type]:
    found = classes(cls).items()
    return {name: one for name, one in found if one.__qualname__ == f"{cls.__qualname__}.{name}"}


def is_enumeration(cls: type) -> bool:
    return hasattr(cls, "__members__")


def can_be_made(cls: type) -> bool:
    """Return whether Python can make one; of the others TensorRT hands out pointers."""
    return not isinstance(cls.__init__, types.WrapperDescriptorType)


def is_buffer(cls: type) -> bool:
    """Return whether bytes() and memoryview() take one; before Python 3.12 no attribute says so."""
    tp_as_buffer = 20  # words into CPython's PyTypeObject
    return bool((ctypes.c_void_p * (tp_as_buffer + 1)).from_address(id(cls))[tp_as_buffer])


def others() -> list[str]:
    """Return the names in the module that are not classes."""
    apart = (type, types.ModuleType)
    return [name for name in public(tensorrt) if not isinstance(getattr(tensorrt, name), apart)]


def names() -> dict[str, list[str] | dict[str, int]]:
    """Return an enumeration as {name: value}, another class as its public members, inherited
    ones too, with `__init__` where Python can make one; under "" what the module has beside them.
    """

    def members(cls: type) -> list[str] | dict[str, int]:
        if is_enumeration(cls):
            return {name: int(value) for name, value in cls.__members__.items()}
        return ["__init__"] * can_be_made(cls) + public(cls)

    found: dict[str, list[str] | dict[str, int]] = {"": ["__version__", *others()]}
    for name, cls in classes(tensorrt).items():
        found[name] = members(cls)
        found.update((f"{name}.{inner}", members(one)) for inner, one in nested(cls).items())
    return found


class StubTypes(ast.NodeTransformer):
    """Gives the types of a signature the names that they have in the stub."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        path = ast.unparse(node)
        if path.startswith(("typing", "collections.", "numpy.")):
            return ast.Name(CONVERTED.get(path, path))
        # The module is left out, and C++'s namespaces, which stand for classes not yet known then.
        name = re.sub(r"^([a-z]\w*\.)+", "", path)
        known = hasattr(tensorrt, name.split(".")[0])
        return ast.Name(name if known else name.removeprefix("I"))

    def visit_Name(self, node: ast.Name) -> ast.expr:
        hidden = hasattr(builtins, node.id) and hasattr(tensorrt, node.id)
        return ast.Name(f"builtins.{node.id}") if hidden else node


def signatures(doc: str | None) -> Iterator[ast.FunctionDef]:
    """Return the signatures in a docstring of pybind11: one, or one for each overload."""
    for line in (doc or "").splitlines():
        found = re.match(r"(?:\d+\. )?(\w*)(\(.*\) -> .*)", line)
        if found is None or found[2].startswith("(*args"):
            continue
        # Defaults are printed as they print: <Severity.WARNING: 2>.
        text = re.sub(r"= <[^>]*>", "= ...", found[2]).replace("::", ".")
        try:
            (function,) = ast.parse(f"def {found[1] or '_'}{text}: ...").body
        except SyntaxError:  # argument names that Python reserves, for one
            continue
        for argument in function.args.args:
            if argument.arg == "self":
                argument.annotation = None
        yield StubTypes().visit(function)


def result(function: ast.FunctionDef) -> str:
    """Return the type of a result; a pointer may be None, which signatures do not say."""
    text = ast.unparse(function.returns)
    cls = getattr(tensorrt, text, None)
    is_pointer = isinstance(cls, type) and not can_be_made(cls)
    return f"{text} | Any" if is_pointer else text


def stub_of_method(name: str, doc: str | None) -> Iterator[str]:
    found = [one for one in signatures(doc) if one.name == name]
    for function in found:
        if len(found) > 1:
            yield "@overload"
        arguments = ast.unparse(function.args)
        yield f"def {name}({arguments}) -> {result(function)}: ..."
    if not found:
        yield f"{name}: Any"


def stub_of_property(name: str, member: property) -> Iterator[str]:
    getters = list(signatures(member.fget.__doc__ if member.fget else None))
    kind = result(getters[0]) if getters else "Any"
    if member.fset:
        yield f"{name}: {kind}"
    else:
        yield "@property"
        yield f"def {name}(self) -> {kind}: ..."


def stub_of_class(name: str, cls: type) -> Iterator[str]:
    bases = [base.__name__ for base in cls.__bases__ if hasattr(tensorrt, base.__name__)]
    yield f"class {name}({', '.join(bases)}):"
    if is_buffer(cls):
        yield "    def __buffer__(self, flags: int, /) -> memoryview: ..."
    for member, thing in vars(cls).items():
        if member == "__init__" and not can_be_made(cls):
            lines = ["def __init__(self, cannot_be_made: typing.NoReturn) -> None: ..."]
        elif member.startswith("_") and not SPECIAL.fullmatch(member):
            continue
        elif isinstance(thing, type):
            lines = stub_of_class(member, thing)
        elif isinstance(thing, property):
            lines = stub_of_property(member, thing)
        elif callable(thing):
            lines = stub_of_method(member, thing.__doc__)
        else:
            lines = [f"{member}: ClassVar[{type(thing).__qualname__}]"]
        yield from (f"    {line}" for line in lines)
    yield "    ..."


def stub() -> Iterator[str]:
    yield HEADER
    for name, cls in classes(tensorrt).items():
        yield from stub_of_class(name, cls)
    for name in others():
        thing = getattr(tensorrt, name)
        kind = type(thing).__name__
        is_ours = hasattr(tensorrt, kind)
        yield from [f"{name}: {kind}"] if is_ours else stub_of_method(name, thing.__doc__)


if __name__ == "__main__":
    print(json.dumps(names()) if sys.argv[1] == "names" else "\n".join(stub()))
