"""The units in which texts are as long as they are, whatever the tokenizer; and the script they are written in."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import regex
from fontTools.unicodedata import script, script_name

# What stands between two default word borders of Unicode (UAX 29) and has a letter or a digit in it
WORD = regex.compile(r"\b_*[\p{L}\p{N}].*?\b", regex.WORD | regex.DOTALL)
SHARED = ("Zyyy", "Zinh", "Zzzz")  # characters of several scripts, of the one before them, and of none
KANA = ("Hira", "Kana")  # in one text, most often
SPACES = "written between spaces or signs"
# Scripts whose words stand without a space between them, and what those borders cut them into
CUT = {
    **dict.fromkeys(("Han", "Kana", "Thai", "Lao", "Khmer", "Myanmar", "New Tai Lue", "Tai Le"), "one character"),
    "Tibetan": "one syllable",
    **dict.fromkeys(("Yi", "Javanese", "Balinese"), "a whole phrase"),
}


@dataclass(frozen=True)
class Units:
    """How long texts are: words, characters (code points), bytes (of UTF-8)."""

    texts: int = 0
    words: int = 0
    characters: int = 0
    bytes: int = 0

    def __add__(self, other: "Units") -> "Units":
        return Units(
            self.texts + other.texts,
            self.words + other.words,
            self.characters + other.characters,
            self.bytes + other.bytes,
        )


def units(texts: Iterable[str]) -> Units:
    """How long the texts are together."""
    each = (Units(1, len(words(text)), len(text), len(text.encode())) for text in texts)
    return sum(each, Units())


def words(text: str) -> list[str]:
    """The words of a text by Unicode's default word borders (UAX 29, section 4.1); signs and spaces are none.

    The borders know no dictionary: in a script that is written without spaces a word is what `counted_as` says.

    >>> words("It can't be 32.3, 貓")
    ['It', "can't", 'be', '32.3', '貓']
    """
    return WORD.findall(text)


def counted_as(name: str) -> str:
    """What is counted as a word in the script of that name."""
    return CUT.get(name, SPACES)


def main_script(texts: Iterable[str]) -> str:
    """The name of the script (UAX 24) that most letters of the texts are of; "none" where there are no letters.

    Hiragana and katakana count together, as Kana: that is what most Japanese texts are in.

    >>> main_script(["吾輩は猫である"]), main_script(["白日依山盡"]), main_script(["1, 2"])
    ('Kana', 'Han', 'none')
    """
    letters = Counter()
    for character, count in Counter(chain.from_iterable(texts)).items():
        if character.isalpha() and (code := script(character)) not in SHARED:
            letters["Kana" if code in KANA else script_name(code)] += count
    return letters.most_common(1)[0][0] if letters else "none"
