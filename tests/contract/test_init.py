"""Starting weights: their spread is the one that the papers give."""

import pytest

from viva.model.arch import llama
from viva.model.init import initialise
from viva.model.linear.joined import pieces
from viva.model.transformer import Transformer


def test_what_writes_into_the_residual_stream_is_scaled_by_its_depth():
    """N(0, 0.02^2), and 0.02 / sqrt(2 * 8 layers) = 0.005 for the last map of attention and feed-forward."""
    config = llama.Config(vocab=64, width=128, layers=8, heads=4, hidden=256, context=16)
    for name, weight in pieces(initialise(Transformer(config.spec()))).items():
        if weight.ndim == 2:
            expected = 0.005 if name.endswith(("attention.out.weight", "ffn.down.weight")) else 0.02
            assert weight.std().item() == pytest.approx(expected, rel=0.05), name
