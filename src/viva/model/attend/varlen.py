"""Attention over packed rows by one kernel, each document as long as it is and where it lies (Dao 2023,
https://arxiv.org/abs/2307.08691). torch brings it for half precision on a GPU, of NVIDIA's from Ampere on.
"""

from functools import cache, lru_cache
from itertools import accumulate

import torch
from torch import Tensor

from viva.model.attend import Weighing
from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.document import Lengths
from viva.model.mask.window import Window

WIDEST = 256  # head, in numbers, of which there must be a multiple of 8


def suits(q: Tensor, mask: Mask, how: Weighing) -> bool:
    """Whether the kernel is here and computes what is asked for, but for the score, which `attend` asks."""
    if not (q.is_cuda and q.dtype in (torch.bfloat16, torch.float16) and _here(q.device)):
        return False
    biased = how.placed is not None and how.placed.scheme.biased
    return q.shape[-1] % 8 == 0 and q.shape[-1] <= WIDEST and not (biased or how.dropout) and _known(mask)


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Mask, documents: Lengths, others: Lengths, how: Weighing
) -> Tensor | None:
    """q [B, H, T, D], k and v [B, G, S, D] -> [B, H, T, D], each of the `documents` under `mask` to itself or to the
    one at its place among the `others`; None where the score is not a product.
    """
    fused = how.score.fused(q, k) if how.keep is None else None
    if fused is None:
        return None
    (q, k, scale), (B, T) = fused, (q.shape[0], q.shape[2])
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    (queries, longest), (keys, longest_key) = (_bounds(each, q.device) for each in (documents, others))
    causal = any(isinstance(part, Causal) for part in mask.parts)
    seen = min((part.width - 1 for part in mask.parts if isinstance(part, Window)), default=-1)
    out = kernel(q, k, v, queries, keys, longest, longest_key, causal, scale, seen)
    return out.unflatten(0, (B, T)).transpose(1, 2)


def kernel(
    q: Tensor, k: Tensor, v: Tensor, queries: Tensor, keys: Tensor, longest: int, longest_key: int,
    causal: bool, scale: float, seen: int,
) -> Tensor:  # fmt: skip
    """q [N, H, D], k and v [M, G, D] -> [N, H, D]; document i has the queries from `queries[i]` up to `queries[i + 1]`,
    and keys likewise. `seen`: how many keys before its own a query sees, -1 for all.
    """
    window = {} if seen < 0 else {"window_size_left": seen, "window_size_right": 0}
    flash = torch.ops.aten._flash_attention_forward
    return flash(q, k, v, queries, keys, longest, longest_key, 0.0, causal, False, scale=scale, **window)[0]


def _known(mask: Mask) -> bool:
    """Whether the kernel has a form of the mask; it has none of a window that looks forward too."""
    kinds = {type(part) for part in mask.parts}
    return kinds <= {Causal, Window} and (Window not in kinds or Causal in kinds)


@cache
def _here(device: torch.device) -> bool:
    return torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)


@lru_cache(maxsize=16)  # every layer of a pass asks for the same
def _bounds(documents: Lengths, device: torch.device) -> tuple[Tensor, int]:
    """Where the documents begin and the last one ends, all rows laid end to end, and the length of the longest."""
    lengths = [length for row in documents for length in row]
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device), max(lengths)
