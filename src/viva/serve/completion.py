"""Pieces of replies in the form of /v1/completions."""

from collections.abc import Sequence

from viva.infer.engine.pick import Picked
from viva.serve.chat import LEAST
from viva.serve.placed import Placed
from viva.serve.schema import completion as schema
from viva.serve.schema.common import Usage
from viva.serve.written import Piece, Spelling


class Form:
    """One answer: `id`, `created` (Unix seconds) and `model` stand in each of its parts."""

    prefix = "cmpl"

    def __init__(self, id: str, created: int, model: str, spelling: Spelling, request: schema.Request):
        self._head = {"id": id, "object": "text_completion", "created": created, "model": model}
        self._spelling, self._logprobs = spelling, request.logprobs is not None
        self._usage = {"usage": None} if request.usage_wanted else {}

    def opening(self, index: int) -> None:
        """A text has no speaker to be told."""

    def chunks(self, piece: Piece) -> list[schema.Response]:
        """What is sent for a piece: nothing or a change."""
        if not (piece.text or piece.picked or piece.finish):
            return []
        return [schema.Response(**self._head, choices=[self._choice([piece])], **self._usage)]

    def last(self, usage: Usage) -> schema.Response:
        """The tokens used."""
        return schema.Response(**self._head, choices=[], usage=usage)

    def response(self, replies: Sequence[Sequence[Piece]], usage: Usage) -> schema.Response:
        """The whole answer."""
        return schema.Response(**self._head, choices=[self._choice(pieces) for pieces in replies], usage=usage)

    def _choice(self, pieces: Sequence[Piece]) -> schema.Choice:
        text, last = "".join(piece.text for piece in pieces), pieces[-1]
        told = self._told([picked for piece in pieces for picked in piece.picked])
        return schema.Choice(index=last.index, text=text, logprobs=told, finish_reason=last.finish)

    def _told(self, placed: Sequence[Placed]) -> schema.Logprobs | None:
        if not self._logprobs:
            return None
        return schema.Logprobs(
            tokens=[self._spelling(each.picked.token, each.first)[0] for each in placed],
            token_logprobs=[max(each.picked.logprob, LEAST) for each in placed],
            top_logprobs=[self._likely(each.picked, each.first) for each in placed],
            text_offset=[each.offset for each in placed],
        )

    def _likely(self, picked: Picked, first: bool) -> dict[str, float]:
        """Texts with their log-probabilities; of tokens of one text, such as parts of characters, the likeliest."""
        found: dict[str, float] = {}
        for token, logprob in picked.top:
            found.setdefault(self._spelling(token, first)[0], max(logprob, LEAST))
        return found
