"""The algorithms of `text/learn` in plain Python, to be read: slow, and equal to the fast ones. Nothing else calls them."""
