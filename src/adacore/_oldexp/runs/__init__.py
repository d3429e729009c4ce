"""Runs: settings, models, optimizers, the run folder, and training that can be killed and resumed."""
