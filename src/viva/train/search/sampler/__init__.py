"""How the settings of the next trial are chosen, one way a file: `Config.build(plan, seed)` gives a sampler of Optuna.

A new one is built for each trial, with a seed of its own, so that a search that was killed goes on as if it was not.
"""
