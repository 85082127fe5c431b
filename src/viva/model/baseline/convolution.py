"""A convolution over the words of a text (Kim 2014, https://arxiv.org/abs/1408.5882)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from viva.model.baseline.spec import Convolution as Spec
from viva.model.layout import Layout
from viva.model.linear.dense import Linear


class Convolution(nn.Module):
    """x [B, T, E] -> [B, T, E]: at each token the features relu(w x_{i:i+h-1} + b) of the windows around it (eq. 2).

    Kim's windows lie inside the text; here each token has one, and beyond its document's ends stand zeros, so that a
    token can be tagged as well. Where the largest over a document is taken, that is his max over time (eq. 3).
    """

    def __init__(self, spec: Spec, width: int):
        super().__init__()
        self.windows = spec.windows
        filters = width // len(spec.windows)
        self.filters = nn.ModuleList(Linear(window * width, filters) for window in spec.windows)

    def forward(self, x: Tensor, layout: Layout) -> tuple[Tensor, None]:
        seen = {offset: near(x, layout.positions, offset) for window in self.windows for offset in around(window)}
        found = [
            filters(torch.cat([seen[offset] for offset in around(window)], -1))
            for window, filters in zip(self.windows, self.filters, strict=True)
        ]
        return torch.cat(found, -1).relu(), None


def around(window: int) -> range:
    """The places of a window's tokens, seen from the one it is at.

    >>> list(around(3)), list(around(4))
    ([-1, 0, 1], [-1, 0, 1, 2])
    """
    return range(-((window - 1) // 2), window // 2 + 1)


def near(x: Tensor, positions: Tensor, offset: int) -> Tensor:
    """x [B, T, E] shifted so that at each token stands the one `offset` behind it, 0 outside its document."""
    shifted = lambda y, fill: pad(y, (0, 0, max(-offset, 0), max(offset, 0)), value=fill)  # noqa: E731
    kept = slice(max(offset, 0), max(offset, 0) + x.shape[1])
    there = shifted(positions[..., None], -1)[:, kept]
    # positions begin anew in each document, so only inside one do two differ by their distance
    return torch.where(there == positions[..., None] + offset, shifted(x, 0.0)[:, kept], 0.0)
