"""What requests of text have in common, and parts of answers that are alike everywhere."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from viva.base.config import Config
from viva.infer.sample.temperature import LEAST

MOST = 2**53  # beyond it JSON's numbers are not told apart by every client


def _absent(given: Any) -> None:
    if given is not None:
        raise PydanticCustomError("not_here", "is not supported here: leave it out")


def _off(given: bool) -> bool:
    if given:
        raise PydanticCustomError("not_here", "is not supported here: leave it out, or give false")
    return given


def _drawable(value: float) -> float:
    if 0 < value < LEAST:
        raise PydanticCustomError("too_cold", "must be 0, or {least} at least", {"least": LEAST})
    return value


Absent = Annotated[None, BeforeValidator(_absent), Field(description="not supported: null, or left out")]
Off = Annotated[bool, AfterValidator(_off)]
Word = Annotated[str, Field(min_length=1, max_length=1024)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
Warmth = Annotated[float, Field(ge=0, le=2), AfterValidator(_drawable)]


class Asked(Config):
    """The base of every request: types are taken as they are, "1" is no number."""

    model_config = ConfigDict(strict=True)


class StreamOptions(Asked):
    """What a stream tells beside the reply."""

    include_usage: bool | None = Field(None, description="one more event at the end, with the tokens used")


class Drawn(Asked):
    """How replies are drawn. `top_k` to `min_p`, `repetition_penalty`, `min_tokens`,
    `stop_token_ids`, `ignore_eos`, `regex` and `choice` are no fields of OpenAI's."""

    model: str = Field(min_length=1, max_length=512, description="one that /v1/models names")
    stream: bool | None = Field(None, description="send server-sent events, as the reply is written")
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=128, description="so many replies")
    temperature: Warmth | None = Field(None, description="1 unless set")
    top_p: float | None = Field(None, ge=1e-6, le=1)
    top_k: int | None = Field(None, ge=1, le=MOST)
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    max_tokens: int | None = Field(None, ge=1, le=MOST, description="at most what the context has room for")
    min_tokens: int | None = Field(None, ge=0, le=MOST)
    stop: Word | list[Word] | None = Field(None, max_length=1024, description="16 of them at most")
    stop_token_ids: list[Annotated[int, Field(ge=0, le=MOST)]] | None = Field(None, max_length=128)
    ignore_eos: bool | None = Field(None, description="write past the end of a reply")
    logit_bias: dict[TokenId, Bias] | None = Field(None, max_length=1024)
    regex: str | None = Field(None, min_length=1, max_length=4096, description="that the whole reply matches")
    choice: list[Word] | None = Field(None, min_length=1, max_length=1024, description="one of which is the reply")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    user: str | None = Field(None, max_length=256, description="goes to the log")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("together", "stream_options belongs to stream: true", {"param": "stream_options"})
        if isinstance(self.stop, list) and len(self.stop) > 16:
            raise PydanticCustomError("together", "stop may have 16 strings at most", {"param": "stop"})
        return self

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream tells the tokens used."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def must_call(self) -> list[tuple[str, dict[str, Any]]]:
        """The functions of which the reply must call one, with the JSON schemas of their arguments."""
        return []

    @property
    def may_call_several(self) -> bool:
        """Whether it may then call more."""
        return False

    def sampling(self) -> dict[str, Any]:
        """As fields of `infer.engine.asked.Asked`, those that were set."""
        told = {
            "n": self.n,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "repetition_penalty": self.repetition_penalty,
            "min_new_tokens": self.min_tokens,
            "stop_ids": None if self.stop_token_ids is None else tuple(self.stop_token_ids),
            "go_on": self.ignore_eos,
            "logit_bias": self.logit_bias and {int(token): bias for token, bias in self.logit_bias.items()},
            "regex": self.regex,
            "choice": self.choice and tuple(self.choice),
            "seed": self.seed,
        }
        kept = {name: value for name, value in told.items() if value is not None}
        return {"temperature": 1.0 if self.temperature is None else self.temperature, "stop": self.stops, **kept}


class Answer(BaseModel):
    """The base of what is answered."""


class Sparse(Answer):
    """An answer of which only the fields that were set are sent."""

    @model_serializer(mode="wrap")
    def _set(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in written(self).items() if name in self.model_fields_set}


class Usage(Answer):
    """Tokens read and written; those that end a reply count."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


Finish = Literal["stop", "length", "tool_calls"]


class Fault(Answer):
    """Why a request was not answered: `param` names the field, `code` is for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Faulty(Answer):
    """The form of every answer that is none."""

    error: Fault
