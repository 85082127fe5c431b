"""Attention over packed rows: documents of like length are laid side by side, so that no score between two is computed.

Documents go into buckets by length, each padded on the right to the longest of its bucket. Under a causal mask padding
on the right is invisible to real queries, so a bucket is an ordinary dense call and the result is exact.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from viva.model.attend import dense
from viva.model.mask import Mask

SLACK = 1.25  # a bucket's longest document is at most this many times its shortest: wasted scores against kernel calls


@dataclass(frozen=True)
class Plan:
    """`into` [P]: the token that fills each slot of the buckets; `back` [N]: the slot of each token; `padding`: the
    other slots.

    N tokens in the batch, P >= N slots; a padding slot repeats token 0, and nothing reads what is computed there.
    """

    shapes: tuple[tuple[int, int], ...]  # (documents, padded length) of each bucket; P is the sum of their products
    into: Tensor
    back: Tensor
    padding: Tensor


@lru_cache(maxsize=8)  # every layer of a pass asks for the same plan
def plan(documents: tuple[tuple[int, ...], ...], device: torch.device) -> Plan:
    """The buckets for the documents of a batch, whose rows they fill one after another."""
    lengths = torch.tensor([length for row in documents for length in row])
    starts = lengths.cumsum(0) - lengths
    buckets: list[list[int]] = []
    order = lengths.argsort(descending=True, stable=True).tolist()
    for document in order:
        if not buckets or lengths[buckets[-1][0]] > SLACK * lengths[document]:
            buckets.append([])
        buckets[-1].append(document)
    into, back, filled = [], torch.empty(int(lengths.sum()), dtype=torch.long), 0
    for bucket in buckets:
        longest = int(lengths[bucket[0]])
        inside = torch.arange(longest)[None] < lengths[bucket][:, None]  # [documents, longest]
        token = torch.where(inside, starts[bucket][:, None] + torch.arange(longest), 0)
        back[token[inside]] = filled + inside.flatten().nonzero()[:, 0]
        into.append(token.flatten())
        filled += token.numel()
    shapes = tuple((len(bucket), int(lengths[bucket[0]])) for bucket in buckets)
    padding = torch.ones(filled, dtype=torch.bool).index_fill_(0, back, False).nonzero()[:, 0]
    return Plan(shapes, torch.cat(into).to(device), back.to(device), padding.to(device))


class _Spread(torch.autograd.Function):
    """Tokens [N, H, D] into bucket slots [P, H, D]. Padding slots carry no gradient, so that of a token is one row."""

    @staticmethod
    def forward(ctx, x: Tensor, plan: Plan) -> Tensor:
        ctx.plan = plan
        return x.index_select(0, plan.into)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad.index_select(0, ctx.plan.back), None


class _Collect(torch.autograd.Function):
    """Bucket slots [P, H, D] back to tokens [N, H, D]; what stands in padding slots is left behind."""

    @staticmethod
    def forward(ctx, x: Tensor, plan: Plan) -> Tensor:
        ctx.plan = plan
        return x.index_select(0, plan.back)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad.index_select(0, ctx.plan.into).index_fill_(0, ctx.plan.padding, 0), None


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, plan: Plan, dropout: float = 0.0) -> Tensor:
    """q [B, H, T, D], k and v [B, G, T, D], under `mask` inside each document -> [B, H, T, D]."""
    B, _, T, _ = q.shape
    q, k, v = (_Spread.apply(x.transpose(1, 2).flatten(0, 1), plan) for x in (q, k, v))
    sizes = [n * length for n, length in plan.shapes]
    out = []
    for (n, length), *bucket in zip(plan.shapes, *(x.split(sizes) for x in (q, k, v)), strict=True):
        rows = (x.view(n, length, *x.shape[1:]).transpose(1, 2) for x in bucket)
        places = torch.arange(length, device=q.device)[None]
        out.append(dense.attend(*rows, mask, places, True, dropout).transpose(1, 2).flatten(0, 1))
    return _Collect.apply(torch.cat(out), plan).unflatten(0, (B, T)).transpose(1, 2)
