"""Engines of TensorRT for RTX, built ahead of time on any machine."""
