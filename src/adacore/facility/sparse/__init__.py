"""Sparse rows: compared by products of sparse rows, never written out densely as a whole."""
