"""Layers of recurrent cells over documents, each on its own."""

from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.baseline.order import order
from viva.model.baseline.spec import Recurrence as Spec
from viva.model.layout import Layout
from viva.model.lstm import LSTM

CELLS = {"lstm": LSTM, "gru": nn.GRU, "rnn": nn.RNN}

# What the cells carry on: of each layer h [layers, N, E] and, of an LSTM, c [layers, N, E].
State = tuple[Tensor, ...]


class Recurrence(nn.Module):
    """x [B, T, E] -> states h [B, T, E] of the last layer, and the state in which each of the N documents ends.

    An LSTM's step is i, f, o = sigmoid(W x + U h + b), g = tanh(W x + U h + b), c' = f c + i g, h' = o tanh(c'). Both
    ways, each direction has states of E / 2, and theirs stand side by side.
    """

    def __init__(self, spec: Spec, width: int):
        super().__init__()
        self.directions = 2 if spec.both_ways else 1
        between = spec.dropout if spec.layers > 1 else 0.0
        side = width // self.directions
        self.cells = CELLS[spec.cell](width, side, spec.layers, dropout=between, bidirectional=spec.both_ways)

    def forward(self, x: Tensor, layout: Layout, state: State | None = None) -> tuple[Tensor, State]:
        """Documents begin in `state`, or in 0."""
        B, T, _ = x.shape
        way = order(layout, B, T, x.device)
        if state is not None and state[0].shape[1] != len(way.longest):
            found = f"{state[0].shape[1]} for {len(way.longest)} documents"
            raise Refusal("each document must have a state to begin in", found, "give a source for each")
        begin = state if state is None or isinstance(self.cells, nn.LSTM) else state[0]
        y, end = self.cells(way.apart(x), begin)
        end = end if isinstance(end, tuple) else (end,)
        return way.together(y, B, T), tuple(self._side_by_side(part) for part in end)

    def _side_by_side(self, h: Tensor) -> Tensor:
        """[layers * directions, N, E / directions] -> [layers, N, E]."""
        return h.unflatten(0, (-1, self.directions)).transpose(1, 2).flatten(2)
