"""Attention over packed rows: documents of like length are laid side by side, so that no score between two is computed.

Documents go into buckets by length, each padded on the right to the longest of its bucket. Under a causal mask padding
on the right is invisible to real queries; elsewhere it is masked. A bucket is an ordinary dense call and the result is
exact. Buckets are for where there is no kernel that takes documents of any lengths (`varlen`).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from viva.model.attend import Weighing, dense, varlen
from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.document import Lengths
from viva.model.mask.padding import Padding

SLACK = 1.25  # a bucket's longest document is at most this many times its shortest: wasted scores against kernel calls


@dataclass(frozen=True)
class Side:
    """`into` [P]: the token that fills each slot of the buckets; `back` [N]: the slot of each token; `padding`: the
    other slots.

    N tokens in the batch, P >= N slots; a padding slot repeats token 0, and nothing reads what is computed there.
    """

    into: Tensor
    back: Tensor
    padding: Tensor


@dataclass(frozen=True)
class Bucket:
    """So many documents of at most T queries and S keys; `lengths` of their keys where they differ, else None."""

    documents: int
    T: int
    S: int
    lengths: tuple[int, ...] | None


@dataclass(frozen=True)
class Plan:
    """The buckets, and where the tokens of the queries' rows and of the keys' rows lie in them."""

    buckets: tuple[Bucket, ...]
    queries: Side
    keys: Side


@lru_cache(maxsize=8)  # every layer of a pass asks for the same plan
def plan(documents: Lengths, others: Lengths | None, device: torch.device) -> Plan:
    """The buckets for documents that fill the rows of a batch one after another, each of which sees itself or, where
    `others` are given, the one at its place among those.
    """
    T = torch.tensor([length for row in documents for length in row])
    S = T if others is None else torch.tensor([length for row in others for length in row])
    buckets: list[list[int]] = []
    for document in S.argsort(descending=True, stable=True).tolist():
        if not buckets or S[buckets[-1][0]] > SLACK * S[document]:
            buckets.append([])
        buckets[-1].append(document)
    queries = _side(T, buckets, device)
    made = []
    for bucket in buckets:
        lengths = tuple(S[bucket].tolist())
        made.append(Bucket(len(bucket), int(T[bucket].max()), lengths[0], lengths if len(set(lengths)) > 1 else None))
    return Plan(tuple(made), queries, queries if others is None else _side(S, buckets, device))


def _side(lengths: Tensor, buckets: list[list[int]], device: torch.device) -> Side:
    starts = lengths.cumsum(0) - lengths
    into, back, filled = [], torch.empty(int(lengths.sum()), dtype=torch.long), 0
    for bucket in buckets:
        slots = torch.arange(int(lengths[bucket].max()))
        inside = slots[None] < lengths[bucket][:, None]  # [documents, longest]
        token = torch.where(inside, starts[bucket][:, None] + slots, 0)
        back[token[inside]] = filled + inside.flatten().nonzero()[:, 0]
        into.append(token.flatten())
        filled += token.numel()
    padding = torch.ones(filled, dtype=torch.bool).index_fill_(0, back, False).nonzero()[:, 0]
    return Side(torch.cat(into).to(device), back.to(device), padding.to(device))


class _Spread(torch.autograd.Function):
    """Tokens [N, H, D] into bucket slots [P, H, D]. Padding slots carry no gradient, so that of a token is one row."""

    @staticmethod
    def forward(ctx, x: Tensor, side: Side) -> Tensor:
        ctx.side = side
        return x.index_select(0, side.into)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad.index_select(0, ctx.side.back), None


class _Collect(torch.autograd.Function):
    """Bucket slots [P, H, D] back to tokens [N, H, D]; what stands in padding slots is left behind."""

    @staticmethod
    def forward(ctx, x: Tensor, side: Side) -> Tensor:
        ctx.side = side
        return x.index_select(0, side.back)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad.index_select(0, ctx.side.into).index_fill_(0, ctx.side.padding, 0), None


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Mask, documents: Lengths, others: Lengths | None, how: Weighing
) -> Tensor:
    """q [B, H, T, D], k and v [B, G, S, D] -> [B, H, T, D]; each of the `documents` that fill the rows of queries sees,
    under `mask`, itself or, where `others` are given, the one at its place among those.
    """
    out = varlen.attend(q, k, v, mask, documents, others or documents, how)
    return _in_buckets(q, k, v, mask, plan(documents, others, q.device), how) if out is None else out


def _in_buckets(q: Tensor, k: Tensor, v: Tensor, mask: Mask, plan: Plan, how: Weighing) -> Tensor:
    B, _, T, _ = q.shape
    spread = ((q, plan.queries), (k, plan.keys), (v, plan.keys))
    q, k, v = (_Spread.apply(x.transpose(1, 2).flatten(0, 1), side) for x, side in spread)
    sizes = [[b.documents * b.T for b in plan.buckets], *[[b.documents * b.S for b in plan.buckets]] * 2]
    out = []
    for bucket, *parts in zip(plan.buckets, *(x.split(n) for x, n in zip((q, k, v), sizes, strict=True)), strict=True):
        rows = (x.unflatten(0, (bucket.documents, -1)).transpose(1, 2) for x in parts)
        sight = mask if bucket.lengths is None or Causal() in mask.parts else mask & Padding(bucket.lengths)
        places = torch.arange(bucket.T, device=q.device)[None]
        aligned = bucket.T == bucket.S
        out.append(dense.attend(*rows, sight, places, aligned, how).transpose(1, 2).flatten(0, 1))
    return _Collect.apply(torch.cat(out), plan.queries).unflatten(0, (B, T)).transpose(1, 2)
