"""The state of recurrent cells kept between passes: of one size, however much was read."""

import torch
from torch import Tensor

from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model.baseline.recurrence import State
from viva.model.cache import Across, require_left_to_right, taken


class Kept:
    """What model/cache.py's `Contiguous` is to a Transformer. `state` is None until something was read; `across` has
    the encoder's keys and values.
    """

    ragged = False

    def __init__(self, spec: Config):
        require_left_to_right(spec)
        self.held: int | Tensor = 0
        self.state: State | None = None
        self.across: Across = {}

    @property
    def rows(self) -> int | None:
        return None if self.state is None else self.state[0].shape[1]

    def advance(self, T: int | Tensor) -> None:
        """Count T more tokens in every row, or T[b] in row b."""
        self.held = self.held + T

    def keep(self, held: int | Tensor) -> None:
        """Forget nothing: only what was read whole can be gone on from."""
        if bool((torch.as_tensor(held) != self.held).any()):
            fix = "give the rows' lengths with them, as a layout"
            raise Refusal("a recurrent model must keep what it has read", "tokens to be forgotten", fix)

    def pick(self, rows: list[int]) -> None:
        """Make rows[i] the new row i, for any rows, repeated ones too."""
        self.state = self.state and tuple(part[:, rows] for part in self.state)
        self.across = taken(self.across, rows)
        if not isinstance(self.held, int):
            self.held = self.held[rows]

    take = pick
