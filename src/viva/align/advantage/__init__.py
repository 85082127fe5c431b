"""How much better than expected each token of a reply was, one estimate a file.

`Config.of(rewards, penalty, mask)`: rewards [P, n] of n replies to each of P prompts; `penalty` [P, n, T], what each
token costs beside, and `mask` [P, n, T], which tokens there are, both 0 behind a reply's end. Gives [P, n, T], 0 there
too. `Config.least`: how many replies to a prompt it needs.
"""

from typing import ClassVar

from torch import Tensor

from viva.base.config import Config

EPS = 1e-4  # beside a standard deviation, so that equal rewards divide 0 by something


class Base(Config):
    """The base of each file's Config."""

    least: ClassVar[int] = 2

    def of(self, rewards: Tensor, penalty: Tensor, mask: Tensor) -> Tensor:
        """The advantage of each token."""
        raise NotImplementedError
