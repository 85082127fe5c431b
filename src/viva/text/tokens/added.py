"""Added tokens, special ones among them: they are looked for in a text before the rest is split into pieces."""

import re
from collections.abc import Iterator
from typing import Any

from viva.text.tokens.byte_pairs import Unfit

# what `tokenizers` takes for space: Unicode's White_Space, which leaves out four separators that Python counts
SPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and c not in "\x1c\x1d\x1e\x1f")


class Added:
    """Finds added tokens as `tokenizers` does: the leftmost first and of those the longest.

    `parts` is a tokenizer.json. Raises `Unfit` where a token takes in the space behind it, must be a word of its own,
    or is looked for in the normalised text.
    """

    def __init__(self, parts: dict[str, Any]):
        for token in parts["added_tokens"]:
            for name in ("rstrip", "single_word"):
                if token[name]:
                    raise Unfit(f"its token {token['content']!r} has {name}")
            if token["normalized"] and (parts["normalizer"] or not parts["added_tokens"][0]["normalized"]):
                raise Unfit(f"its token {token['content']!r} is looked for in a second pass")
        self._ids = {token["content"]: token["id"] for token in parts["added_tokens"]}
        self._special = {token["content"] for token in parts["added_tokens"] if token["special"]}
        self._spaced = {token["content"] for token in parts["added_tokens"] if token["lstrip"]}
        words = sorted(self._ids, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, words)) or "(?!)")

    def cut(self, text: str, special: bool) -> Iterator[tuple[int, str, int | None]]:
        """The pieces of `text` in order: (where it begins, the piece, its id if it is an added token, which may have
        space before it).

        Unless `special`, the special ones are text like any other.
        """
        end = 0
        for found in self._pattern.finditer(text) if special or len(self._special) < len(self._ids) else ():
            if special or found[0] not in self._special:
                before = text[end : found.start()]
                before = before.rstrip(SPACE) if found[0] in self._spaced else before
                if before:
                    yield end, before, None
                start, end = end + len(before), found.end()
                yield start, text[start:end], self._ids[found[0]]
        if end < len(text):
            yield end, text[end:], None
