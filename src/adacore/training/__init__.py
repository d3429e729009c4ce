"""Training on coresets: when to select anew, what that costs, and the batches of every epoch."""
