"""Replies of a form that is asked for, JSON of a schema, a regular expression, one of a few texts or text of a grammar,
by a filter of the next token: those alone are left by which the text can still become one of that form.

The work is llguidance's (https://github.com/guidance-ai/llguidance), which refuses what it cannot hold to.
"""

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from viva.base.errors import Refusal
from viva.infer.engine.asked import Asked
from viva.text.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher

KEPT = 128  # forms that stay compiled
FUEL = 500_000  # of llguidance, for all that is built of one form: a second or two, and some thousands of values
# JSON may be set out in lines; without a bound a model that likes blanks would write nothing else
JSON = {"whitespace_pattern": r"\n? {0,16}", "lenient": False}
NOTHING = "no token of the vocabulary can go on with what the grammar asks for"
PLAINLY = {"NoExtensionBias": "no text has this form"}  # llguidance's words for what it says by one


class Vocabulary:
    """The tokens as llguidance takes them: the bytes by which each lengthens a text.

    A special token is no text. For one that begins a text otherwise than it goes on, as that of a word with its space
    does, `first` has the number of another that is spelled as it is there; where there is none, one is added. The last
    number is an end that no tokenizer has: whether a text may end is asked of the matcher.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer):
        special = set(tokenizer.specials.values())
        numbers = range(tokenizer.vocab_size)
        self.tokens = [b"" if number in special else tokenizer.spelled(number) for number in numbers]
        self.count, self._encode = len(self.tokens), tokenizer.encode
        self._number = {text: number for number, text in enumerate(self.tokens) if text}
        self._longest = max(map(len, self._number), default=0)
        self.first = self._first(tokenizer)
        self.tokens.append(b"the end")
        self.eos_token_id = len(self.tokens) - 1
        self.special_token_ids = [self.eos_token_id]

    def _first(self, tokenizer: Tokenizer) -> dict[int, int]:
        begun = {number: tokenizer.spelled(number, first=True) for number, text in enumerate(self.tokens) if text}
        others = {number: text for number, text in begun.items() if text != self.tokens[number]}
        added = [text for text in dict.fromkeys(others.values()) if text and text not in self._number]
        at = self._number | {text: self.count + place for place, text in enumerate(added)}
        self.tokens += added
        # of those that add nothing the number is the end's, which is never allowed
        return {number: at.get(text, len(self.tokens)) for number, text in others.items()}

    def __call__(self, text: str) -> list[int]:
        """The tokens of a text that is all that can follow: as the tokenizer has them, or the longest first."""
        ids, wanted = self._encode(text), text.encode()
        if b"".join(self.tokens[number] for number in ids) == wanted:
            return ids
        ids = []
        while wanted:
            sizes = range(min(len(wanted), self._longest), 0, -1)
            size = next((size for size in sizes if wanted[:size] in self._number), None)
            if size is None:
                return [*ids, self.eos_token_id]  # it cannot be written
            ids.append(self._number[wanted[:size]])
            wanted = wanted[size:]
        return ids


class Grammars:
    """The forms that replies of one tokenizer were asked to have, compiled once each."""

    def __init__(self, tokenizer: Tokenizer):
        try:
            import llguidance
        except ImportError:
            fix = "pip install 'viva[serve]'"
            raise Refusal("llguidance must be installed to write text of a form", "it is not", fix) from None
        self.vocabulary = Vocabulary(tokenizer)
        tokens = llguidance.LLTokenizer(self.vocabulary, slices=[])

        limits = llguidance.LLParserLimits(initial_lexer_fuel=FUEL)

        @lru_cache(KEPT)
        def compiled(kind: str, text: str) -> "LLMatcher":
            source = _source(llguidance.LLMatcher, kind, text)
            wrong, said = llguidance.LLMatcher.validate_grammar_with_warnings(source, tokens, limits=limits)
            if wrong or said:
                raise _refusal(kind, said[0])
            made = llguidance.LLMatcher(tokens, source, log_level=0, limits=limits)
            try:
                Grammar(made.deep_copy(), self.vocabulary).try_first()
            except RuntimeError as error:
                raise _refusal(kind, str(error)) from None
            return made

        self._compiled = compiled

    def grammar(self, asked: Asked) -> "Grammar | None":
        """That of one reply; refused: a form that cannot be compiled and followed for a step, with the reason."""
        return asked.form and Grammar(self._compiled(*asked.form).deep_copy(), self.vocabulary)


class Grammar:
    """What may follow in one reply."""

    def __init__(self, matcher: "LLMatcher", vocabulary: Vocabulary):
        self._matcher, self._vocabulary, self._begun = matcher, vocabulary, False

    @property
    def complete(self) -> bool:
        """Whether the text has the form as it is."""
        return self._matcher.is_accepting()

    @property
    def over(self) -> bool:
        """Whether it does, and nothing can follow."""
        return self.complete and self._matcher.is_stopped()

    def allowed(self, vocab: int, stops: frozenset[int]) -> np.ndarray:
        """[vocab]: whether a token can be next; those of `stops` where the text is complete, and nowhere else."""
        found = self._next(vocab)
        found[list(stops)] = self.complete
        if not found.any():
            raise RuntimeError(NOTHING)
        return found

    def try_first(self) -> None:
        """Go one step: what a form takes to be followed shows only then."""
        found = self._next(self._vocabulary.count)
        if found.any():
            self.take(int(found.argmax()))
        elif not self.complete:
            raise RuntimeError(NOTHING)

    def take(self, token: int) -> None:
        """Go on by a token."""
        self._matcher.consume_token(self._number(token))
        self._begun = True
        self._require_sound()

    def agreed(self, tokens: list[int]) -> int:
        """How many of the next tokens, from the first on, can follow."""
        return self._matcher.validate_tokens([self._number(tokens[0]), *tokens[1:]]) if tokens else 0

    def _next(self, vocab: int) -> np.ndarray:
        """[vocab]: whether a token goes on with the text."""
        told = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._require_sound()
        every = np.unpackbits(told, bitorder="little").astype(bool)
        found = np.zeros(vocab, bool)
        found[: self._vocabulary.count] = every[: min(self._vocabulary.count, vocab)]
        if not self._begun:
            for number, other in self._vocabulary.first.items():
                found[number] = other != self._vocabulary.eos_token_id and every[other]
        return found

    def _number(self, token: int) -> int:
        return token if self._begun else self._vocabulary.first.get(token, token)

    def _require_sound(self) -> None:
        """llguidance does not raise: a matcher that came to a bound of its work says so for ever."""
        if self._matcher.is_error():
            said = _line(self._matcher.get_error())
            raise RuntimeError(f"the grammar could not be followed: {PLAINLY.get(said, said)}")


def _source(matcher: type, kind: str, text: str) -> str:
    """A form in llguidance's own words."""
    if kind == "regex":
        return matcher.grammar_from_regex(json.loads(text))
    if kind == "grammar":
        return matcher.grammar_from_lark(json.loads(text))
    if kind == "choice":
        return matcher.grammar_from_lark(f"start: {' | '.join(map(json.dumps, json.loads(text)))}")
    try:
        return matcher.grammar_from_json_schema(text, overrides=JSON)
    except ValueError as error:
        raise _refusal(kind, str(error)) from None


def _refusal(kind: str, why: str) -> Refusal:
    fix = "change what is named, or leave it out"
    return Refusal(f"{kind} must be one that replies can be held to", _line(why), fix)


def _line(text: str) -> str:
    """An error of many lines in one, without the grammar that it shows."""
    return " ".join(re.split(r"<state>|\n +[0-9]+ \| ", text)[0].split())
