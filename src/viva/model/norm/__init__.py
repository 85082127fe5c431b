"""Normalisation over the width E, one file a variant: `Config.build(width)` gives a module [..., E] -> [..., E].

It has a `weight` [E], and at first removes the scale of each vector: norm(c x) = norm(x) for c > 0.
"""
