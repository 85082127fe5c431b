"""The schedule of the first Transformer: Vaswani et al. 2017, eq. 3.

There lrate = d_model^-0.5 min(s^-0.5, s warmup^-1.5) with s counted from 1, whose peak is (d_model warmup)^-0.5 at
s = warmup. Divided by that peak, the factor is min((s / warmup)^-0.5, s / warmup), and the width is left to the rate.
"""

from pydantic import PositiveInt

from viva.base.config import Config as Base


class Config(Base):
    """`warmup`: steps of linear rise, after which the rate falls with the square root of the step."""

    warmup: PositiveInt = 4000

    def factor(self, step: int, steps: int) -> float:
        """1 at step `warmup - 1`; `steps` does not matter."""
        share = (step + 1) / self.warmup
        return min(share**-0.5, share)
