"""Patterns that make of a text and the word of its class one text, and the words of the classes."""

from collections.abc import Mapping

from viva.base.errors import Refusal

TEXT, WORD = "{text}", "{word}"  # what a pattern has in the places of the two


def require_pattern(pattern: str, words: Mapping[str, str]) -> None:
    """Refuse a pattern without a place for the text or the word, or with two, and words for fewer than two classes."""
    if not isinstance(pattern, str) or not pattern.count(TEXT) == pattern.count(WORD) == 1:
        must = f"a pattern must have {TEXT} and {WORD} once each"
        raise Refusal(must, f"{pattern!r:.80}", "write for example '{text} It was {word}.'")
    if not isinstance(words, Mapping) or not all(isinstance(word, str) for word in words.values()):
        fix = "give for example {'positive': 'great', 'negative': 'terrible'}"
        raise Refusal("words must be a dictionary of the word of each class", f"{words!r:.80}", fix)
    if blank := [name for name, word in words.items() if not word.strip()]:
        raise Refusal(f"the class {blank[0]!r} must have a word", repr(words[blank[0]]), "give it one")
    if len(words) < 2:
        raise Refusal("there must be words for two classes at least", dict(words), "give each class a word")
