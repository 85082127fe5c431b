"""The loop: plan a step, read it, take the next tokens, tell what became of it."""

import secrets
import warnings
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from viva.base.errors import Notice, Refusal
from viva.infer import decode
from viva.infer.beam import Searches, require_alone
from viva.infer.engine.asked import Asked
from viva.infer.engine.blocks import Blocks
from viva.infer.engine.counters import Counters
from viva.infer.engine.draft._drafter import Drafter
from viva.infer.engine.grammar import Grammars, Stuck
from viva.infer.engine.paged import Pool
from viva.infer.engine.pick import Drawing, Picked, pick
from viva.infer.engine.read import Reader
from viva.infer.engine.reply import Delta, Finish, Going, Writer
from viva.infer.engine.request import Request
from viva.infer.engine.schedule import Limits, State, Work, plan
from viva.infer.engine.search import Search
from viva.infer.engine.served import reach, require_served
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer


def _sentence(why: str | Exception) -> str:
    return str(why) if isinstance(why, str | Stuck) else f"{type(why).__name__}: {why}"


class Core:
    """Requests to one model, or to several adapters of it, a step at a time; whoever calls `step` does the work.

    `models`: by the name of the adapter, "" without one. `blocks` of `size` tokens are the room for keys and values.
    `draft` guesses tokens, which changes no reply (`draft/`).
    The reply to a request does not depend on those beside it: on a CPU in fp32 to the bit (`model/attend/alike.py`,
    `base/product.py`, `base/elementwise.py`), but for additive scores, whose log-probabilities differ by up to 1e-6.
    """

    def __init__(
        self,
        models: dict[str, Transformer],
        tokenizer: Tokenizer | None,
        blocks: int,
        size: int = 16,
        limits: Limits = Limits(),  # noqa: B008
        draft: Drafter | None = None,
    ):
        for model in models.values():
            require_served(model)
            if reach(model) < model.spec.context:
                text = (
                    f"texts are read up to {reach(model)} tokens, not {model.spec.context}: beyond, angles would change"
                )
                warnings.warn(Notice(text), stacklevel=2)
        self.models, self.tokenizer, self.limits = models, tokenizer, limits
        weight = models[""].embedding.weight
        self.state = State(Blocks(blocks, size))
        self.pool = Pool(models[""].spec, self.state.blocks, weight.dtype, weight.device)
        self.reader = Reader(self.pool)
        self.draft = draft
        if draft is not None:
            draft.open(blocks, size, limits)
        self._going: dict[int, Going] = {}
        self._number = self._drafted = self._accepted = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._going

    @property
    def counters(self) -> Counters:
        """What there is to do, what it takes, and what was saved, since the beginning."""
        state = self.state
        return Counters(
            waiting=len(state.waiting),
            running=len(state.running),
            blocks=state.blocks.count - 1,
            used=state.blocks.used,
            idle=state.blocks.idle,
            hits=state.hits,
            misses=state.misses,
            preempted=state.preempted,
            drafted=self._drafted,
            accepted=self._accepted,
        )

    @cached_property
    def _grammars(self) -> Grammars:
        if self.tokenizer is None:
            fix = "give the tokenizer, or leave json_schema, regex and choice out"
            raise Refusal("an engine must know its tokens as text to hold replies to a form", "no tokenizer", fix)
        return Grammars(self.tokenizer)

    def compile(self, asked: Asked) -> None:
        """Have the form of a reply ready before its request is added, in another thread than the one that steps: it may
        take seconds. Refused: a form that replies cannot be held to.
        """
        if asked.form is not None:
            self._grammars.grammar(asked)

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
        if asked.beams > 1:
            require_alone(asked)
            if asked.beams > self.limits.rows:
                found, fix = f"{asked.beams} beams, and {self.limits.rows} rows", "search with fewer"
                raise Refusal("the beams of a search must fit a step", found, fix)
        grammars = [asked.form and self._grammars.grammar(asked) for _ in range(asked.n)]
        seed = secrets.randbits(63) if asked.seed is None else asked.seed
        numbers, leader = [], None
        for stream, grammar in enumerate(grammars):
            request = Request(self._number, prompt, limit, model, leader, width=asked.beams)
            leader = leader or request
            drawing = Drawing.of(request, asked, ends, seed, stream, vocab, device, grammar)
            search = asked.beams > 1 and Search(Searches(1, asked.beams, asked.length_penalty, ends, device), [request])
            self._going[request.number] = Going(request, drawing, Writer(self.tokenizer, asked.stop), search or None)
            self.state.waiting.append(request)
            numbers.append(request.number)
            self._number += 1
        return numbers

    def _limit(self, model: Transformer, prompt: list[int], asked: Asked) -> int:
        """How many tokens may follow: as asked, as the model reads, and as all blocks together hold.

        A search that these cannot hold to its end is refused: a shorter one could find another reply.
        """
        decode.require_ids(model, prompt, "a prompt", reach(model))
        limit = min(asked.max_new_tokens, reach(model) - len(prompt) + 1)
        blocks = self.state.blocks
        shared = len(prompt) // blocks.size  # by the beams of a search
        own = (blocks.count - 1 - shared) // asked.beams
        held = (shared + own) * blocks.size - len(prompt) + 1
        if held < 1:
            found = f"{len(prompt)} tokens, and room for {held - 1 + len(prompt)}"
            raise Refusal("a prompt must fit the room for keys and values", found, "shorten it, or give more memory")
        if asked.beams > 1 and held < limit:
            found, fix = f"{limit} asked for, and room for {held}", f"ask for {held} at most, or give more memory"
            raise Refusal("all tokens of each beam must fit the room for keys and values", found, fix)
        return min(limit, held)

    def _full(self, going: Going) -> str | None:
        """What is full, where a reply cannot be as long as was asked for."""
        request = going.request
        if request.limit == going.drawing.asked.max_new_tokens:
            return None
        most, blocks = reach(self.models[request.model]), self.state.blocks
        if len(request.prompt) + request.limit - 1 == most:
            return f"the model's context of {most} tokens"
        return f"the room of {(blocks.count - 1) * blocks.size} tokens for keys and values"

    def drop(self, number: int) -> None:
        """Forget a request: nobody waits for it any more."""
        if going := self._going.pop(number, None):
            for request in going.requests:
                request.ended = True
                self.state.drop(request)
                self._forget(request)

    def _forget(self, request: Request) -> None:
        """Have nothing kept for the guesses of a request."""
        if self.draft is not None:
            self.draft.forget(request)

    @torch.inference_mode()
    def step(self) -> list[Delta]:
        """Read and write once; what became of it. Where that fails, each request is tried alone, and fails alone."""
        self._guess()
        step = plan(self.state, self.limits)
        for request in step.preempted:
            self._forget(request)
        made: list[Delta] = []
        for name in sorted({each.request.model for each in step.work}):
            made += self._done([each for each in step.work if each.request.model == name])
        return made

    def run(self) -> Iterator[Delta]:
        """Step until there is nothing to do."""
        while not self.idle:
            yield from self.step()

    def _guess(self) -> None:
        """Have the next tokens guessed of each request that writes."""
        if self.draft is None:
            return
        ready = [request for request in self.state.running if request.known == request.computed + 1]
        writing = [going for request in ready if (going := self._going[request.number]).search is None]
        try:
            guesses = self.draft.guess([(going.request, going.drawing) for going in writing])
        except Exception as error:
            self.draft = None
            warnings.warn(Notice(f"no token is guessed any more: {type(error).__name__}: {error}"), stacklevel=2)
            return
        for going, guess in zip(writing, guesses, strict=True):
            request, grammar = going.request, going.drawing.grammar
            guess = guess[: request.limit - len(request.tokens) - 1]
            request.draft = guess if grammar is None else guess[: grammar.agreed(guess)]

    def _done(self, work: list[Work]) -> list[Delta]:
        """What became of the work for one model."""
        work = [each for each in work if not each.request.ended]
        if not work:
            return []
        try:
            logits = self.reader.read(self.models[work[0].request.model], work)
        except Exception as error:
            if len(work) == 1:
                return [self._failed(work[0].request, error)]
            return [delta for each in work for delta in self._done([each])]
        return self._written(work, logits)

    def _written(self, work: list[Work], logits: dict[Request, Tensor]) -> list[Delta]:
        """Take tokens, place by place: a request goes on to its next place as long as its draft said what was taken."""
        made: list[Delta] = []
        for each in work:
            each.request.computed_to(each.request.computed + each.tokens - len(each.request.draft), self.state.blocks)
            self._drafted += len(each.request.draft)
        open_, place = [], 0
        for request, scores in logits.items():
            if going := self._going.get(request.number):
                if going.search is None:
                    open_.append(going)
                else:
                    made += self._searched(going, request, scores[0])
        while open_:
            further = []
            for going, picked in zip(open_, self._picked(open_, logits, place), strict=True):
                delta = self._took(going, picked)
                made.append(delta)
                draft = going.request.draft
                if delta.finish is None and len(draft) > place and draft[place] == picked.token:
                    going.request.computed_to(going.request.computed + 1, self.state.blocks)
                    self._accepted += 1
                    further.append(going)
            open_, place = further, place + 1
        for request in logits:
            request.draft = []
        return made

    def _picked(self, open_: list[Going], logits: dict[Request, Tensor], place: int) -> list[Picked | Exception | None]:
        """The next token of each, or why there is none."""
        rows = torch.stack([logits[going.request][place] for going in open_])
        try:
            return pick(rows, [going.drawing for going in open_], [len(going.request.tokens) for going in open_])
        except Exception as error:
            if len(open_) == 1:
                return [error]
            return [picked for going in open_ for picked in self._picked([going], logits, place)]

    def _took(self, going: Going, picked: Picked | Exception | None) -> Delta:
        """Write a token."""
        request = going.request
        if picked is None:
            return self._failed(request, f"scores that are not finite at token {len(request.tokens) + 1}")
        if isinstance(picked, Exception):
            return self._failed(request, picked)
        request.tokens.append(picked.token)
        try:
            text, stopped = going.written(picked.token)
        except Exception as error:
            return self._failed(request, error)
        finish: Finish | None = "stop" if stopped else "length" if len(request.tokens) == request.limit else None
        if finish is None:
            return Delta(request.number, text, picked)
        self.drop(request.number)
        full = self._full(going) if finish == "length" else None
        return Delta(request.number, text + going.writer.end(), picked, finish, full=full)

    def _searched(self, going: Going, beam: Request, scores: Tensor) -> list[Delta]:
        """Go on with a search by the scores of one of its beams; the reply, whole, once it is found."""
        if not bool(scores.amax().isfinite()):
            return [self._failed(beam, f"scores that are not finite at token {len(beam.tokens) + 1}")]
        going.search.take(beam, scores)
        reply = going.search.advance(self.state, self.pool)
        if reply is None:
            return []
        texts = [going.written(token) for token in reply]
        self.drop(beam.number)
        made = [Delta(beam.number, text, Picked(token)) for token, (text, _) in zip(reply, texts, strict=True)]
        text, stopped = texts[-1]
        finish = "stop" if stopped else "length"
        full = None if stopped or len(reply) < beam.limit else self._full(going)
        return [*made[:-1], Delta(beam.number, text + going.writer.end(), Picked(reply[-1]), finish, full=full)]

    def _failed(self, request: Request, why: str | Exception) -> Delta:
        """End a request whose keys and values cannot be trusted; nobody may find them."""
        own = self.state.blocks.alone(request.table)
        self.state.blocks.forget(own)
        self.pool.clear(own)
        self.drop(request.number)
        return Delta(request.number, "", None, "error", _sentence(why), stuck=isinstance(why, Stuck))
