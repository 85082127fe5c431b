"""What stands between the routes and the engine: whether a request is taken on, and what becomes of it."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from viva.base.config import parse
from viva.base.errors import Refusal
from viva.infer.engine import called
from viva.infer.engine.asked import Asked
from viva.infer.engine.engine import Delta
from viva.serve import chat, completion, log, prompt, stream
from viva.serve.channel import Channel
from viva.serve.engine import Engine
from viva.serve.errors import Trouble, closing, late, refused, refusing
from viva.serve.limits import Limits
from viva.serve.metrics import Metrics
from viva.serve.placed import Placing
from viva.serve.places import Places
from viva.serve.schema.common import Drawn, Usage
from viva.serve.written import Piece, Reply, Spelling
from viva.text.talk import call_form
from viva.text.talk.call_form import Form

Forms = chat.Form | completion.Form


class Service:
    """An engine under the name of its model, with its adapters under theirs, for as many as `limits` allow."""

    def __init__(self, engine: Engine, name: str, limits: Limits, show: bool = False):
        self.engine, self.name, self.limits, self.show = engine, name, limits, show
        self.adapters = {name if adapter == "" else adapter: adapter for adapter in engine.models}
        self.metrics = Metrics(engine.core)
        self.places = Places(engine.core.limits.rows, limits.queue)
        self.spelling = Spelling(engine.model.tokenizer)
        self.created = int(time.time())
        self.jobs: set[Job] = set()
        self.ending = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether the server was told to end."""
        return self.ending.is_set()

    @property
    def ready(self) -> bool:
        """Whether requests are taken on."""
        return self.engine.alive and not self.closed

    def end(self) -> None:
        """Tell all who still wait that the server ends."""
        for job in list(self.jobs):
            job.channel.end(closing())

    def require_open(self) -> None:
        """Refuse where nothing is taken on any more."""
        if self.closed:
            raise closing()
        if not self.engine.alive:
            raise Trouble(503, "the engine has broken: the server must be started again", code="engine_broken")

    def require_place(self) -> None:
        """Refuse what could not be taken on, whatever it asks for."""
        self.require_open()
        self.places.require()

    async def take(self, body: Drawn, prompts: list[Any], tools: list[dict] | None, field: str, facts: dict) -> "Job":
        """Take a request on; `field` is the one that holds its prompts. Refused: what cannot be served, in whole."""
        self.require_open()
        adapter = self._adapter(body.model)
        replies = body.n or 1
        self.places.take(replies * len(prompts), field if len(prompts) > replies else "n")
        job = Job(self, body, replies * len(prompts), facts)
        try:
            own = self.engine.models[adapter].tokenizer
            form = None if tools is None else refusing(lambda: call_form.form(own), "tools")
            read = [await asyncio.to_thread(prompt.read, self.engine, each, tools, adapter, field) for each in prompts]
            told = self._told(body, form, own.specials)
            asked = [self._asked(body, told, ids, adapter, field) for ids in read]
            for ids, each in zip(read, asked, strict=True):
                await job.ask(ids, each, adapter, form, field)
        except Trouble as trouble:
            job.close(trouble)
            raise
        except BaseException:
            job.close()
            raise
        return job

    def _adapter(self, model: str) -> str:
        if model not in self.adapters:
            known = ", ".join(sorted(self.adapters))
            raise Trouble(404, f"model must be one of {known}, but is {model!a}", "model", "model_not_found")
        return self.adapters[model]

    def _told(self, body: Drawn, form: Form | None, specials: Mapping[str, int]) -> dict[str, Any]:
        """How replies are drawn; of one that must call tools, in the way in which the template writes calls."""
        told = body.sampling()
        if body.must_call:
            told["grammar"] = called.lark(form.written, body.must_call, body.may_call_several, specials)
        return told

    def _asked(self, body: Drawn, told: dict[str, Any], ids: list[int], adapter: str, field: str) -> Asked:
        """What the engine is asked for; the bound of a reply is what was asked or, where nothing was, what fits."""
        room, vocab = self.engine.room(adapter), self.engine.models[adapter].spec.vocab
        most, (name, bound) = room - len(ids) + 1, body.bound
        if most < 1:
            message = f"{field} must have at most {room} tokens, the room that there is, but has {len(ids)}"
            raise Trouble(400, message, field, "context_length_exceeded")
        if bound is not None and bound > most:
            message = f"{name} must be at most {most} beside {len(ids)} tokens of {field}, but is {bound}"
            raise Trouble(400, message, name, "context_length_exceeded")
        for where, tokens in (("logit_bias", told.get("logit_bias", ())), ("stop_token_ids", told.get("stop_ids", ()))):
            if beyond := [token for token in tokens if token >= vocab]:
                raise Trouble(400, f"{where} must have ids below {vocab}, but has {beyond[0]}", where)
        if told.get("min_new_tokens") and (form := _form(told)):
            raise Trouble(400, f"{form} says where a reply may end: leave min_tokens out", "min_tokens")
        if told.get("min_new_tokens", 0) > (bound or most):
            raise Trouble(400, f"min_tokens must be at most {bound or most}", "min_tokens")
        asked = {**told, "max_new_tokens": bound or most}
        return refusing(lambda: parse(Asked, asked, name="a request"), _form(told))


