"""Algorithms that learn a tokenizer from text, one file each: a `Config` that is a `Learner` (`_learner.py`)."""
