"""How a decoder reads on behind what it has read, rows side by side: on a cache of keys and values, or by segments."""

import math

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from viva.base.errors import Refusal
from viva.model.flow import Memory
from viva.model.layout import Layout
from viva.model.mask.prefix import Prefix
from viva.model.recall import Recall
from viva.model.transformer import Transformer


class Cached:
    """On a cache, within the model's context. With `prefix` the first tokens see each other both ways (Raffel et al.
    2020, section 3.2.1), and all later ones see them.
    """

    def __init__(self, model: Transformer, memory: Memory | None, prefix: bool):
        self.model, self.memory, self.prefix = model, memory, prefix

    def first(self, prompts: list[Tensor], capacity: int) -> Tensor:
        """Read all prompts at once, the shorter ones padded on the right, with room for `capacity` tokens a row; the
        states [B, E] of their last tokens.
        """
        lengths = tuple(map(len, prompts))
        self.cache = self.model.cache(len(prompts), capacity)
        padded = pad_sequence(prompts, batch_first=True)
        mask = Prefix(lengths) if self.prefix else None
        layout = Layout.packed(tuple((n,) for n in lengths), max(lengths), padded.device, mask)
        states = self._hidden(padded, layout if self.prefix or any(layout.padding) else None)
        return states[torch.arange(len(lengths)), torch.tensor(lengths, device=padded.device) - 1]

    def next(self, ids: Tensor) -> Tensor:
        """Read one more token of each row, [B, 1]; the states [B, E]."""
        return self._hidden(ids)[:, -1]

    def take(self, rows: list[int]) -> None:
        """Keep these rows alone, in this order; rows[i] is i, or one from behind the len(rows) that remain."""
        self.cache.take(rows)
        self.memory = self.memory and self.memory.take(rows)

    def pick(self, rows: list[int]) -> None:
        """Make rows[i] the new row i, for any rows, repeated ones too."""
        self.cache.pick(rows)
        self.memory = self.memory and self.memory.take(rows)

    def _hidden(self, ids: Tensor, layout: Layout | None = None) -> Tensor:
        return self.model.hidden(ids, layout, cache=self.cache, memory=self.memory)


class Recalled:
    """By segments of the model's context at most, each with what is recalled of those before (Dai et al. 2019, section
    3.2): any number of tokens. Rows are of one length.
    """

    def __init__(self, model: Transformer, memory: Memory | None):
        self.model, self.memory, self.recall = model, memory, Recall(model.spec.decoder.recall)

    def first(self, prompts: list[Tensor], capacity: int) -> Tensor:
        if len(found := sorted({len(prompt) for prompt in prompts})) > 1:
            fix = "read those of each length on their own"
            raise Refusal("prompts that are read by segments together must be of one length", found, fix)
        for segment in torch.stack(prompts).split(self.model.spec.context, 1):
            states = self.next(segment)
        return states

    def next(self, ids: Tensor) -> Tensor:
        return self.model.hidden(ids, memory=self.memory, recall=self.recall)[:, -1]

    def pick(self, rows: list[int]) -> None:
        self.recall.pick(rows)
        self.memory = self.memory and self.memory.take(rows)

    take = pick


def reader(model: Transformer, memory: Memory | None, prefix: bool) -> Cached | Recalled:
    """The one for `model`; reading the prompt both ways is refused where a model could not have learned it."""
    if prefix and (memory is not None or model.recalls):
        found = "an encoder and a decoder" if memory is not None else "a decoder that recalls segments"
        raise Refusal("a model must read its prompt at once to read it both ways", found, "leave prefix out")
    return Recalled(model, memory) if model.recalls else Cached(model, memory, prefix)


def reach(model: Transformer) -> float:
    """How many tokens of a row a model with a decoder can read."""
    return math.inf if model.recalls else model.spec.context
