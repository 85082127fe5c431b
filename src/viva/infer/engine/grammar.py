"""Replies of a form that is asked for, JSON of a schema, a regular expression, one of a few texts or text of a grammar,
by a filter of the next token: those alone are left by which the text can still become one of that form.

The work is llguidance's (https://github.com/guidance-ai/llguidance), which refuses what it cannot hold to. With
tokens that cannot write every text, that of a few texts is `choice.py`'s.
"""

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from viva.base.errors import Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.choice import Choice
from viva.infer.engine.vocabulary import Vocabulary
from viva.text.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher

KEPT = 128  # forms that stay compiled
FUEL = 500_000  # of llguidance, for all that is built of one form: a second or two, and some thousands of values
# JSON may be set out in lines; without a bound a model that likes blanks would write nothing else
JSON = {"whitespace_pattern": r"\n? {0,16}", "lenient": False}
NOTHING = "no token of the vocabulary can go on with what the grammar asks for"
PLAINLY = {"NoExtensionBias": "no text has this form, or none that the tokens can write"}  # llguidance's words for it


class Stuck(RuntimeError):
    """A form that cannot be followed further: what was asked for is at fault, and not the model."""


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
        def compiled(kind: str, text: str) -> "LLMatcher | Choice":
            if kind == "choice" and not self.vocabulary.complete:
                return Choice(json.loads(text), self.vocabulary)
            source = _source(llguidance.LLMatcher, kind, text)
            source = source if self.vocabulary.complete else _unforced(source)
            wrong, said = llguidance.LLMatcher.validate_grammar_with_warnings(source, tokens, limits=limits)
            if wrong or said:
                raise _refusal(kind, said[0])
            made = llguidance.LLMatcher(tokens, source, log_level=0, limits=limits)
            try:
                Grammar(made.deep_copy(), self.vocabulary).try_first()
            except Stuck as error:
                raise _refusal(kind, str(error)) from None
            return made

        self._compiled = compiled

    def grammar(self, asked: Asked) -> "Grammar | None":
        """That of one reply; refused: a form that cannot be compiled and followed for a step, with the reason."""
        return asked.form and Grammar(self._compiled(*asked.form).deep_copy(), self.vocabulary)


class Grammar:
    """What may follow in one reply."""

    def __init__(self, matcher: "LLMatcher | Choice", vocabulary: Vocabulary):
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
            raise Stuck(NOTHING)
        return found

    def try_first(self) -> None:
        """Go one step: what a form takes to be followed shows only then."""
        found = np.flatnonzero(self._next(self._vocabulary.count))
        spoken = np.setdiff1d(found, self._vocabulary.silent)
        if spoken.size:
            self.take(int(spoken[0]))
        elif not (found.size or self.complete):
            raise Stuck(NOTHING)

    def take(self, token: int) -> None:
        """Go on by a token."""
        for number in self._numbers([token]):
            self._matcher.consume_token(number)
        self._begun = True
        self._require_sound()

    def agreed(self, tokens: list[int]) -> int:
        """How many of the next tokens, from the first on, can follow."""
        numbers = self._numbers(tokens)
        return len(tokens) - len(numbers) + (self._matcher.validate_tokens(numbers) if numbers else 0)

    def _next(self, vocab: int) -> np.ndarray:
        """[vocab]: whether a token goes on with the text."""
        told = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._require_sound()
        every = np.unpackbits(told, bitorder="little").astype(bool)
        found, first = np.zeros(vocab, bool), self._vocabulary.first
        found[: self._vocabulary.count] = every[: min(self._vocabulary.count, vocab)]
        if not self._begun:
            found[self._vocabulary.silent] = found.any()
            found[list(first)] = every[list(first.values())]
        return found

    def _numbers(self, tokens: list[int]) -> list[int]:
        """Those of tokens for the matcher: of one that begins a text that of its spelling there, if it has any."""
        if self._begun or not tokens:
            return tokens
        first, *rest = tokens
        return rest if first in self._vocabulary.silent else [self._vocabulary.first.get(first, first), *rest]

    def _require_sound(self) -> None:
        """llguidance does not raise: a matcher that came to a bound of its work says so for ever."""
        if self._matcher.is_error():
            said = _line(self._matcher.get_error())
            if self._begun and said in PLAINLY:
                raise Stuck(NOTHING)
            raise Stuck(f"the grammar could not be followed: {PLAINLY.get(said, said)}")


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


def _unforced(source: str) -> str:
    """The same form, of which llguidance does not ask the tokenizer to write what is all that can follow: where it has
    no token for some bytes, it may find none that goes on as it would.
    """
    form = json.loads(source)["grammars"][0] if source.startswith("{") else {"lark_grammar": source}
    lark = form["lark_grammar"] or f"start: %json {json.dumps(form['json_schema'])}"
    return f'%llguidance {{"no_forcing": true}}\n{lark}'


def _refusal(kind: str, why: str) -> Refusal:
    fix = "change what is named, or leave it out"
    return Refusal(f"{kind} must be one that replies can be held to", _line(why), fix)


def _line(text: str) -> str:
    """An error of many lines in one, without the grammar that it shows."""
    return " ".join(re.split(r"<state>|\n +[0-9]+ \| ", text)[0].split())
