"""Linear maps: one, and several of one input."""
