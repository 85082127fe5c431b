"""Recurrent and convolutional models, to compare the Transformer with: they train, save and generate as it does."""
