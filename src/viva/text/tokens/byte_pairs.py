"""Byte-level BPE by tiktoken's core, which encodes several times as fast as `tokenizers`: where it gives the same ids.

The two algorithms are not the same. Byte-pair encoding (Sennrich et al. 2016) merges, again and again, the leftmost
of the pairs of symbols whose *merge* comes first in a list. tiktoken merges the leftmost of the pairs whose *joined
bytes* have the lowest rank, by whichever pair they arise. They agree under a condition that can be checked:

Call a token *reached* if the merges, applied to its own bytes alone, end in it. Give each reached token the rank of
the last of these merges, and no rank to any other token. Then both algorithms take the same steps on every text. For
as long as no merge has crossed two places of a text, the merges between them are those of the bytes between them alone.
So if the symbols x and y stand side by side and x + y is a reached token t, they are the last two symbols on the way of
t alone, and (x, y) is the very merge whose rank t has. If x + y is not reached, (x, y) is no merge. A token that is not
reached never arises.

A tokenizer with `ignore_merges` also takes a piece whole that is a token. tiktoken does so always: for a reached token
that changes nothing. Tokens that are not reached need a rank then; that is harmless where, alone, they end in three
symbols or more, since no two symbols make them, and refused where they end in two.
"""

from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import tokenizers

from viva.text.tokens.byte_level import spelled
from viva.text.tokens.pattern import KINDS, alike
from viva.text.tokens.patterns import GPT2

_BYTES = {bytes([byte]): byte for byte in range(256)}
SPACE = 1 << 18  # tiktoken overflows in a run of 10^6 spaces; none of twice this is given to it


class Unfit(Exception):
    """Why a tokenizer is left to `tokenizers`."""


class BytePairs:
    """The ids of plain text: no added token is looked for. `parts` is the tokenizer.json of `core`.

    Raises `Unfit` where the ids could be others than those of `core`.
    """

    def __init__(self, core: tokenizers.Tokenizer, parts: dict[str, Any]):
        model, pattern = _plain(parts["model"]), _pattern(parts["pre_tokenizer"])
        tokens, self._ids = _ranked(core, model)
        self._normalizer = core.normalizer
        self._encoding = _encoding(pattern, tokens)
        self._sizes = np.zeros(1 + max(model["vocab"].values()), np.int64)
        self._sizes[[model["vocab"][token] for token in tokens]] = [len(token) for token in tokens]

    def encode(self, text: str) -> list[int] | None:
        """The ids of `text`; None where a run of space in it is too long for tiktoken."""
        text = self.normalised(text)
        if _long_space(text):
            return None
        ranks = self._encoding.encode_ordinary(text)
        return ranks if self._ids is None else self._ids[ranks].tolist()

    def normalised(self, text: str) -> str:
        """What the tokenizer's normaliser makes of `text`."""
        return text if self._normalizer is None else self._normalizer.normalize_str(text)

    def sizes(self, ids: list[int]) -> np.ndarray:
        """How many bytes each of `ids` spells, [n]."""
        return self._sizes[ids]


def _encoding(pattern: str, tokens: dict[str, int]) -> Any:
    """tiktoken's encoding with the ranks `tokens`."""
    import tiktoken  # for this kind of tokenizer only

    _require_total(pattern)
    ranks = {spelled(token): rank for token, rank in tokens.items()}
    return tiktoken.Encoding("viva", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


@cache
def _require_total(pattern: str) -> None:
    """tiktoken takes the matches of its pattern and nothing else, so none may be left between them."""
    import tiktoken

    bare = tiktoken.Encoding("bytes", pat_str=pattern, mergeable_ranks=_BYTES, special_tokens={})
    for sign in {*map(chr, range(0x250)), *pattern, *KINDS}:
        for text in (sign, f"{sign}a", f"{sign} ", sign * 2, f" {sign}"):
            if bytes(bare.encode_ordinary(text)) != text.encode():
                raise Unfit(f"its pattern {pattern!r} passes over {sign!r}")


def _plain(model: dict[str, Any]) -> dict[str, Any]:
    """The model, if it is byte-pair encoding over all bytes, without chance and without marks on its tokens."""
    if model["type"] != "BPE":
        raise Unfit(f"its model is {model['type']}")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise Unfit(f"its model has {name}")
    if len({spelled(token) for token in model["vocab"] if len(token) == 1} - {None}) < 256:
        raise Unfit("its vocabulary lacks single bytes")
    return model


def _pattern(splitter: dict[str, Any] | None) -> str:
    """The regular expression by which the pre-tokeniser splits a text before it writes bytes."""
    steps = [splitter] if splitter is None or splitter["type"] != "Sequence" else splitter["pretokenizers"]
    *before, last = steps
    if last is None or last["type"] != "ByteLevel" or last["add_prefix_space"]:
        raise Unfit("its pre-tokeniser is not ByteLevel without a prefix")
    if not before and last["use_regex"]:
        return GPT2
    if len(before) != 1 or before[0]["type"] != "Split" or last["use_regex"]:
        raise Unfit("its pre-tokeniser does not split once")
    way = (before[0]["behavior"], before[0]["invert"])
    pattern = before[0]["pattern"].get("Regex")
    if way not in (("Isolated", False), ("Removed", True)) or pattern is None:
        raise Unfit("its pre-tokeniser does not split into the matches of a pattern")
    if not alike(pattern):
        raise Unfit(f"its pattern {pattern!r} may be read in two ways")
    return pattern


def _ranked(core: tokenizers.Tokenizer, model: dict[str, Any]) -> tuple[dict[str, int], np.ndarray | None]:
    """The tokens that tiktoken may make, each with its rank, and the id of each rank: None where ids serve as ranks, as
    those do that a trainer gave in the order of the merges.
    """
    tokens = [token for token in model["vocab"] if spelled(token) is not None]
    single = [token for token in tokens if len(token) == 1]
    ends = _ends(core, model, [token for token in tokens if len(token) > 1])
    reached = {token for token, symbols in ends.items() if symbols == 1}
    made = (left + right for left, right in model["merges"])
    merged = [token for token, _ in groupby(token for token in made if token in reached)]
    if len(merged) != len(reached):
        raise Unfit("merges that make one token stand apart in its list")
    whole = [token for token in ends if token not in reached] if model["ignore_merges"] else []
    if whole and 2 in ends.values():
        raise Unfit("it ignores merges, and two symbols that are not merged would make a token")
    used = [*single, *merged, *whole]
    ids = [model["vocab"][token] for token in used]
    in_order = ids[len(single) : len(single) + len(merged)]
    if in_order == sorted(in_order):
        return dict(zip(used, ids, strict=True)), None
    return {token: rank for rank, token in enumerate(used)}, np.array(ids)


def _ends(core: tokenizers.Tokenizer, model: dict[str, Any], tokens: list[str]) -> dict[str, int]:
    """In how many symbols the merges end that are applied to each token alone; 1: in itself."""
    bare = core.model
    if model["ignore_merges"]:
        bare = tokenizers.models.BPE(model["vocab"], [tuple(pair) for pair in model["merges"]])
    found = tokenizers.Tokenizer(bare).encode_batch_fast(tokens, add_special_tokens=False)
    return {token: len(encoding) for token, encoding in zip(tokens, found, strict=True)}


def _long_space(text: str) -> bool:
    """Whether there may be a run of twice SPACE: it would hold a block of SPACE that begins at a multiple of it."""
    return any(text[at : at + SPACE].isspace() for at in range(0, len(text) - SPACE + 1, SPACE))
