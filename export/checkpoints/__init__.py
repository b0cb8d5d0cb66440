"""Readers of checkpoints of every framework, which return arrays by name."""
