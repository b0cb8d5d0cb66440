"""MindIR for the MindSpore framework."""
