"""The per-frame form of a model: its parts, and the state of each camera."""
