"""ONNX graphs: built, adapted, rewritten and checked against what a target can run."""
