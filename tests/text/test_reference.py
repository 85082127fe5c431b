"""The readable algorithms against the library `tokenizers`: the same vocabularies, merges, scores and ids."""

import json
from collections import Counter

import pytest
import tokenizers
from prose import TEXTS
from scipy.special import digamma
from tokenizers import Regex, models, pre_tokenizers, trainers

from viva.text.tokens.learn import wordpiece as fast_wordpiece
from viva.text.tokens.reference import bpe, unigram, wordpiece

WORDS = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(r" ?\S+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
    ]
)


def words(text: str) -> Counter[str]:
    return Counter(word for word, _ in WORDS.pre_tokenize_str(text))


def fast(model, trainer, text: str) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(model)
    core.pre_tokenizer = WORDS
    core.train_from_iterator([text], trainer)
    return core


def parts(core: tokenizers.Tokenizer) -> dict:
    return json.loads(core.to_str())["model"]


def by_id(vocab: dict[str, int]) -> list[str]:
    return sorted(vocab, key=vocab.get)


@pytest.mark.parametrize("name", TEXTS)
def test_bpe_learns_and_encodes_as_tokenizers_does(name):
    text, size = TEXTS[name], len(set(TEXTS[name])) + 120
    core = fast(models.BPE(), trainers.BpeTrainer(vocab_size=size, min_frequency=2, show_progress=False), text)
    found = {tuple(word): count for word, count in words(text).items()}
    vocabulary, merges = bpe.learn(found, sorted(set("".join(words(text)))), size)
    assert vocabulary == by_id(parts(core)["vocab"])
    assert merges == [tuple(merge) for merge in parts(core)["merges"]] and len(merges) > 50
    for word in words(text):
        assert list(bpe.encode(tuple(word), merges)) == [token.value for token in core.model.tokenize(word)]


def test_bpe_merges_as_in_the_paper():
    """Sennrich et al. 2016, algorithm 1, on the words of its listing: "est", "lo" and "newest" are found."""
    paper = {"l o w </w>": 5, "l o w e r </w>": 2, "n e w e s t </w>": 6, "w i d e s t </w>": 3}
    counts = {tuple(word.split()): count for word, count in paper.items()}
    alphabet = sorted({symbol for word in counts for symbol in word})
    vocabulary, merges = bpe.learn(counts, alphabet, len(alphabet) + 8)
    assert vocabulary[len(alphabet) :][2:5] == ["est</w>", "lo", "low"] and "newest</w>" in vocabulary
    assert bpe.encode((*"lowest", "</w>"), merges) == ("low", "est</w>")


@pytest.mark.parametrize("name", TEXTS)
def test_wordpiece_learns_and_encodes_as_tokenizers_does(name):
    text = TEXTS[name]
    config = fast_wordpiece.Config(vocab_size=2 * len(set(text)) + 150, coverage=1)
    learned = config.learn([text])
    cut = pre_tokenizers.Sequence(config.cut)
    found = Counter(word for word, _ in cut.pre_tokenize_str(text))
    letters = sorted(set("".join(found)))
    first = [*config.specials, *("##" + letter for letter in letters), *letters]
    vocabulary = wordpiece.learn(found, first, config.vocab_size)
    assert vocabulary == by_id(learned.core.get_vocab()) and len(vocabulary) > len(first) + 50
    for word in [*found, "zzzж", "relearned"]:
        assert (wordpiece.encode(word, set(vocabulary)) or ["<|unk|>"]) == learned.core.encode(word).tokens


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("more", [30, 60])
def test_unigram_learns_as_tokenizers_does(name, more):
    """The same pieces, and the same scores but for rounding; characters that no best split needs have in `tokenizers`
    scores in the order of a hash.
    """
    text, size = TEXTS[name], len(set(TEXTS[name])) + more
    core = fast(models.Unigram(), trainers.UnigramTrainer(vocab_size=size, show_progress=False), text)
    theirs, ours = dict(map(tuple, parts(core)["vocab"])), unigram.learn(words(text), size)
    assert ours.keys() == theirs.keys() and len(ours) == size
    idle = {
        piece for piece in ours if len(piece) == 1 and ours[piece] < min(ours.values()) + unigram.STEP * len(set(text))
    }
    for piece in ours.keys() - idle:
        assert ours[piece] == pytest.approx(theirs[piece], abs=1e-9)
    assert sum(len(piece) > 1 for piece in ours) >= more


@pytest.mark.parametrize("name", TEXTS)
def test_unigram_splits_as_tokenizers_does(name):
    size = len(set(TEXTS[name])) + 120
    core = fast(models.Unigram(), trainers.UnigramTrainer(vocab_size=size, show_progress=False), TEXTS[name])
    scores = dict(map(tuple, parts(core)["vocab"]))
    for word in words(TEXTS[name]):
        ours, theirs = unigram.split(word, scores), [token.value for token in core.model.tokenize(word)]
        # of two splits that are equally probable, either is right
        assert sum(map(scores.get, ours)) == pytest.approx(sum(map(scores.get, theirs)), abs=1e-9)
        assert "".join(ours) == "".join(theirs) == word


def test_expected_counts_are_those_of_all_splits_written_out():
    scores = {"a": -1.0, "b": -1.5, "ab": -2.0, "ba": -3.0, "aba": -4.0}
    splits = [("a", "b", "a"), ("ab", "a"), ("a", "ba"), ("aba",)]
    weights = [2.718281828459045 ** sum(map(scores.get, split)) for split in splits]
    for piece, count in unigram.expected({"aba": 3}, scores).items():
        by_hand = sum(weight * split.count(piece) for weight, split in zip(weights, splits, strict=True))
        assert count == pytest.approx(3 * by_hand / sum(weights))


def test_each_round_raises_the_likelihood():
    """Expectation and maximisation never lower it (Dempster et al. 1977), once the digamma's prior is small."""
    found = {word: 1000 * count for word, count in words(TEXTS["english"]).items()}
    scores, before = unigram.seeds(found), float("-inf")
    for _ in range(4):
        after = sum(count * _likelihood(word, scores) for word, count in found.items()) / sum(found.values())
        assert after > before
        scores, before = unigram.maximised(unigram.expected(found, scores)), after


def _likelihood(word: str, scores: unigram.Scores) -> float:
    from numpy import logaddexp

    before = [0.0] + [float("-inf")] * len(word)
    for start, end, _, score in unigram.lattice(word, scores):
        before[end] = logaddexp(before[end], before[start] + score)
    return before[-1]


@pytest.mark.parametrize("x", [0.5, 1, 3.3, 7, 1000])
def test_digamma(x):
    assert unigram.digamma(x) == pytest.approx(digamma(x), abs=1e-9)
