"""A token from a row of logits, by one uniform number."""

import secrets

import torch
from torch import Tensor
from torch.nn.functional import pad

from viva.base.seed import derive
from viva.infer.past import Past
from viva.infer.sampling import ORDER, PENALTIES, Sampling

PART = 512


def draw(logits: Tensor, sampling: Sampling, uniform: Tensor, past: Past | None = None) -> Tensor:
    """The next token of each row, [B], from logits [B, V] and uniform numbers [B] in [0, 1).

    Inverse transform sampling: the first token at which the cumulative probability exceeds the uniform number. A row's
    token depends on its own number alone, so that it is the same in any batch.
    """
    logits = logits.float()
    for filter in ORDER if sampling.temperature else PENALTIES:
        logits = filter.apply(sampling, logits, past)
    if sampling.temperature == 0:
        return logits.argmax(-1)
    return _at(logits.softmax(-1), uniform)


def _at(p: Tensor, uniform: Tensor) -> Tensor:
    """The first place of each row of p [B, V] at which the sum exceeds the share `uniform` of the whole, in fp64.

    Sums of parts of PART say in which part that is, so that one alone is looked at number by number.
    """
    parts = pad(p, (0, -p.shape[-1] % PART)).unflatten(-1, (-1, PART))
    sums = parts.sum(-1, dtype=torch.float64)
    ends = sums.cumsum(-1)
    sought = uniform[:, None] * ends[:, -1:]  # below the last end, since uniform is below 1
    part = torch.searchsorted(ends, sought, right=True).clamp_(max=ends.shape[-1] - 1)  # NaN is beyond all
    inside = parts.gather(1, part[..., None].expand(-1, -1, PART))[:, 0].double().cumsum(-1)
    # sums in another order may differ by a rounding: the last place with a probability is as far as it goes
    last = torch.searchsorted(inside, inside[:, -1:].contiguous())
    place = torch.searchsorted(inside, sought - (ends - sums).gather(1, part), right=True)
    return (part * PART + torch.minimum(place, last))[:, 0]


def uniforms(seed: int | None, rows: list[int], steps: int) -> Tensor:
    """The numbers [B, steps] that `rows` draw with: a stream of its own for each row, a function of seed and row."""
    seed = secrets.randbits(63) if seed is None else seed
    generator = torch.Generator()
    streams = (generator.manual_seed(derive(seed, "sample", row)) for row in rows)
    return torch.stack([torch.rand(steps, generator=stream, dtype=torch.float64) for stream in streams])
