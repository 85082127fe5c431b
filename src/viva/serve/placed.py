"""The tokens of a reply, each with its place in the text: it is told when the text has come so far, and where a stop
string cuts the text before that, it is not told.
"""

import codecs
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from viva.infer.engine.pick import Picked
from viva.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Placed:
    """A token, whether it is the `first` of its reply, and the character of the text, from 0 on, in which it begins."""

    picked: Picked
    first: bool
    offset: int


class Placing:
    """Places the tokens of a reply, as they come."""

    def __init__(self, tokenizer: Tokenizer):
        self._stream, self._spelled = tokenizer.stream(), tokenizer.spelled
        self._row: list[tuple[Picked, bool]] = []  # tokens whose text is not certain before the next one
        self._text = ""  # theirs, as far as it is certain
        self._open: deque[Placed] = deque()
        self._begun, self._written, self._said = False, 0, 0

    def take(self, picked: Picked | None, text: str, ended: bool) -> tuple[Placed, ...]:
        """The tokens that are told with a step of the reply: it has drawn `picked`, or none that adds text, and `text`
        is what is said by it; behind the last one, it has `ended`.
        """
        if picked is not None:
            self._row.append((picked, not self._begun))
            self._begun = True
            self._text += self._stream.push(picked.token)
        self._text += self._stream.end() if ended else ""
        if not self._stream.held:
            self._place()
        self._said += len(text)
        uncut = ended and self._said == self._written
        told = []
        while self._open and (uncut or self._open[0].offset < self._said):
            told.append(self._open.popleft())
        return tuple(told)

    def _place(self) -> None:
        spelled = [self._spelled(picked.token, first) for picked, first in self._row]
        for (picked, first), offset in zip(self._row, _begins(spelled, self._text), strict=True):
            self._open.append(Placed(picked, first, self._written + offset))
        self._written += len(self._text)
        self._row, self._text = [], ""


def _begins(spelled: Sequence[bytes], text: str) -> list[int]:
    """In which character of `text` the bytes of each token begin; bytes that are no character are U+FFFD in it, as
    Unicode replaces them or, of tokens of a byte each, every single one.
    """
    each = b"".join(spelled).decode("utf-8", "replace") != text
    decoder, come, found = codecs.getincrementaldecoder("utf-8")("replace"), 0, []
    for part in spelled:
        if each:
            found.append(come)
            come += len(part)
            continue
        come += len(decoder.decode(part[:1]))
        found.append(come - (len(part) > 0 and not decoder.getstate()[0]))
        come += len(decoder.decode(part[1:]))
    return found
