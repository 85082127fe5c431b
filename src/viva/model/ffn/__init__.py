"""Position-wise feed-forward networks E -> F -> E, one file a variant."""
