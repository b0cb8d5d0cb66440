"""The protocol's requests and answers: what is read, what is refused, and with which words."""

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r2p_edge.serve.protocol import (
    InputTensor,
    OutputTensor,
    ProtocolError,
    WantedOutput,
    answer_body,
    array_of,
    best_classes,
    bytes_of,
    parse_request,
)

LONGEST = 10_000


def parse(head, data=b"", length=...):
    body = head if isinstance(head, bytes) else json.dumps(head).encode()
    if length is ...:
        length = str(len(body)) if data else None
    return parse_request(body + data, length, LONGEST)


def tensor(name="x", shape=(2,), datatype="UINT8", **more):
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


def test_a_request_with_numbers_in_the_json():
    request = parse({"id": "7", "inputs": [tensor(data=[1, 2])]})
    assert request.id == "7"
    assert request.outputs is None
    assert not request.binary
    assert array_of(request.inputs["x"], "UINT8").tolist() == [1, 2]


def test_tensors_share_the_bytes_after_the_json():
    head = {
        "inputs": [
            tensor("a", (2, 2), parameters={"binary_data_size": 4}),
            tensor("b", (1,), "BYTES", parameters={"binary_data_size": 7}),
        ],
        "outputs": [{"name": "y", "parameters": {"classification": 3, "binary_data": True}}],
        "parameters": {"binary_data_output": False},
    }
    request = parse(head, b"\x01\x02\x03\x04" + struct.pack("<I", 3) + b"abc")
    assert array_of(request.inputs["a"], "UINT8").tolist() == [[1, 2], [3, 4]]
    assert bytes(bytes_of(request.inputs["b"])) == b"abc"
    assert request.outputs == [WantedOutput("y", True, 3)]


def test_binary_output_is_a_default_that_an_output_can_change():
    outputs = [{"name": "y"}, {"name": "z", "parameters": {"binary_data": False}}]
    head = {"inputs": [], "outputs": outputs, "parameters": {"binary_data_output": True}}
    request = parse(head)
    assert [each.binary for each in request.outputs] == [True, False]
    assert request.binary


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 9_000, "nested too deep"),
        (b'{"inputs": ' + b"9" * 5_000 + b"}", "is not JSON"),
        (b"[]", r"the request is \[\]; it must be a JSON object"),
        ({}, "inputs is None"),
        ({"inputs": {}}, r"inputs is \{\}"),
        ({"inputs": [1]}, "an input is 1"),
        ({"inputs": [{}]}, "the name of an input is None"),
        ({"inputs": [tensor()]}, "neither data nor binary_data_size"),
        ({"inputs": [tensor(data=1)]}, "neither data nor binary_data_size"),
        ({"inputs": [tensor(data=[1, 2]), tensor(data=[1, 2])]}, "stands twice"),
        ({"inputs": [tensor(data=[]) for _ in range(17)]}, "a few tensors"),
        ({"inputs": [tensor(shape=[2.0], data=[])]}, r"a size of input 'x' is 2\.0"),
        ({"inputs": [tensor(shape=[True], data=[])]}, "a size of input 'x' is True"),
        ({"inputs": [tensor(shape=[-1], data=[])]}, "a size of input 'x' is -1"),
        ({"inputs": [tensor(shape=[1] * 9, data=[])]}, "a few sizes"),
        ({"inputs": [{**tensor(data=[]), "shape": "2"}]}, "the shape of input 'x' is '2'"),
        ({"inputs": [tensor(datatype=3, data=[])]}, "the datatype of input 'x' is 3"),
        ({"inputs": [tensor(parameters=[])]}, "parameters of input 'x' is"),
        ({"inputs": [tensor(parameters={"binary_data_size": "4"})]}, "binary_data_size of"),
        ({"inputs": [tensor(parameters={"binary_data_size": 1 << 70})]}, "binary_data_size of"),
        ({"inputs": [tensor(parameters={"binary_data_size": 9})]}, "of which 0 came"),
        ({"inputs": [tensor(parameters={"shared_memory_region": "r"})]}, "shared memory"),
        ({"inputs": [], "id": 3}, "id is 3"),
        ({"inputs": [], "parameters": 3}, "parameters of the request is 3"),
        ({"inputs": [], "parameters": {"binary_data_output": 1}}, "binary_data_output of"),
        ({"inputs": [], "outputs": 3}, "outputs is 3"),
        ({"inputs": [], "outputs": [{"name": "y"}, {"name": "y"}]}, "asked for twice"),
        ({"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "is -1"),
        (
            {"inputs": [], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
            "binary_data of output 'y' is 1",
        ),
        (
            {"inputs": [], "outputs": [{"name": "y", "parameters": {"shared_memory_region": ""}}]},
            "shared memory",
        ),
        (json.dumps({"inputs": [], "x": "y" * LONGEST}).encode(), "may have 10000"),
    ],
)
def test_what_is_refused(head, message):
    with pytest.raises(ProtocolError, match=message):
        parse(head)


@pytest.mark.parametrize("length", ["", "-1", "1e3", "²", "9" * 30, "1000"])
def test_lengths_that_are_none(length):
    with pytest.raises(ProtocolError, match="Inference-Header-Content-Length"):
        parse({"inputs": []}, length=length)


def test_bytes_that_no_tensor_has():
    with pytest.raises(ProtocolError, match="3 bytes are left"):
        parse({"inputs": []}, b"abc")


@pytest.mark.parametrize(
    ("data", "shape", "message"),
    [
        ([1, 2, 3], (2,), "3 values"),
        ([[1], [2, 3]], (3,), "no array of numbers"),
        ([1.0, 2.0], (2,), "of the kind float64"),
        ([True, False], (2,), "of the kind bool"),
        (["1", "2"], (2,), "of the kind"),
        ([None, {}], (2,), "of the kind object"),
        ([], (0,), "0 values"),
        ([0, 256], (2,), "beyond 0 to 255"),
        ([-1, 0], (2,), "beyond 0 to 255"),
        ([10**30, 0], (2,), "of the kind object"),
        (memoryview(b"abc"), (2,), "has 3 bytes and the shape"),
    ],
)
def test_tensors_that_do_not_fit(data, shape, message):
    with pytest.raises(ProtocolError, match=message):
        array_of(InputTensor("x", shape, "UINT8", data), "UINT8")


def test_numbers_with_fractions():
    tensor = InputTensor("x", (2,), "FP32", [0.5, -20])
    assert array_of(tensor, "FP32").tolist() == [0.5, -20]
    packed = InputTensor("x", (2,), "FP32", memoryview(struct.pack("<2f", 0.5, -20)))
    assert array_of(packed, "FP32").tolist() == [0.5, -20]
    with pytest.raises(ProtocolError, match="it must be FP32"):
        array_of(InputTensor("x", (2,), "UINT8", [1, 2]), "FP32")
    with pytest.raises(ProtocolError, match="they must be 2 numbers"):
        array_of(InputTensor("x", (2,), "FP32", ["a", "b"]), "FP32")


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "message"),
    [
        (memoryview(b""), (1,), "BYTES", "must begin with the number"),
        (memoryview(b"\x05\x00\x00\x00abc"), (1,), "BYTES", "must begin with the number"),
        (memoryview(b"\x03\x00\x00\x00abc"), (2,), "BYTES", "one video at a time"),
        (memoryview(b"\x03\x00\x00\x00abc"), (1,), "UINT8", "must be BYTES"),
        (["abc"], (1,), "BYTES", "send its bytes by the binary extension"),
    ],
)
def test_bytes_that_do_not_fit(data, shape, datatype, message):
    with pytest.raises(ProtocolError, match=message):
        bytes_of(InputTensor("v", shape, datatype, data))


