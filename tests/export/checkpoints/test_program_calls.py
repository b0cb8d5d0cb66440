"""Calls are read from the JSON of a program of `torch.export`."""

from __future__ import annotations

from typing import Any

from r2p_edge.export.checkpoints.calls import INPUT, Call, Calls
from r2p_edge.export.checkpoints.program_calls import program_calls


def tensor(name: str) -> dict[str, Any]:
    return {"as_tensor": {"name": name}}


def node(target: str, result: str, *given: str) -> dict[str, Any]:
    inputs = [{"name": "x", "arg": tensor(name)} for name in given]
    inputs.append({"name": "n", "arg": {"as_int": 3}})
    return {"target": f"torch.ops.aten.{target}", "inputs": inputs, "outputs": [tensor(result)]}


def program(*nodes: dict[str, Any], answers: tuple[str, ...] = ("c",)) -> dict[str, Any]:
    entries = [
        {"parameter": {"arg": {"name": "w"}, "parameter_name": "stem.0.weight"}},
        {"buffer": {"arg": {"name": "m"}, "buffer_name": "stem.1.running_mean"}},
        {"tensor_constant": {"arg": {"name": "k"}, "tensor_constant_name": "k"}},
        {"user_input": {"arg": tensor("x")}},
    ]
    graph = {"nodes": list(nodes), "outputs": [tensor(name) for name in answers]}
    return {"graph_module": {"graph": graph, "signature": {"input_specs": entries}}}


SIZES = {"target": "torch.ops.aten.sym_size.int", "inputs": [], "outputs": [{"as_sym_int": {}}]}


def test_layers_constants_and_sizes() -> None:
    found = program_calls(
        program(
            SIZES,
            node("mul.Tensor", "a", "x", "k"),
            node("t.default", "v", "w"),
            node("conv3d.default", "b", "a", "v"),
            node("relu_.default", "c", "b"),
        )
    )
    calls = Call("mul", (INPUT,)), Call("conv3d", (0,), "stem.0"), Call("relu", (1,))
    assert found == Calls(calls, 2)


def test_what_cannot_be_read() -> None:
    assert program_calls(program(node("relu.default", "c", "x"), answers=("c", "x"))) is None
    assert program_calls({"graph_module": []}) is None
    assert program_calls(program()) is None
