"""The loop: plan a step, read it, take the next tokens, tell what became of it."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.base.product import rowwise
from viva.infer import decode
from viva.infer.engine.asked import Asked
from viva.infer.engine.blocks import Blocks
from viva.infer.engine.paged import Pool, Reading
from viva.infer.engine.pick import Drawing, Picked, pick
from viva.infer.engine.request import Request
from viva.infer.engine.schedule import Limits, State, Work, plan
from viva.infer.stop import Guard
from viva.infer.use import require_one_sequence, require_writer
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Delta:
    """What a step made of a request: a token, the text that became certain by it, and at the end why it ended.

    `error` is the sentence of a request that failed; the others go on.
    """

    number: int
    text: str
    picked: Picked | None = None
    finish: Finish | None = None
    error: str | None = None


class _Writer:
    """The text of a reply as it becomes certain."""

    def __init__(self, tokenizer: Tokenizer | None, stop: tuple[str, ...]):
        self.stream, self.guard = tokenizer and tokenizer.stream(), Guard(stop)

    def push(self, token: int) -> str:
        return self.guard.push(self.stream.push(token)) if self.stream else ""

    def end(self) -> str:
        return self.guard.push(self.stream.end()) + self.guard.end() if self.stream else ""


@dataclass(eq=False)
class _Going:
    """What an engine knows of a request beside its place in the cache."""

    request: Request
    drawing: Drawing
    writer: _Writer


class Core:
    """Requests to one model, or to several adapters of it, a step at a time; whoever calls `step` does the work.

    `models`: by the name of the adapter, "" without one. `blocks` of `size` tokens are the room for keys and values.
    The reply to a request does not depend on those beside it: on a CPU in fp32 to the bit (`model/attend/alike.py`,
    `base/product.py`).
    """

    def __init__(
        self,
        models: dict[str, Transformer],
        tokenizer: Tokenizer | None,
        blocks: int,
        size: int = 16,
        limits: Limits = Limits(),  # noqa: B008
    ):
        for model in models.values():
            require_served(model)
        self.models, self.tokenizer, self.limits = models, tokenizer, limits
        weight = models[""].embedding.weight
        self.state = State(Blocks(blocks, size))
        self.pool = Pool(models[""].spec, self.state.blocks, weight.dtype, weight.device)
        self._going: dict[int, _Going] = {}
        self._number = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._going

    def add(self, prompt: list[int], asked: Asked, model: str = "", stops: frozenset[int] | None = None) -> list[int]:
        """Take a request in; the numbers of its `n` replies. Refused: what can never be served."""
        if model not in self.models:
            raise Refusal("an adapter must be one that is loaded", repr(model), f"use one of {sorted(self.models)}")
        limit = self._limit(self.models[model], prompt, asked)
        vocab, device = self.models[model].spec.vocab, self.pool.device
        own = self.tokenizer.stops if stops is None and self.tokenizer else stops or frozenset()
        ends = (frozenset() if asked.go_on else own) | frozenset(asked.stop_ids)
        for what, ids in (("stop_ids", asked.stop_ids), ("logit_bias", asked.logit_bias)):
            if beyond := [token for token in ids if token >= vocab]:
                raise Refusal(
                    f"{what} must be ids below {vocab}", beyond, "use the tokenizer that belongs to the model"
                )
        seed = secrets.randbits(63) if asked.seed is None else asked.seed
        numbers, leader = [], None
        for stream in range(asked.n):
            request = Request(self._number, prompt, limit, model, leader)
            leader = leader or request
            drawing = Drawing.of(request, asked, ends, seed, stream, vocab, device)
            self._going[request.number] = _Going(request, drawing, _Writer(self.tokenizer, asked.stop))
            self.state.waiting.append(request)
            numbers.append(request.number)
            self._number += 1
        return numbers

    def _limit(self, model: Transformer, prompt: list[int], asked: Asked) -> int:
        """How many tokens may follow: as asked, as the context holds, and as all blocks together hold."""
        limit = decode.limit(model, prompt, asked)
        blocks = self.state.blocks
        held = (blocks.count - 1) * blocks.size - len(prompt) + 1
        if held < 1:
            found = f"{len(prompt)} tokens, and room for {held - 1 + len(prompt)}"
            raise Refusal("a prompt must fit the room for keys and values", found, "shorten it, or give more memory")
        return min(limit, held)

    def drop(self, number: int) -> None:
        """Forget a request: nobody waits for it any more."""
        if going := self._going.pop(number, None):
            going.request.ended = True
            self.state.drop(going.request)

    @torch.inference_mode()
    def step(self) -> list[Delta]:
        """Read and write once; what became of it. Where that fails, each request is tried alone, and fails alone."""
        work = plan(self.state, self.limits).work
        made: list[Delta] = []
        for name in sorted({each.request.model for each in work}):
            mine = [each for each in work if each.request.model == name]
            try:
                made += self._written(mine, self._read(self.models[name], mine))
            except Exception:
                made += [delta for each in mine for delta in self._by_itself(each)]
        return made

    def _by_itself(self, work: Work) -> list[Delta]:
        """The work of one request that could not be done with that of others."""
        try:
            return self._written([work], self._read(self.models[work.request.model], [work]))
        except Exception as error:
            return [self._failed(work.request, f"{type(error).__name__}: {error}")]

    def run(self) -> Iterator[Delta]:
        """Step until there is nothing to do."""
        while not self.idle:
            yield from self.step()

    def _read(self, model: Transformer, work: list[Work]) -> dict[Request, Tensor]:
        """The scores [scored, V] of the last places of each request whose next tokens can be told."""
        reading = Reading(self.pool, work)
        tokens = [each.request.text(each.request.computed, each.request.computed + each.tokens) for each in work]
        ids = torch.tensor([[token for part in tokens for token in part]], device=self.pool.device)
        with rowwise():
            states = model.hidden(ids, reading.layout, cache=reading)[0]
            return self._logits(model, states, work)

    def _logits(self, model: Transformer, states: Tensor, work: list[Work]) -> dict[Request, Tensor]:
        ends = torch.tensor([each.tokens for each in work]).cumsum(0).tolist()
        at = [place for each, end in zip(work, ends, strict=True) for place in range(end - each.scored, end)]
        if not at:
            return {}
        scores = model.logits(states[at]).split([each.scored for each in work])
        return {each.request: own for each, own in zip(work, scores, strict=True) if each.scored}

    def _written(self, work: list[Work], logits: dict[Request, Tensor]) -> list[Delta]:
        """Take tokens, place by place: a request goes on to its next place as long as its draft said what was taken."""
        made: list[Delta] = []
        for each in work:
            each.request.computed_to(each.request.computed + each.tokens - len(each.request.draft), self.state.blocks)
        open_, place = [self._going[request.number] for request in logits], 0
        while open_:
            rows = torch.stack([logits[going.request][place] for going in open_])
            drawings = [going.drawing for going in open_]
            taken = pick(rows, drawings, [len(going.request.tokens) for going in open_])
            further = []
            for going, picked in zip(open_, taken, strict=True):
                delta = self._took(going, picked)
                made.append(delta)
                draft = going.request.draft
                if delta.finish is None and len(draft) > place and draft[place] == picked.token:
                    going.request.computed_to(going.request.computed + 1, self.state.blocks)
                    further.append(going)
            open_, place = further, place + 1
        for request in logits:
            request.draft = []
        return made

    def _took(self, going: _Going, picked: Picked | None) -> Delta:
        request = going.request
        if picked is None:
            return self._failed(request, f"scores that are not finite at token {len(request.tokens) + 1}")
        request.tokens.append(picked.token)
        stopped = picked.token in going.drawing.stops
        text = "" if stopped else going.writer.push(picked.token)
        finish: Finish | None = "stop" if stopped or going.writer.guard.hit else None
        if finish is None and len(request.tokens) == request.limit:
            finish = "length"
        if finish is None:
            return Delta(request.number, text, picked)
        self.drop(request.number)
        rest = "" if going.writer.guard.hit else going.writer.end()
        return Delta(request.number, text + rest, picked, finish)

    def _failed(self, request: Request, why: str) -> Delta:
        """End a request whose keys and values cannot be trusted; nobody may find them."""
        own = self.state.blocks.alone(request.table)
        self.state.blocks.forget(own)
        self.pool.clear(own)
        self.drop(request.number)
        return Delta(request.number, "", None, "error", why)


def require_served(model: Transformer) -> None:
    """Refuse a model whose requests cannot be read side by side from one cache."""
    require_writer(model)
    require_one_sequence(model)
    fix = "use viva generate, which decodes it alone"
    blocks = [model.spec.decoder.block(layer) for layer in range(model.spec.decoder.layers)]
    found = None
    if model.recalls:
        found = "one that recalls segments"
    elif model.virtual is not None:
        found, fix = "an adapter with virtual tokens", "merge it, or use viva generate"
    elif any(block.attention is None for block in blocks):
        found = "layers without attention"
    elif not all(block.attention.causal for block in blocks):
        found = "attention both ways"
    elif any(kind(block.attention.score) == "linear" for block in blocks):
        found = "linear attention, which keeps no keys"
    if found:
        raise Refusal("a model must keep keys and values of every token to be served", found, fix)
