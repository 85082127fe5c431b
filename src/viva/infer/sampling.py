"""How the next token is chosen: the filters' parameters, and when to end."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from viva.infer.sample import min_p, repetition_penalty, temperature, top_k, top_p

ORDER = (repetition_penalty, temperature, top_k, top_p, min_p)  # as transformers applies them

Word = Annotated[str, StringConstraints(min_length=1)]


class Sampling(*(filter.Config for filter in ORDER)):
    """Every filter's parameter, and:

    `max_new_tokens` are written at most. `stop`: strings that end the reply and are no part of it. `seed`: the same
    seed gives the same text; None draws one. At temperature 0 the most likely token is taken after the repetition
    penalty, and no other filter could change that.
    """

    max_new_tokens: int = Field(256, ge=1)
    stop: Annotated[tuple[Word, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)] = ()
    seed: int | None = None
