"""The algorithms of `learn/` in plain Python, to be read: slow, equal to the fast ones, called by tests alone."""
