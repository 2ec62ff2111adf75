"""Train a network: batches, targets, the loop, the result."""
