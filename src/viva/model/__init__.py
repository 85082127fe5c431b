"""One Transformer, and the data that says which one: specs, families, positions, norms, feed-forwards, masks,
caches.
"""
