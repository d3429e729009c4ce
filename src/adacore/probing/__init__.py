"""Probing: a model and a data set go in, what a selector may ask for about every example comes out."""
