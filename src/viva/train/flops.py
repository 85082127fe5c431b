"""The arithmetic of training, counted: what a share of the machine's peak is a share of."""

from viva.model.transformer import Transformer


def train_flops(model: Transformer, context: int) -> float:
    """Floating-point operations of matrix products for a token's forward and backward pass.

    A weight that multiplies costs 2 forward and 4 backward (Kaplan et al. 2020, section 2.1); the embedding is looked
    up, the head multiplies. Attention adds 12 H D a layer for each token seen, scores and values together; under a
    causal mask a token sees T / 2 others on average.
    """
    weights = sum(p.numel() for p in model.decoder.parameters() if p.ndim == 2) + model.head_weight.numel()
    blocks = (model.spec.decoder.block(layer).attention for layer in range(model.spec.decoder.layers))
    seen = sum(min(context / 2, a.window or context) * a.heads * a.head_dim for a in blocks)
    return 6 * weights + 12 * seen
