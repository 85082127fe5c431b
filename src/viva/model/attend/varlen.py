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

WIDEST = 192  # heads, in numbers, of which there are a multiple of 8: wider ones some GPUs cannot train


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Mask, documents: Lengths, others: Lengths, how: Weighing
) -> Tensor | None:
    """q [B, H, T, D], k and v [B, G, S, D] -> [B, H, T, D], each of the `documents` under `mask` to itself or to the
    one at its place among the `others`; None where the kernel is not here, or computes something else.
    """
    if not (q.is_cuda and _here(q.device) and computes(q.shape[-1], mask, how)):
        return None
    fused = how.score.fused(q, k)
    if fused is None:
        return None
    q, k, scale = fused
    if (half := half_of(q, k, v)) is None:
        return None
    return told(*(x.to(half) for x in (q, k, v)), scale, mask, documents, others)


def computes(D: int, mask: Mask, how: Weighing) -> bool:
    """Whether the kernel has heads of `D` numbers, this mask and these weights. It gives no weights to be read, drops
    none out here, adds nothing to scores, and has no window that looks forward too.
    """
    masks = {type(part) for part in mask.parts}
    plain = how.keep is None and not how.dropout and not (how.placed and how.placed.scheme.biased)
    return plain and D % 8 == 0 and D <= WIDEST and masks <= {Causal, Window} and masks != {Window}


def half_of(*tensors: Tensor) -> torch.dtype | None:
    """The half precision in which these are to be multiplied: that of autocast or, without it, their own."""
    device = tensors[0].device.type
    if torch.is_autocast_enabled(device):
        dtypes = {torch.get_autocast_dtype(device)}
    else:
        dtypes = {tensor.dtype for tensor in tensors}
    return dtypes.pop() if len(dtypes) == 1 and dtypes <= {torch.bfloat16, torch.float16} else None


def told(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Mask, documents: Lengths, others: Lengths) -> Tensor:
    """What `attend` gives, the kernel told of tokens laid end to end."""
    B, T = q.shape[0], q.shape[2]
    tokens = [x.transpose(1, 2).flatten(0, 1) for x in (q, k, v)]
    (queries, longest), (keys, longest_key) = (_bounds(each, q.device) for each in (documents, others))
    causal = any(isinstance(part, Causal) for part in mask.parts)
    seen = min((part.width - 1 for part in mask.parts if isinstance(part, Window)), default=-1)
    out = kernel(*tokens, queries, keys, longest, longest_key, causal, scale, seen)
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


@cache
def _here(device: torch.device) -> bool:
    built = torch.version.hip is None and torch.backends.cuda.is_flash_attention_available()
    return built and torch.cuda.get_device_capability(device) >= (8, 0)


@lru_cache(maxsize=16)  # every layer of a pass asks for the same
@torch.inference_mode(False)  # what a text was read with, one that is learned may be read with next
def _bounds(documents: Lengths, device: torch.device) -> tuple[Tensor, int]:
    """Where the documents begin and the last one ends, all rows laid end to end, and the length of the longest."""
    lengths = [length for row in documents for length in row]
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device), max(lengths)
