"""Filters of the next token's distribution, one file each, named like the parameter it holds.

A filter is a `Config` with that one parameter and a function `apply(config, logits, seen)`: logits [B, V] in fp32 to
logits [B, V], where `seen` [B, V] says which tokens stand in a row already. A filter at its neutral value changes
nothing. The order in which they act is `infer/sampling.py:ORDER`.
"""
