"""Exit codes of the command line."""

OTHER, USAGE, DATA, MODEL, BACKEND, KIT = 1, 2, 3, 4, 5, 6
