"""Training checkpoints further in PyTorch, on videos of one's own, for `export` to take again."""
