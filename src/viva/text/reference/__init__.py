"""The algorithms of `text/learn` in plain Python, to be read: slow, equal to the fast ones, called by tests alone."""
