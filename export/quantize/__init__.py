"""From a float network to TFLite: the graph, the ranges, the rounding, the conversion."""
