"""Linear maps: the product itself, one map, several maps of one input."""
