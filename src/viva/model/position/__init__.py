"""How a model knows order, one file a variant.

A scheme acts in one of two places, which its Config names in `acts_on`: it adds a vector to each embedding
("embeddings": learned, sinusoidal) or it turns queries and keys inside attention ("attention": rope).
`Config.build(width, context)` gives a module, or None for a scheme that does nothing: on embeddings module(layout) is a
tensor [B, T, E]; on attention `module.table(layout)` is made once a pass, and module(q, k, table) turns q and k.
"""
