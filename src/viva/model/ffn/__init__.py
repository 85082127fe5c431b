"""Feed-forward networks E -> F -> E, one file a variant: `Config.build(width)` gives a module [..., E] -> [..., E].

Each token is computed by itself. The last linear map is called `down`: its first weights are the smaller ones.
"""
