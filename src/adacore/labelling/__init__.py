"""Choosing what to label, keep or look at."""
