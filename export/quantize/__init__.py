"""Convert a float network to TFLite: graph, ranges, rounding, conversion."""
