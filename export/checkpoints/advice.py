"""The way out for a network that weights alone do not describe."""

ADVICE = (
    "give an ONNX file of the network, or its code: r2p-edge export --module FILE:FACTORY "
    "--weights CHECKPOINT --trust-code (in Python: onnx_from_torch)"
)
"""Ending of an error about a network that is none of the families'."""
