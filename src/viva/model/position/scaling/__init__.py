"""Ways to stretch rotary frequencies beyond the length a model was trained on, one file a variant.

Each Config offers `by_length`, whether the angles depend on the length of the text at hand, and `angles(theta, D, end)`
-> (frequencies [D/2] in radians per position, factor on cos and sin), where `end` is that length.
The field names are those of the papers; `trained` is the length the frequencies were trained on, in tokens.
"""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(8)  # asked for in every pass, so in every token
def plain(theta: float, head_dim: int) -> Tensor:
    """The unscaled frequencies theta^(-2i/D), i = 0 .. D/2 - 1 (Su et al. 2021, eq. 15)."""
    return 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim)
