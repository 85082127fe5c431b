"""Losses: pure functions that return sums, so that the loop can divide by one global count."""

IGNORE = -100  # a target that is not learned: the value torch.nn.functional.cross_entropy ignores by default
