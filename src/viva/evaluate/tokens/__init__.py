"""Tokenizers side by side on the same texts: how many tokens, of what kind, how fast, by language and by script."""
