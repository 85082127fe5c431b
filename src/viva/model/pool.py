"""One vector for each document of a batch."""

from typing import Literal

import torch
from torch import Tensor

from viva.model.layout import Layout

Pool = Literal["first", "last", "mean", "max"]


def pooled(hidden: Tensor, layout: Layout | None, pool: Pool) -> Tensor:
    """hidden [B, T, E] -> [N, E] for the N documents in their order, padding left out.

    "first" is BERT's CLS token, "last" what a decoder has read all by.
    """
    layout = layout or Layout.one_document(hidden.shape[1], device=hidden.device)
    starts, counts = (x.to(hidden.device) for x in layout.spans(*hidden.shape[:2]))
    flat = hidden.flatten(0, 1)
    if pool == "first":
        return flat[starts]
    if pool == "last":
        return flat[starts + counts - 1]
    within = torch.arange(int(counts.sum()), device=hidden.device)
    tokens = flat[within + (starts - (counts.cumsum(0) - counts)).repeat_interleave(counts)]
    document = torch.arange(len(counts), device=hidden.device).repeat_interleave(counts)
    if pool == "mean":
        return flat.new_zeros(len(counts), flat.shape[1]).index_add(0, document, tokens) / counts[:, None].to(
            flat.dtype
        )
    index = document[:, None].expand_as(tokens)
    return flat.new_zeros(len(counts), flat.shape[1]).scatter_reduce(0, index, tokens, "amax", include_self=False)
