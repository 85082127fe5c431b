"""A smaller model guesses (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192; Chen et al. 2023).

There a guess is kept with probability min(1, p / q), p the model's and q the small one's. Here both draw by the same
uniform number, so that they agree the more the more alike they are, and a reply is the same with guesses and without;
at temperature 0 the two ways are one.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import torch
from pydantic import Field

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.infer.engine.blocks import Blocks
from viva.infer.engine.draft._drafter import Drafter, Load
from viva.infer.engine.paged import Pool
from viva.infer.engine.pick import Drawing, pick
from viva.infer.engine.read import Reader
from viva.infer.engine.request import Request
from viva.infer.engine.schedule import Limits, Work, hold
from viva.infer.engine.served import require_served
from viva.model.spec import Spec
from viva.model.transformer import Transformer


class Config(BaseConfig):
    """The model of a folder, with the same tokens as the one that it guesses for."""

    model: str = Field(description="a run, a folder or a hub id")
    length: int = Field(4, ge=1, le=64, description="guess so many tokens at a time")

    def build(self, target: Spec, load: Load) -> "Small":
        return Small(load(self.model), target, self.length)


class Small(Drafter):
    """It keeps what it has read of each request in blocks of its own; no guess is made where there is no room in them,
    or more of a text to read first than a step may.
    """

    def __init__(self, model: Transformer, target: Spec, length: int):
        require_served(model)
        if model.spec.vocab != target.vocab:
            found = f"{model.spec.vocab} tokens beside {target.vocab}"
            raise Refusal("a model that guesses must have the tokens of the other one", found, "take one of its family")
        self.model, self.length = model, length
        self._read: dict[Request, Request] = {}  # what this model has read of each

    def open(self, blocks: int, size: int, limits: Limits) -> None:
        # guesses reach further than what is known
        self.blocks = Blocks(blocks + limits.rows * -(-self.length // size), size)
        weight = self.model.embedding.weight
        self.reader = Reader(Pool(self.model.spec, self.blocks, weight.dtype, weight.device))
        self.limits = limits

    def guess(self, writing: Sequence[tuple[Request, Drawing]]) -> list[list[int]]:
        drawings = {self._caught_up(request): _free(drawing) for request, drawing in writing}
        known = {own: len(own.tokens) for own in drawings}
        open_ = list(drawings)
        for _ in range(self.length):
            open_ = self._longer(open_, drawings)
        return [own.tokens[known[own] :] for own in drawings]

    def forget(self, request: Request) -> None:
        if own := self._read.pop(request, None):
            own.release(self.blocks)

    def _caught_up(self, request: Request) -> Request:
        """What this model has read of a request, without guesses that came to nothing."""
        if (own := self._read.get(request)) is None:
            own = self._read[request] = Request(request.number, request.prompt, request.limit)
            own.tokens = list(request.tokens)
            own.resume(self.blocks)
        agreed = len(own.prompt) + _alike(own.tokens, request.tokens)
        own.tokens = list(request.tokens)
        own.computed_to(min(own.computed, agreed), self.blocks)
        return own

    def _longer(self, open_: list[Request], drawings: dict[Request, Drawing]) -> list[Request]:
        """Guess a token of each that has been read whole; these."""
        work = self._work(open_)
        logits = self.reader.read(self.model, work) if work else {}
        for each in work:
            each.request.computed += each.tokens  # and no block is named: the tokens in it may come to nothing
        if not logits:
            return []
        mine, made = [drawings[own] for own in logits], [len(own.tokens) for own in logits]
        taken = pick(torch.cat(list(logits.values())), mine, made)
        for own, picked in zip(logits, taken, strict=True):
            own.tokens += [] if picked is None else [picked.token]
        return [own for own, picked in zip(logits, taken, strict=True) if picked is not None]

    def _work(self, open_: list[Request]) -> list[Work]:
        """Reading for those of whose guess there is use, and room for it in this model, its blocks and a step."""
        room, found = self.limits.tokens, []
        for own in open_:
            left = own.known - own.computed
            work = Work(own, min(left, room), int(left <= room))
            useful = len(own.tokens) < own.limit - 1 and own.known <= self.model.spec.context
            if useful and work.tokens and hold(self.blocks, own, work):
                found.append(work)
                room -= work.tokens
        return found


def _alike(one: list[int], other: list[int]) -> int:
    """How many tokens two lists begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _free(drawing: Drawing) -> Drawing:
    """To draw guesses with: they are told to nobody, and change nothing in the drawing of a reply."""
    past = drawing.past and drawing.past.of_rows([0])
    return replace(drawing, asked=drawing.asked.model_copy(update={"logprobs": None}), past=past, grammar=None)
