"""Virtual tokens: P places before each document, held by no token of it and scored by no head (Lester et al. 2021; Li
and Liang 2021). What stands there is trained; a model with them reads P tokens fewer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.base.seed import derive
from viva.model.adapt import Change
from viva.model.cache import Cache
from viva.model.ffn.moe import MoE
from viva.model.layout import Layout
from viva.model.seats import Seats, seats


class Text(NamedTuple):
    """What a stack reads: vectors x [B, T, E] with their layout, segments and cache; `seats` where virtual tokens stand
    among them.
    """

    x: Tensor
    layout: Layout
    segments: Tensor | None = None
    cache: Cache | None = None
    seats: Seats | None = None

    def own(self, states: Tensor) -> Tensor:
        """The states of the text alone."""
        return states if self.seats is None else self.seats.collect(states)


class Virtual(Change):
    """What stands before each document that one stack of a model reads: the first, or with `last` the last one."""

    last = False

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def ahead_of(self, text: Text) -> Text:
        """The text behind the virtual tokens."""
        raise NotImplementedError

    def _seated(self, text: Text) -> Text:
        """The text with room for them: each holds its document's first token."""
        at = seats(text.layout, *text.x.shape[:2], self.count)
        segments = text.segments if text.segments is None else at.spread(text.segments)
        return Text(at.spread(text.x), at.layout, segments, text.cache, at)


def attach(model: nn.Module, virtual: Virtual) -> None:
    """Let it stand before what the model reads."""
    model.adapter = virtual.to(model.embedding.weight.device)
    model.spec = model.spec.model_copy(update={"context": model.spec.context - virtual.count})


def require_text(model: nn.Module, count: int) -> None:
    """Refuse a model before whose texts `count` virtual tokens cannot stand."""
    must, fix = "a model must read whole texts by blocks for virtual tokens to stand before them", "use lora"
    if not model.stacks or model.spec.vocab is None or model.recalls:
        found = "one that reads segments" if model.recalls else "one without blocks" if not model.stacks else "images"
        raise Refusal(must, found, fix)
    if any(stack.over_batch for stack in model.stacks):
        must = "norms must norm each vector by itself for virtual tokens to stand before texts"
        raise Refusal(must, "norms over the batch", fix)
    if len(model.stacks) > 1 and any(isinstance(module, MoE) for module in model.modules()):
        must = "it must be known which rows experts have read for virtual tokens to be left out of their balance"
        raise Refusal(must, "experts in a model with an encoder and a decoder", fix)
    if count >= model.spec.context:
        found = f"{count} beside a context of {model.spec.context}"
        raise Refusal("virtual tokens must leave room for a text", found, "set adapter.length lower")


def require_keys(stack: nn.Module) -> None:
    """Refuse a stack of which some layer has no keys and values to stand before the text's."""
    odd = [
        block for block in stack.spec.of_layers if block.attention is None or kind(block.attention.score) == "linear"
    ]
    if odd:
        found = "linear attention, which sums them up" if odd[0].attention else "one without self-attention"
        raise Refusal("each layer must keep keys and values for a prefix to stand there", found, "use prompt, or lora")


@torch.no_grad()
def sampled(model: nn.Module, count: int, seed: int) -> Tensor:
    """[count]: ids of the vocabulary, each once before any comes again."""
    generator = torch.Generator().manual_seed(derive(seed, "adapter", "vocabulary"))
    vocab = model.spec.vocab
    rounds = -(-count // vocab)
    return torch.cat([torch.randperm(vocab, generator=generator) for _ in range(rounds)])[:count]


def spelled(text: str, encode: Callable[[str], list[int]] | None, count: int) -> Tensor:
    """[count]: the ids of a text, over again until there are enough; refused: one of more, and where none encodes."""
    if encode is None:
        found, fix = "no tokenizer", "give attach(..., encode=tokenizer.encode)"
        raise Refusal("virtual tokens that begin as a text must be told its tokens", found, fix)
    ids = encode(text)
    if not 0 < len(ids) <= count:
        fix = f"set adapter.length to {len(ids)}" if ids else "write something, or leave adapter.text out"
        raise Refusal(f"a text must have 1 to {count} tokens for so many virtual ones to begin as it", len(ids), fix)
    return torch.tensor((ids * count)[:count])


@contextmanager
def drawn(seed: int) -> Iterator[None]:
    """Inside, torch's modules draw their starting weights by `seed`, and what is drawn elsewhere stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "adapter", "virtual"))
        yield
