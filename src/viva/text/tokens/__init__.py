"""Tokenizers: text to ids and back, in every form, learned, told apart, grown, with their chat templates."""
