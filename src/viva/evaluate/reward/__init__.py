"""What a reward model is worth, before it may be used: measured on pairs that it has not learned from."""
