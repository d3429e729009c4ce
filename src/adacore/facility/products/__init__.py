"""Exact greedy facility location in many dimensions, by blocked products of matrices, on a CPU or a GPU."""
