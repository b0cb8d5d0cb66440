"""R(2+1)D networks of checkpoints as PyTorch modules, to train further and to export again."""
