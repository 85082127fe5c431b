"""Which trials are given up before their end, one rule a file: `Config.build()` gives a pruner of Optuna, or None."""
