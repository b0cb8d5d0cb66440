"""The formats that a model can be exported to."""
