"""The tokens of a model as text, for forms of replies."""

from viva.text.tokens.tokenizer import Tokenizer


class Vocabulary:
    """The tokens as llguidance takes them: the bytes by which each lengthens a text.

    A special token is no text. For one that begins a text otherwise than it goes on, as that of a word with its space
    does, `first` has the number of another that is spelled as it is there; where there is none, one is added. Those of
    `silent` add nothing there. The last number is an end that no tokenizer has: whether a text may end is asked of the
    matcher.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer):
        special = set(tokenizer.specials.values())
        numbers = range(tokenizer.vocab_size)
        self.tokens = [b"" if number in special else tokenizer.spelled(number) for number in numbers]
        self.count, self._encode = len(self.tokens), tokenizer.encode
        self.number = {text: number for number, text in enumerate(self.tokens) if text}
        begun = {number: tokenizer.spelled(number, first=True) for number, text in enumerate(self.tokens) if text}
        self.begins = frozenset(begun.values())
        self.sizes = sorted({*map(len, self.number), *map(len, self.begins)} - {0})  # in bytes
        self.silent = [number for number, text in begun.items() if not text]
        self.first = self._first({number: text for number, text in begun.items() if text != self.tokens[number]})
        self.tokens.append(b"the end")
        self.eos_token_id = len(self.tokens) - 1
        self.special_token_ids = [self.eos_token_id]

    @property
    def complete(self) -> bool:
        """Whether it has a token for each byte, so that every text can be written, and gone on with anywhere."""
        return all(bytes([byte]) in self.number for byte in range(256))

    def _first(self, others: dict[int, bytes]) -> dict[int, int]:
        added = [text for text in dict.fromkeys(others.values()) if text and text not in self.number]
        at = self.number | {text: self.count + place for place, text in enumerate(added)}
        self.tokens += added
        return {number: at[text] for number, text in others.items() if text}

    def __call__(self, text: str) -> list[int]:
        """The tokens of a text that is all that can follow: as the tokenizer has them, or the longest first."""
        ids, wanted = self._encode(text), text.encode()
        if b"".join(self.tokens[number] for number in ids) == wanted:
            return ids
        ids = []
        while wanted:
            size = next((size for size in reversed(self.sizes) if wanted[:size] in self.number), None)
            if size is None:
                return [*ids, self.eos_token_id]  # it cannot be written
            ids.append(self.number[wanted[:size]])
            wanted = wanted[size:]
        return ids
