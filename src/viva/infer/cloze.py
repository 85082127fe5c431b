"""Classes told by a masked language model that fills a gap (pattern-exploiting training, Schick and Schütze 2021,
https://arxiv.org/abs/2001.07676, section 3.1): a pattern makes of a text x one with a gap, a verbaliser v has a word
for each class l, and with M the scores of the gap's tokens

    q(l | x) = exp M(v(l)) / sum over l' of exp M(v(l'))
"""

from collections.abc import Iterator, Mapping, Sequence

from viva.base.errors import Refusal
from viva.infer.classify import Prediction, prediction
from viva.infer.fill import mask_token
from viva.infer.pattern import TEXT, WORD, require_pattern
from viva.infer.spelled import until_gap
from viva.infer.together import read_together, require_fit
from viva.model.whole import Whole
from viva.text.rows.fields import frame
from viva.text.tokens.tokenizer import Tokenizer


def cloze(
    model: Whole,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    pattern: str,
    words: Mapping[str, str],
    seen: bool = True,
) -> list[Prediction]:
    """The class of each text; `words` has one for each class, which must be one token where the gap of `pattern` is.
    The mask token in the gap is `seen` by all tokens, or by none.
    """
    require_pattern(pattern, words)
    mask = mask_token(tokenizer)
    ids = _tokens(tokenizer, pattern, [*words.values()], mask)
    if len(set(ids)) < len(ids):
        raise Refusal("each class must have a word of its own", ", ".join(words.values()), "choose other words")
    before, after = frame(tokenizer)
    read = [[*before, *_pieces(tokenizer, pattern, text, mask), *after] for text in texts]
    require_fit(model, "a text within its pattern", max(map(len, read), default=0))
    gap, found = tokenizer.id(mask), []
    at = iter(read)
    for scores in read_together(model, read, unseen=None if seen else gap):
        row = 0
        while row < scores.shape[1]:
            own = next(at)
            words_here = scores[0, row + own.index(gap), ids].float().softmax(-1)
            found.append(prediction(words_here.tolist(), list(words)))
            row += len(own)
    return found


def _pieces(tokenizer: Tokenizer, pattern: str, text: str, gap: str) -> list[int]:
    """The ids of the pattern with a text and what fills its `gap`. Of special tokens only a mask in the gap counts."""
    before, after = (part.replace(TEXT, text) for part in pattern.split(WORD))
    [found] = tokenizer.encode_marked([until_gap(tokenizer, before) + gap + tokenizer.shield(after)])
    return found.ids


def _tokens(tokenizer: Tokenizer, pattern: str, words: Sequence[str], mask: str) -> list[int]:
    """The token that each word is where the gap is."""
    tried = list(_tried(tokenizer, pattern, words, mask))
    found = min(tried, key=lambda each: each.count(None))
    if None in found:
        raise _no_token(tokenizer, pattern, words, mask, words[found.index(None)])
    unknown = tokenizer.words.get("unk_token")
    if unknown is not None and tokenizer.id(unknown) in found:
        word = words[found.index(tokenizer.id(unknown))]
        raise Refusal(f"the word {word!r} must be in the vocabulary", "the unknown token", "choose another word")
    return found


def _no_token(tokenizer: Tokenizer, pattern: str, words: Sequence[str], mask: str, word: str) -> Refusal:
    """That a word is not one token in the gap, and what would be."""
    filled, gapped = (len(_pieces(tokenizer, pattern, "", gap)) for gap in (tokenizer.shield(word), mask))
    counted = "other tokens beside it" if filled == gapped else f"{filled - gapped + 1} tokens"
    fix, wide = "choose another word for its class", pattern.replace(f" {WORD}", f"  {WORD}")
    if _fit(tokenizer, pattern, [each.strip() for each in words], mask):
        fix = f"write {word.strip()!r}: the pattern has the space"
    elif _fit(tokenizer, wide, words, mask):
        fix = f"write {wide!r}: the space before this word is a token of its own, and the mask takes in one"
    return Refusal(f"the word {word!r} must be one token in the gap of {pattern!r}", counted, fix)


def _fit(tokenizer: Tokenizer, pattern: str, words: Sequence[str], mask: str) -> bool:
    """Whether each word is one token in the gap."""
    return any(None not in found for found in _tried(tokenizer, pattern, words, mask))


def _tried(tokenizer: Tokenizer, pattern: str, words: Sequence[str], mask: str) -> Iterator[list[int | None]]:
    """For each way to write the pattern with a word the token that each stands for in the mask's place; None where a
    word changes others too. One way must serve all words, for their gap is read once.
    """
    gapped = _pieces(tokenizer, pattern, "", mask)
    place = gapped.index(tokenizer.id(mask))
    for each in _written(tokenizer, pattern):
        read = [_pieces(tokenizer, each, "", tokenizer.shield(word)) for word in words]
        others = [*gapped[:place], *gapped[place + 1 :]]
        same = [len(ids) == len(gapped) and [*ids[:place], *ids[place + 1 :]] == others for ids in read]
        yield [ids[place] if alike else None for ids, alike in zip(read, same, strict=True)]


def _written(tokenizer: Tokenizer, pattern: str) -> list[str]:
    """The pattern as a text with a word has it: behind its spaces or, of two, behind one, where the mask takes in the
    other, which the word may not hold.
    """
    once = pattern.replace(f"  {WORD}", f" {WORD}")
    return [pattern, once] if tokenizer.by_use and once != pattern else [pattern]
