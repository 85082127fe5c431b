"""How a model knows order, one file a variant.

A scheme acts in one of two places, which its Config names in `acts_on`: it adds a vector to each embedding
("embeddings": learned, sinusoidal) or it turns queries and keys inside attention ("attention": rope).
"""
