"""`r2p-edge benchmark`: every runtime, precision and graph of this machine, in one table."""

from r2p_edge.benchmark.measure import benchmark
from r2p_edge.benchmark.tables import print_benchmark, write_benchmark

__all__ = ["benchmark", "print_benchmark", "write_benchmark"]