def test_an_answer_in_json_and_in_bytes():
    values = np.array([[1.5, -2.0]], np.float32)
    texts = np.array([["1.5:0:é"]], np.object_)
    body, length = answer_body({"id": "7"}, [OutputTensor("y", values)])
    assert length is None
    assert json.loads(body) == {
        "id": "7",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]}],
    }
    outputs = [OutputTensor("y", values, True), OutputTensor("t", texts, True)]
    body, length = answer_body({}, outputs)
    sizes = [
        each["parameters"]["binary_data_size"] for each in json.loads(body[:length])["outputs"]
    ]
    word = "1.5:0:é".encode()
    assert sizes == [8, 4 + len(word)]
    assert body[length:] == struct.pack("<2f", 1.5, -2) + struct.pack("<I", len(word)) + word


def test_best_classes_keep_the_order_of_equal_ones():
    values = np.array([[0.25, 0.5, 0.25]], np.float32)
    assert best_classes(values, ["a", "b:c", "d"], 2).tolist() == [
        ["0.500000:1:b:c", "0.250000:0:a"]
    ]
    assert best_classes(values, ["a", "b:c", "d"], 9).shape == (1, 3)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


# Texts of all of Unicode are slow to draw on a machine that does other things too.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(st.dictionaries(st.sampled_from(["inputs", "outputs", "parameters", "id"]), JSON_VALUES))
def test_any_json_is_read_or_refused(head):
    try:
        request = parse(head)
    except ProtocolError:
        return
    for each in request.inputs.values():
        with contextlib.suppress(ProtocolError):
            array_of(each, "UINT8")


@unhurried
@given(st.binary(max_size=60), st.none() | st.text(max_size=5))
def test_any_bytes_are_read_or_refused(body, length):
    with contextlib.suppress(ProtocolError):
        parse(body, length=length)
