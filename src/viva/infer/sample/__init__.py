"""Filters of the next token's distribution, one file each, named like the parameter it holds.

A filter is a `Config` with that one parameter and a function `apply(config, logits, past)`: logits [B, V] in fp32 to
logits [B, V], where `past` says what stands in the rows already (`infer/past.py`). A filter at its neutral value
changes nothing. The order in which they act is `infer/sampling.py:ORDER`.
"""
