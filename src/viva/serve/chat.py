"""Pieces of replies in the form of /v1/chat/completions."""

import json
import secrets
from collections.abc import Sequence

from viva.serve.placed import Placed
from viva.serve.schema import chat as schema
from viva.serve.schema.common import Usage
from viva.serve.written import Piece, Spelling
from viva.text.talk.calls import Call

LEAST = -9999.0  # what OpenAI's API writes for a log-probability that JSON has no number for


class Form:
    """One answer: `id`, `created` (Unix seconds) and `model` stand in each of its parts."""

    prefix = "chatcmpl"

    def __init__(self, id: str, created: int, model: str, spelling: Spelling, request: schema.Request):
        self._head = {"id": id, "created": created, "model": model}
        self._spelling, self._logprobs = spelling, bool(request.logprobs)
        self._usage = {"usage": None} if request.usage_wanted else {}
        self._calls: dict[int, int] = {}  # of each reply, so far

    def opening(self, index: int) -> schema.Chunk:
        """The first event of a reply: who speaks."""
        return self._chunk(index, schema.Delta(role="assistant", content=""))

    def chunks(self, piece: Piece) -> list[schema.Chunk]:
        """What is sent for a piece: nothing, a change, at the end one more that says why."""
        made, grown = [], {}
        if piece.text or piece.picked:
            grown["content"] = piece.text
        if piece.calls:
            grown["tool_calls"] = [self._numbered(piece.index, call) for call in piece.calls]
        if grown:
            made.append(self._chunk(piece.index, schema.Delta(**grown), piece.picked))
        if piece.finish:
            made.append(self._chunk(piece.index, schema.Delta(), finish=piece.finish))
        return made

    def last(self, usage: Usage) -> schema.Chunk:
        """The tokens used."""
        return schema.Chunk(**self._head, object="chat.completion.chunk", choices=[], usage=usage)

    def response(self, replies: Sequence[Sequence[Piece]], usage: Usage) -> schema.Response:
        """The whole answer."""
        return schema.Response(**self._head, choices=[self._choice(pieces) for pieces in replies], usage=usage)

    def _choice(self, pieces: Sequence[Piece]) -> schema.Choice:
        text = "".join(piece.text for piece in pieces)
        calls = [_made(call) for piece in pieces for call in piece.calls]
        called = {"tool_calls": calls} if calls else {}
        said = schema.Said(role="assistant", content=None if calls and not text else text, refusal=None, **called)
        picked = [picked for piece in pieces for picked in piece.picked]
        last = pieces[-1]
        told = self._told(picked)
        return schema.Choice(index=last.index, message=said, logprobs=told, finish_reason=last.finish)

    def _chunk(
        self, index: int, delta: schema.Delta, picked: Sequence[Placed] = (), finish: str | None = None
    ) -> schema.Chunk:
        told = self._told(picked) if picked else None
        change = schema.Change(index=index, delta=delta, logprobs=told, finish_reason=finish)
        return schema.Chunk(**self._head, object="chat.completion.chunk", choices=[change], **self._usage)

    def _numbered(self, index: int, call: Call) -> schema.NumberedCall:
        number = self._calls.get(index, 0)
        self._calls[index] = number + 1
        return schema.NumberedCall(index=number, **_made(call).model_dump())

    def _told(self, picked: Sequence[Placed]) -> schema.Logprobs | None:
        return schema.Logprobs(content=[self._one(each) for each in picked]) if self._logprobs else None

    def _one(self, placed: Placed) -> schema.Told:
        picked, first = placed.picked, placed.first
        likely = [self._likely(token, logprob, first) for token, logprob in picked.top]
        return schema.Told(**self._likely(picked.token, picked.logprob, first).model_dump(), top_logprobs=likely)

    def _likely(self, token: int, logprob: float, first: bool) -> schema.Likely:
        text, spelled = self._spelling(token, first)
        return schema.Likely(token=text, logprob=max(logprob, LEAST), bytes=spelled)


def _made(call: Call) -> schema.MadeCall:
    """A call with an id of nine letters and digits, which every template takes back."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    function = schema.MadeFunction(name=call.name, arguments=arguments)
    return schema.MadeCall(id=f"c{secrets.token_hex(4)}", function=function)
