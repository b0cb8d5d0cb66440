"""The text format, as protobuf itself reads it."""

import pytest
from requirements import needs

from r2p_edge.serve_export.text_format import Enum, protobuf_text


def test_fields_of_every_kind():
    message = {
        "name": 'a "b" \\ c',
        "count": 3,
        "share": 0.5,
        "on": True,
        "kind": Enum("KIND_CPU"),
        "dims": [1, -1],
        "inner": [{"x": 1}, {"x": 2}],
        "none": [],
    }
    assert protobuf_text(message) == (
        'name: "a \\"b\\" \\\\ c"\ncount: 3\nshare: 0.5\non: true\nkind: KIND_CPU\n'
        "dims: 1\ndims: -1\ninner {\n  x: 1\n}\ninner {\n  x: 2\n}\n"
    )


@pytest.mark.slow
@needs("tritonclient")
def test_protobuf_reads_every_letter():
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    name = "".join(map(chr, [*range(1, 256), 0x20AC, 0x1F600])) + "0123"
    text = protobuf_text({"name": name})
    assert text.isascii()
    assert text_format.Parse(text, model_config_pb2.ModelConfig()).name == name
