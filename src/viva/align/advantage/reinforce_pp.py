"""What is still to come, normalised over all tokens of the round (REINFORCE++, Hu 2025,
https://arxiv.org/abs/2501.03262, section 3).
"""

from typing import ClassVar

from torch import Tensor

from viva.align.advantage import EPS, Base


class Config(Base):
    """No fields. The reward comes with the last token, the penalty k_s with each: G_t = r - sum_{s >= t} k_s, and
    A_t = (G_t - mean) / std over the tokens of all replies. One reply a prompt is enough.

    Of one reply of two tokens with r = 1 and k = 0.1, 0.2, and another of one token with r = 0 and k = 0: G = 0.7, 0.8
    and 0, mean 0.5, std 0.4359, A = 0.4588, 0.6882, -1.1471.
    """

    least: ClassVar[int] = 1

    def of(self, rewards: Tensor, penalty: Tensor, mask: Tensor) -> Tensor:
        to_come = penalty.flip(-1).cumsum(-1).flip(-1)
        gains = rewards[..., None] - to_come
        there = gains[mask.bool()]
        spread = there.std() if len(there) > 1 else there.new_zeros(())
        return (gains - there.mean()) / (spread + EPS) * mask
