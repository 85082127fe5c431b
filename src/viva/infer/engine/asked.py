"""What may be asked for with each prompt, beside how its tokens are drawn. No torch."""

import json
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from viva.infer.sampling import Sampling, Word

FORMS = ("json_schema", "regex", "choice", "grammar")

Bias = Annotated[float, Field(ge=-100, le=100)]
Id = Annotated[int, Field(ge=0)]


class Asked(Sampling):
    """Sampling, with what an engine can do for each request alone.

    A token of `stop_ids` ends the reply, as the tokenizer's own do unless `go_on`. `logprobs` is how many of the
    likeliest tokens are told with their log-probabilities at each place, the drawn one always; None tells nothing.
    These are the model's own, before any filter.

    Before `min_new_tokens` no id and no stop string ends a reply: such an id is not drawn, and a stop string is looked
    for only in what the last of these tokens and those behind it write; what stands before is a part of the text.

    `json_schema`, `regex`, `choice` or `grammar` says what form the reply has (`grammar.py`); an id that ends it is
    drawn only where it has that form, and a reply that no more can follow ends. One that is cut, by its length or a
    stop string, may lack its end.
    """

    n: int = Field(1, ge=1, le=128, description="so many replies to the prompt, each with a stream of the seed")
    logprobs: int | None = Field(None, ge=0, le=20, description="tell the log-probabilities of so many tokens a place")
    logit_bias: dict[Id, Bias] = Field({}, description="add this to the scores of these ids, from -100 to 100")
    min_new_tokens: int = Field(0, ge=0, description="do not end before so many")
    stop_ids: tuple[Id, ...] = Field((), description="ids that end the reply, beside the tokenizer's")
    go_on: bool = Field(False, description="write past the tokenizer's end of a reply")
    json_schema: dict[str, Any] | None = Field(None, description="the reply is JSON that this schema allows")
    regex: str | None = Field(None, description="the whole reply matches this regular expression, in Rust's syntax")
    choice: tuple[Word, ...] = Field((), description="the reply is one of these texts")
    grammar: str | None = Field(None, description="the reply is of this grammar, in llguidance's form of Lark")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError("min_new_tokens must be max_new_tokens at most")
        if self.prefix:
            raise ValueError("prefix reads a prompt both ways, which no shared cache can: leave it out")
        return self

    @model_validator(mode="after")
    def _searches_alone(self) -> Self:
        others = ("n", "logprobs", "logit_bias", "min_new_tokens", *FORMS)
        given = [name for name in others if getattr(self, name) != type(self).model_fields[name].default]
        if self.beams > 1 and given:
            raise ValueError(f"a search of beams finds the likeliest reply and no other: leave out {', '.join(given)}")
        return self

    @model_validator(mode="after")
    def _of_one_form(self) -> Self:
        forms = [name for name in FORMS if getattr(self, name) not in (None, ())]
        if len(forms) > 1:
            raise ValueError(f"a reply has one form: leave out {' or '.join(forms)}")
        if forms and self.min_new_tokens:
            raise ValueError(f"{forms[0]} says where a reply may end: leave min_new_tokens out")
        return self

    @property
    def form(self) -> tuple[str, str] | None:
        """The kind of form that the reply has, one of FORMS, and what it is, as JSON."""
        kind = next((name for name in FORMS if getattr(self, name) not in (None, ())), None)
        return kind and (kind, json.dumps(getattr(self, kind)))
