"""How the next token is chosen: the filters' parameters, and when to end."""

from collections.abc import Iterable
from types import ModuleType
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from viva.infer.sample import (
    frequency_penalty,
    min_p,
    presence_penalty,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
)

PENALTIES = (repetition_penalty, frequency_penalty, presence_penalty)  # of what stands there already
ORDER = (*PENALTIES, temperature, top_k, top_p, min_p)  # as transformers applies those that it has

Word = Annotated[str, StringConstraints(min_length=1)]
Stops = Annotated[tuple[Word, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]


def parameters(filters: Iterable[ModuleType]) -> tuple[str, ...]:
    """The names of those of the filters."""
    return tuple(name for filter in filters for name in filter.Config.model_fields)


class Sampling(*(filter.Config for filter in ORDER)):
    """Every filter's parameter, and when a reply ends.

    At temperature 0 the most likely token is taken after the penalties; no other filter could change that.
    """

    max_new_tokens: int = Field(256, ge=1, description="write at most this many")
    stop: Stops = Field((), description="a string that ends the reply and is no part of it; may be repeated")
    beams: int = Field(1, ge=1, description="search the most likely reply with so many beams, instead of drawing")
    length_penalty: float = Field(0.6, ge=0, le=10, description="of a beam search: 0 favours short replies")
    prefix: bool = Field(False, description="read the prompt both ways, as the objective prefix trains a model to")
    seed: int | None = Field(None, description="the same seed gives the same text; left out, one is drawn")

    @model_validator(mode="after")
    def _penalises_a_search(self) -> Self:
        if self.beams == 1 and self.length_penalty != type(self).model_fields["length_penalty"].default:
            raise ValueError("length_penalty is that of a beam search: give beams as well, or leave it out")
        return self

    @property
    def penalised(self) -> bool:
        """Whether the next token depends on which stand there already."""
        usual = type(self).model_fields
        return any(getattr(self, name) != usual[name].default for name in parameters(PENALTIES))
