"""Guesses of the next tokens, which the model reads behind those it knows (speculative decoding): where it then draws
what was guessed, one step has written several tokens.

Each token is drawn from the model's own scores by its own uniform number, whatever was guessed. So a reply is to the
token the one it would be without guesses, and its distribution is the model's; a bad guess costs time alone.

A way to guess is a module with a `Config`, whose `build(target, load)` gives a `Drafter` (`_drafter.py`) for a model of
the Spec `target`; `load` reads the model in a folder, where one is needed.
"""
