"""Attention of a recurrent decoder to the encoder's states (Luong et al. 2015, https://arxiv.org/abs/1508.04025)."""

import torch
from torch import Tensor, nn

from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.model.attend import Weighing, across
from viva.model.cache import Cache
from viva.model.flow import Memory
from viva.model.layout import Layout
from viva.model.linear.dense import Linear

NAME = "cross"  # of the weights, where they are read


class Read(nn.Module):
    """h' = tanh(W_c [c; h]) (eq. 5), with c the encoder's states weighed by their score with h (eq. 7).

    Scores are those of Luong's section 3.1, `dot` and `bilinear` (his "general"), and `additive` (Bahdanau et al. 2015,
    appendix A.1.2), which has W and U before it. They all read from the state of the same step, after the decoder has
    run over all its inputs at once. Bahdanau reads from the state before and feeds c into the step, and Luong may feed
    h' into the next: that would take a loop over the steps, many times slower in training.
    """

    def __init__(self, score: Config, width: int):
        super().__init__()
        additive = kind(score) == "additive"
        self.q = Linear(width, width, bias=False) if additive else None
        self.k = Linear(width, width, bias=False) if additive else None
        self.score = score.build(width, 1)
        self.out = Linear(2 * width, width, bias=False)

    def forward(
        self,
        h: Tensor,
        layout: Layout,
        memory: Memory | None,
        cache: Cache | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """h [B, T, E] -> [B, T, E]; `weights` takes those of attention, [B, 1, T, S]."""
        if memory is None:
            fix = "give what the encoder read: model.encode(ids), or source= in generate"
            raise Refusal("attention must have a memory to attend to", "none", fix)
        keep = cache.across if cache is not None else {}
        if 0 not in keep:
            s = memory.states
            keep[0] = (s if self.k is None else self.k(s))[:, None], s[:, None]
        q = h if self.q is None else self.q(h)
        how = Weighing(self.score, keep=weights, name=NAME)
        c = across.attend(q[:, None], *keep[0], layout, memory.layout, how)[:, 0]
        return self.out(torch.cat((c, h), -1)).tanh()