class Job:
    """A request that is being answered: its replies, the places they take, and when what came."""

    def __init__(self, service: Service, body: Drawn, replies: int, facts: dict):
        self.service, self.body, self.facts = service, body, facts
        self.channel = Channel(service.engine, service.limits.behind)
        self.began, self.first, self.places = time.monotonic(), None, replies
        self.prompt_tokens = 0
        self.replies: dict[int, Reply] = {}
        self._last: dict[int, float] = {}
        self._form: str | None = None  # the field that asks for the form of the replies
        self._whole = self._closed = False
        self._timer = asyncio.get_running_loop().call_later(service.limits.timeout, self._late)
        service.jobs.add(self)
        facts |= log.asked(body, service.show)
        self._said = [""] * replies
        if service.show:
            facts["replies"] = self._said

    async def _require_tools(self, ids: list[int], adapter: str) -> None:
        """Refuse the tool of which no call can be held to its schema."""
        for place, tool in enumerate(self.body.tools):
            alone = Asked(json_schema=tool.function.arguments, max_new_tokens=1)
            try:
                await asyncio.to_thread(self.service.engine.require, ids, alone, adapter)
            except Refusal as refusal:
                must, fix = (
                    "the parameters of a tool must be a schema that calls can be held to",
                    "change what is named",
                )
                raise refused(Refusal(must, refusal.found, fix), f"tools.{place}.function.parameters") from None

    async def ask(self, ids: list[int], asked: Asked, adapter: str, form: Form | None, field: str) -> None:
        """One more prompt, of `field`; the replies to it stand behind those to the last one."""
        self._form = _form(asked.model_dump())
        try:
            numbers = await self.channel.ask(ids, asked, adapter)
        except Refusal as refusal:
            self.service.require_open()
            if self._form == "tool_choice":
                await self._require_tools(ids, adapter)
            raise refused(refusal, self._form or field) from None
        stops = self.service.engine.core.tokenizer.stops | frozenset(asked.stop_ids)
        for number in numbers:
            placing = None if asked.logprobs is None else Placing(self.service.engine.core.tokenizer)
            self.replies[number] = Reply(len(self.replies), stops, form, placing)
        self.prompt_tokens += len(ids)
        self.service.metrics.read.inc(len(ids))

    async def pieces(self) -> AsyncIterator[Piece]:
        """What is written, as it comes; refused where a step of the engine failed."""
        try:
            async for delta in self.channel:
                if delta.stuck:
                    raise Trouble(400, f"{self._form}: {delta.error}", self._form, "dead_end")
                if delta.finish == "error":
                    self.facts["failed"] = (delta.error or "").partition(":")[0]  # its class: the rest may quote
                    raise Trouble(500, f"the model failed on this request: {delta.error}", code="engine_error")
                self._measure(delta)
                piece = self.replies[delta.number].take(delta)
                if self.service.show:
                    self._said[piece.index] += piece.text
                yield piece
        except Trouble as trouble:
            trouble.note(self.facts)
            raise
        self._whole = True

    async def whole(self, form: Forms) -> Any:
        """The answer at once."""
        try:
            made: list[list[Piece]] = [[] for _ in self.replies]
            async for piece in self.pieces():
                made[piece.index].append(piece)
            return form.response(made, self.usage)
        finally:
            self.close()

    async def events(self, form: Forms) -> AsyncIterator[bytes]:
        """The answer as it is written: who speaks, what changes, why it ends, the tokens used if asked for, [DONE]."""
        try:
            for reply in self.replies.values():
                if (opening := form.opening(reply.index)) is not None:
                    yield stream.event(opening)
            async for piece in self.pieces():
                for chunk in form.chunks(piece):
                    yield stream.event(chunk)
            if self.body.usage_wanted:
                yield stream.event(form.last(self.usage))
            yield stream.DONE
        except Trouble as trouble:
            yield stream.error(trouble)

    @property
    def usage(self) -> Usage:
        """Tokens read and written so far."""
        written = sum(reply.tokens for reply in self.replies.values())
        total = self.prompt_tokens + written
        return Usage(prompt_tokens=self.prompt_tokens, completion_tokens=written, total_tokens=total)

    def close(self, trouble: Trouble | None = None) -> None:
        """Give the places back and count what was made; what nobody waits for ends."""
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        self.channel.close()
        seconds = time.monotonic() - self.began
        self.service.places.leave(self.places, seconds)
        self.service.jobs.discard(self)
        self.facts |= {name: count for name, count in self.usage.model_dump().items() if name != "total_tokens"}
        if self.first is not None:
            self.facts["first_token_seconds"] = round(self.first - self.began, 4)
        if trouble is not None:
            trouble.note(self.facts)
        if self._whole:
            self.service.metrics.whole.observe(seconds)
        elif "error" not in self.facts:
            self.facts["left"] = True
            self.service.metrics.left.inc()

    def _measure(self, delta: Delta) -> None:
        if delta.picked is None:
            return
        now, metrics = time.monotonic(), self.service.metrics
        if self.first is None:
            self.first = now
            metrics.first.observe(now - self.began)
        if delta.number in self._last:
            metrics.each.observe(now - self._last[delta.number])
        self._last[delta.number] = now
        metrics.written.inc()

    def _late(self) -> None:
        self.channel.end(late(self.service.limits.timeout))


def _form(asked: Mapping[str, Any]) -> str | None:
    """The field of a request that says which form its reply has: what else is wrong is found before."""
    fields = {"json_schema": "response_format", "regex": "regex", "choice": "choice", "grammar": "tool_choice"}
    return next((field for own, field in fields.items() if asked.get(own) not in (None, ())), None)


def named(form: type[Forms], service: Service, body: Drawn, facts: dict) -> Forms:
    """The form of one answer; its id is that of the request in the log."""
    number = facts.get("id") or secrets.token_hex(12)
    return form(f"{form.prefix}-{number}", int(time.time()), body.model, service.spelling, body)
