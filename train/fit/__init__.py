"""Fitting a network: batches, targets, the loop, what a run leaves."""
