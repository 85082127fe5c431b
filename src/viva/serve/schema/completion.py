"""/v1/completions: texts in, what follows them out."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from viva.serve.schema.common import MOST, Absent, Answer, Drawn, Finish, Off, Sparse, Usage

TOKENS = 16  # as many as OpenAI's API writes where nothing is said
T = TypeVar("T")
Several = Annotated[list[T], Field(min_length=1)]
Ids = Several[Annotated[int, Field(ge=0, le=MOST)]]


class Request(Drawn):
    """What /v1/completions takes."""

    prompt: str | Several[str] | Ids | Several[Ids] = Field(description="a text, its ids, or several of either")
    logprobs: int | None = Field(None, ge=0, le=5, description="tell so many of the likeliest tokens")
    echo: Off | None = Field(None, description="the prompt is not repeated")
    best_of: Annotated[int, Field(ge=1, le=1)] | None = Field(None, description="only 1: see n")
    suffix: Absent = None

    @property
    def bound(self) -> tuple[str, int | None]:
        """The field that bounds a reply, and how many tokens it allows."""
        return "max_tokens", self.max_tokens or TOKENS

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself."""
        several = isinstance(self.prompt, list) and not isinstance(self.prompt[0], int)
        return list(self.prompt) if several else [self.prompt]

    def sampling(self) -> dict[str, Any]:
        told = super().sampling()
        return told if self.logprobs is None else {**told, "logprobs": self.logprobs}


class Logprobs(Answer):
    """Of each token of a text: its log-probability, the likeliest ones, and where in the text it begins."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class Choice(Answer):
    """One continuation or, in a stream, what it grows by."""

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: Finish | None


class Response(Sparse):
    """What is answered at once, and each event of a stream; in it `usage` only where it was asked for."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None
