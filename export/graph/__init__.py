"""ONNX graphs: building, adapting, rewriting, and checking against the limits of a target."""
