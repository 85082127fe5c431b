"""A token from a row of logits, by one uniform number."""

import secrets

import torch
from torch import Tensor

from viva.base.seed import derive
from viva.infer.sample import repetition_penalty
from viva.infer.sampling import ORDER, Sampling


def draw(logits: Tensor, sampling: Sampling, uniform: Tensor, seen: Tensor | None = None) -> Tensor:
    """The next token of each row, [B], from logits [B, V] and uniform numbers [B] in [0, 1).

    Inverse transform sampling: the first token at which the cumulative probability exceeds the uniform number. A row's
    token depends on its own number alone, so that it is the same in any batch.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        return repetition_penalty.apply(sampling, logits, seen).argmax(-1)
    for filter in ORDER:
        logits = filter.apply(sampling, logits, seen)
    mass = logits.softmax(-1, dtype=torch.float64).cumsum(-1)
    # divided, the last is exactly 1, so that a number below 1 never falls on a token without probability
    return torch.searchsorted(mass / mass[:, -1:], uniform[:, None].contiguous(), right=True)[:, 0]


def uniforms(seed: int | None, rows: list[int], steps: int) -> Tensor:
    """The numbers [B, steps] that `rows` draw with: a stream of its own for each row, a function of seed and row."""
    seed = secrets.randbits(63) if seed is None else seed
    generator = torch.Generator()
    streams = (generator.manual_seed(derive(seed, "sample", row)) for row in rows)
    return torch.stack([torch.rand(steps, generator=stream, dtype=torch.float64) for stream in streams])
