"""Trained models as files: checkpoints of every framework, read into named arrays."""
