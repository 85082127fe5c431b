"""Documents read as prompts: each up to the last stretch that is to be learned, which is what the data answer."""

import numpy as np

from viva.align.reply import Prompt
from viva.base.errors import Refusal
from viva.text.cache.documents import Documents
from viva.text.cache.pack import Long, Named, Report, Span, spans
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.reading import Reading


class Prompts(Reading):
    """A prompt a row, with room behind it for a reply of `extra` tokens."""

    ahead = 0
    whole = True
    every = False

    def __init__(self, pad: int, extra: int):
        super().__init__(pad)
        self.extra = extra

    def spans(self, documents: Documents, context: int, long: Long, named: Named) -> tuple[list[Span], Report]:
        """The prompts; a document that is learned from its first token on is refused."""
        sizes = [answered(documents[number][1])[0] for number in range(len(documents))]
        if 0 in sizes:
            must = "a document must begin with a prompt to be replied to"
            fix = "use a format with prompts, such as messages, prompt or ask"
            raise Refusal(must, f"{sizes.count(0):,} of {len(sizes):,} documents without one", fix)
        return spans(sizes, context, long, self.ahead, lambda number: f"the prompt of {named(number)}")


def answered(mask: np.ndarray) -> tuple[int, int]:
    """Where the last stretch of learned tokens begins and ends; at the end of a document that has none."""
    learned = np.flatnonzero(mask)
    if not len(learned):
        return len(mask), len(mask)
    end = int(learned[-1]) + 1
    hidden = np.flatnonzero(~np.asarray(mask[:end]))
    return (int(hidden[-1]) + 1 if len(hidden) else 0), end


def prompt(documents: Documents, number: int, tokenizer: Tokenizer) -> Prompt:
    """The prompt that a document begins with, and what it answers."""
    ids, mask = documents[number]
    start, end = answered(mask)
    asked, answer = ids[:start].tolist(), [token for token in ids[start:end].tolist() if token not in tokenizer.stops]
    text = tokenizer.decode(asked, skip_special=True)
    return Prompt(asked, text, tokenizer.decode(answer), number, documents.tail(number))
