"""What may be asked for with each prompt, beside how its tokens are drawn. No torch."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from viva.infer.sampling import Sampling

Bias = Annotated[float, Field(ge=-100, le=100)]
Id = Annotated[int, Field(ge=0)]


class Asked(Sampling):
    """Sampling, with what an engine can do for each request alone.

    A token of `stop_ids` ends the reply, as the tokenizer's own do unless `go_on`. `logprobs` is how many of the
    likeliest tokens are told with their log-probabilities at each place, the drawn one always; None tells nothing.
    These are the model's own, before any filter.
    """

    n: int = Field(1, ge=1, le=128, description="so many replies to the prompt, each with a stream of the seed")
    logprobs: int | None = Field(None, ge=0, le=20, description="tell the log-probabilities of so many tokens a place")
    logit_bias: dict[Id, Bias] = Field({}, description="add this to the scores of these ids, from -100 to 100")
    min_new_tokens: int = Field(0, ge=0, description="do not end before so many")
    stop_ids: tuple[Id, ...] = Field((), description="ids that end the reply, beside the tokenizer's")
    go_on: bool = Field(False, description="write past the tokenizer's end of a reply")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError("min_new_tokens must be max_new_tokens at most")
        if self.prefix:
            raise ValueError("prefix reads a prompt both ways, which no shared cache can: leave it out")
        return self
