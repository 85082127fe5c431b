"""Rows: where they come from, what they mean, which are left out."""
