"""The calls of a program of `torch.export`, from its JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from r2p_edge.export.checkpoints.calls import INPUT, Call, Calls

_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+?)_?(\.\w+)?")
_MOVES = ("t", "permute", "transpose", "view", "detach", "alias")  # of a weight


def program_calls(program: Mapping[str, Any]) -> Calls | None:
    """Return the calls of a program; None if it has several inputs or answers."""
    try:
        return _calls(program)
    except (ValueError, LookupError, TypeError, AttributeError):  # of another version
        return None


def _calls(program: Mapping[str, Any]) -> Calls | None:
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    layers: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for entry in signature["input_specs"]:
        ((kind, value),) = entry.items()
        if kind == "user_input":
            numbers[value["arg"]["as_tensor"]["name"]] = INPUT
        elif kind in ("parameter", "buffer"):
            layers[value["arg"]["name"]] = value[f"{kind}_name"].rpartition(".")[0]
    if len(numbers) != 1 or len(graph["outputs"]) != 1:
        return None
    calls: list[Call] = []
    for node in graph["nodes"]:
        results = [result["as_tensor"]["name"] for result in _tensors(node["outputs"])]
        if not results:  # sizes, and checks of them
            continue
        given = [each["as_tensor"]["name"] for each in _tensors(_arguments(node))]
        operator = _OPERATOR.fullmatch(node["target"])
        name = operator[1] if operator else node["target"]
        if name in _MOVES and given and given[0] in layers:
            layers[results[0]] = layers[given[0]]
            continue
        owners = [layers[each] for each in given if each in layers]
        inputs = tuple(numbers[each] for each in given if each in numbers)  # and no constants
        if not (owners or inputs):  # a constant, such as the places of an index
            continue
        numbers |= dict.fromkeys(results, len(calls))
        calls.append(Call(name, inputs, owners[0] if owners else ""))
    return Calls(tuple(calls), numbers[graph["outputs"][0]["as_tensor"]["name"]])


def _arguments(node: Mapping[str, Any]) -> Iterator[Any]:
    for each in node["inputs"]:
        argument = each["arg"]
        if "as_tensors" in argument:
            yield from ({"as_tensor": tensor} for tensor in argument["as_tensors"])
        else:
            yield argument


def _tensors(arguments: Any) -> list[Any]:
    return [each for each in arguments if "as_tensor" in each]
