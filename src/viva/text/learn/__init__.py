"""Algorithms that learn a tokenizer from text, one file each."""
