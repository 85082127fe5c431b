"""The one file of OpenAI's CLIP, bpe_simple_vocab_16e6.txt: a header, then merges, of which the first 48,894 are used.

The vocabulary follows from them: 256 bytes, the same at the end of a word, what each merge makes, two special tokens.
"""

from pathlib import Path
from typing import Any

import tokenizers

from viva.base.errors import Refusal
from viva.text.tokens.read import _byte_level, _clip, _files

FILES = "CLIP's bpe_simple_vocab_16e6.txt"
USED = 49152 - 256 - 2  # merges, as its own code counts them


def find(place: Path) -> Path | None:
    return _files.the_file(place, "bpe_simple_vocab*.txt")


def read(file: Path, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    merges = [tuple(line.split()) for line in _files.lines(file)[1 : USED + 1]]
    if not all(len(pair) == 2 for pair in merges):
        raise Refusal(f"{file} must hold two tokens a line", next(p for p in merges if len(p) != 2), "fetch it again")
    letters = list(_byte_level.CHARACTER.values())
    tokens = [*letters, *(letter + _clip.WORD_END for letter in letters), *(a + b for a, b in merges)]
    vocab = {token: number for number, token in enumerate([*tokens, _clip.START, _clip.END])}
    return _clip.core(vocab, merges), _clip.ROLES | config
