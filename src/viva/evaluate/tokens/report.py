"""Tokenizers side by side on the texts of many languages: each language, each script, and all of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median

from viva.base.errors import Refusal
from viva.evaluate.tokens.speed import seconds, timed
from viva.evaluate.tokens.tally import Tally, tally
from viva.evaluate.tokens.units import Units, counted_as, main_script, units
from viva.evaluate.tokens.vocabulary import Vocabulary, vocabulary
from viva.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Group:
    """Languages that are counted together, how much text of them there is, and the script of most of them."""

    languages: tuple[str, ...]
    units: Units
    script: str


@dataclass(frozen=True)
class Figures:
    """One tokenizer on one group.

    `per_word`, `per_character`, `per_byte`: tokens for each on the average; `per_word` is None without words.
    `unknown`, `fragments`: the share of tokens that are the unknown one, or bytes and no whole character.
    `hidden`: the share of characters in unknown tokens. These three are None where the vocabulary has no such token.
    `unused`: the share of ordinary ids that were never met. `mb_per_s`: 10^6 bytes of text a second.
    """

    tokens: int
    per_word: float | None
    per_character: float
    per_byte: float
    unknown: float | None
    hidden: float | None
    fragments: float | None
    unused: float
    mb_per_s: float


@dataclass(frozen=True)
class Report:
    """What was found: groups by name, and each tokenizer's vocabulary and figures by the same names."""

    everything: Group
    scripts: dict[str, Group]
    languages: dict[str, Group]
    turns: int
    vocabularies: dict[str, Vocabulary]
    figures: dict[str, dict[Group, Figures]]

    def json(self) -> dict:
        """All of it, as JSON can hold it."""
        return {
            "turns": self.turns,
            "texts": self._by_group(lambda group: asdict(group) | {"a_word_is": counted_as(group.script)}),
            "tokenizers": {
                name: {
                    "ordinary_ids": len(known.ordinary),
                    "unknown_id": known.unknown,
                    "every_byte_has_an_id": known.complete,
                    **self._by_group(lambda group, found=self.figures[name]: asdict(found[group])),
                }
                for name, known in self.vocabularies.items()
            },
        }

    def _by_group(self, told: Callable[[Group], dict]) -> dict:
        return {
            "all": told(self.everything),
            "scripts": {name: told(group) for name, group in self.scripts.items()},
            "languages": {name: told(group) for name, group in self.languages.items()},
        }


def measure(tokenizers: Mapping[str, Tokenizer], languages: Mapping[str, list[str]], turns: int = 5) -> Report:
    """Every tokenizer on every language's texts. Speed is the median of `turns`, each of which every tokenizer takes
    in rotation, on the first 2^20 characters of each language.
    """
    if turns < 1:
        raise Refusal("turns must be at least 1", turns, "give the number of times that every text is timed")
    each = {name: Group((name,), units(texts), main_script(texts)) for name, texts in languages.items()}
    scripts = {name: _together(g for g in each.values() if g.script == name) for name in _scripts(each.values())}
    groups = (everything := _together(each.values()), *scripts.values(), *each.values())
    vocabularies = {name: vocabulary(tokenizer) for name, tokenizer in tokenizers.items()}
    tallies = {
        name: {language: tally(tokenizer, vocabularies[name], texts) for language, texts in languages.items()}
        for name, tokenizer in tokenizers.items()
    }
    some = {language: timed(texts) for language, texts in languages.items()}
    sizes = {language: sum(len(text.encode()) for text in texts) for language, texts in some.items()}
    spent = seconds(tokenizers, some, turns)
    figures = {
        name: {group: _figures(group, tallies[name], vocabularies[name], sizes, spent[name]) for group in groups}
        for name in tokenizers
    }
    return Report(everything, scripts, each, turns, vocabularies, figures)


def _together(groups: Iterable[Group]) -> Group:
    groups = list(groups)
    names = tuple(name for group in groups for name in group.languages)
    return Group(names, sum((group.units for group in groups), Units()), _scripts(groups)[0])


def _scripts(groups: Iterable[Group]) -> list[str]:
    """The scripts of the groups, the one with the most languages first."""
    return [script for script, _ in Counter(group.script for group in groups).most_common()]


def _figures(
    group: Group,
    tallies: Mapping[str, Tally],
    known: Vocabulary,
    sizes: Mapping[str, int],
    spent: Mapping[str, list[float]],
) -> Figures:
    total = sum((tallies[language] for language in group.languages), Tally())
    turns = zip(*(spent[language] for language in group.languages), strict=True)
    has_unknown, has_fragments = known.unknown is not None, known.fragments is not None
    return Figures(
        tokens=total.tokens,
        per_word=_share(total.tokens, group.units.words),
        per_character=total.tokens / group.units.characters,
        per_byte=total.tokens / group.units.bytes,
        unknown=_share(total.unknown, total.tokens) if has_unknown else None,
        hidden=total.hidden / group.units.characters if has_unknown else None,
        fragments=_share(total.fragments, total.tokens) if has_fragments else None,
        unused=1 - len(total.ids & known.ordinary) / len(known.ordinary),
        mb_per_s=sum(sizes[language] for language in group.languages) / median(map(sum, turns)) / 1e6,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
