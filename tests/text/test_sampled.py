"""Splits drawn at random: by the probabilities that the papers give, of the same text, the same for a seed."""

from collections import Counter
from itertools import combinations, pairwise
from math import exp
from random import Random

import pytest
import tokenizers
from prose import CHINESE, CODE, ENGLISH, TEXTS
from tokenizers import decoders, models, pre_tokenizers, trainers

from viva.base.errors import Refusal
from viva.text.cache import documents
from viva.text.rows.corpus import files
from viva.text.rows.format import text as plain_text
from viva.text.talk.chat import draft
from viva.text.tokens.example import encode
from viva.text.tokens.grow import Config as Grow
from viva.text.tokens.grow import grow
from viva.text.tokens.learn import bpe, byte_bpe, unigram, word
from viva.text.tokens.sampled import Sampled, backward_sampled, dropped_out
from viva.text.tokens.tokenizer import Tokenizer

SCORES = {"a": -1.0, "b": -1.5, "ab": -2.0, "ba": -3.0, "aba": -4.0}
RANKS = {("a", "b"): 0, ("ab", "a"): 1, ("b", "a"): 2}


@pytest.fixture(scope="module", params=[bpe, byte_bpe, unigram], ids=lambda module: module.__name__.rpartition(".")[2])
def plain(request):
    return request.param.Config(vocab_size=900).learn(list(TEXTS.values()))


def test_a_split_of_unigram_is_as_frequent_as_its_probability():
    splits = [_pieces("aba", cuts) for n in range(3) for cuts in combinations((1, 2), n)]
    weights = {split: exp(0.5 * sum(SCORES[piece] for piece in split)) for split in splits}
    scores, draw = {piece: 0.5 * score for piece, score in SCORES.items()}, Random(1)
    found = Counter(tuple(backward_sampled("aba", scores, 3, draw)) for _ in range(20_000))
    for split, weight in weights.items():
        assert found[split] / 20_000 == pytest.approx(weight / sum(weights.values()), abs=0.012)  # 3 sigma


def test_a_long_word_is_split_though_its_probability_is_below_every_number():
    """As a Chinese paragraph is, which has no spaces; by the number of pairs that a chain of such splits has."""
    scores, length = {"词": -2.0, "词词": -4.0}, 3000  # all splits are as likely: e^-6000
    pieces = backward_sampled("词" * length, scores, 2, Random(3))
    assert "".join(pieces) == "词" * length
    golden = (1 + 5**0.5) / 2  # of the splits of n there are Fibonacci(n + 1), so a piece is single with 1 / golden
    assert pieces.count("词") / len(pieces) == pytest.approx(1 / golden, abs=0.032)  # 3 sigma


def _pieces(word: str, cuts: tuple[int, ...]) -> tuple[str, ...]:
    places = [0, *cuts, len(word)]
    return tuple(word[a:b] for a, b in pairwise(places))


def test_a_split_of_bpe_is_as_frequent_as_its_merges_are_passed_over():
    """Of "aba" with p = 0.3, by hand. First step: "ab" is kept (0.7), or else "ba" (0.3 * 0.7), or nothing (0.09)."""
    draw = Random(2)
    found = Counter(tuple(dropped_out("aba", RANKS, 0.3, draw)) for _ in range(20_000))
    by_hand = {("aba",): 0.7 * 0.7, ("ab", "a"): 0.7 * 0.3, ("a", "ba"): 0.3 * 0.7, ("a", "b", "a"): 0.09}
    for split, share in by_hand.items():
        assert found[split] / 20_000 == pytest.approx(share, abs=0.012)


def test_bpe_with_no_merge_passed_over_is_the_plain_one_and_with_all_characters():
    tokenizer = byte_bpe.Config(vocab_size=900).learn([ENGLISH])
    never = Sampled(tokenizer, seed=0, rate=1e-12)
    assert never.sample(CODE) == tokenizer.encode(CODE)
    assert len(Sampled(tokenizer, seed=0, rate=1).sample(CODE)) == len(CODE.encode())


@pytest.mark.parametrize("text", [ENGLISH, CODE, CHINESE, "a<|im_end|>b <0x41> ж👩‍👧 ", ""])
def test_splits_differ_by_seed_and_are_of_the_same_text(plain, text):
    drawn = [Sampled(plain, seed, 0.3).sample(text) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] and (len(text) < 100 or drawn[0] != drawn[2])
    assert {plain.decode(ids) for ids in drawn} == {text}
    assert not set(plain.specials.values()) & {number for ids in drawn for number in ids}


@pytest.mark.parametrize("kind", [bpe, unigram])
def test_unknown_characters_stay_unknown(kind):
    tokenizer = kind.Config(vocab_size=400, byte_fallback=False).learn([ENGLISH])
    drawn = Sampled(tokenizer, 1, 0.3).sample("the ж option 词")
    assert (
        drawn.count(tokenizer.id("<|unk|>")) == tokenizer.encode("the ж option 词").count(tokenizer.id("<|unk|>")) == 2
    )


def test_added_tokens_stay_whole(plain):
    """As special ones do; what stands around them is split."""
    grown = grow(plain, Grow(tokens=("numpyx", "詞元"), special=("<|tool|>",))).tokenizer
    text = "the option 詞元 of numpyx训练"
    for seed in range(5):
        ids = Sampled(grown, seed, 0.4).sample(text)
        assert grown.decode(ids) == text == grown.decode(grown.encode(text))
        assert [ids.count(grown.id(token)) for token in ("numpyx", "詞元")] == [1, 1]
    marked = Sampled(grown, 1, 0.4).encode_marked(["<|tool|>詞元"])[0]
    assert marked.ids == [grown.id("<|tool|>"), grown.id("詞元")] and marked.offsets == [(0, 8), (8, 10)]


def test_the_mark_of_a_word_s_end_is_no_character():
    """As in CLIP, where the last symbol of a word is a character and its mark (https://arxiv.org/abs/1508.07909)."""
    core = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Whitespace(), decoders.BPEDecoder("</w>")
    trainer = trainers.BpeTrainer(vocab_size=400, end_of_word_suffix="</w>", show_progress=False)
    core.train_from_iterator([ENGLISH], trainer)
    tokenizer, text = Tokenizer(core, {}), " ".join(ENGLISH.split()[:40])
    assert Sampled(tokenizer, 0, 1e-12).sample(text) == tokenizer.encode(text)
    assert tokenizer.decode(Sampled(tokenizer, 0, 0.5).sample(text)) == tokenizer.decode(tokenizer.encode(text))
    symbols = [core.id_to_token(number) for number in Sampled(tokenizer, 0, 1).sample("the a")]
    assert symbols == ["t", "h", "e</w>", "a</w>"]


def test_the_same_characters_are_learned(plain):
    """A conversation's loss mask covers the same text, whatever the split."""
    talk = [{"role": "user", "content": "the option"}, {"role": "assistant", "content": "训练 the value of it"}]
    learned = []
    for tokenizer in (plain, *(Sampled(plain, seed, 0.4) for seed in range(5))):
        [example] = encode(tokenizer, [draft(tokenizer, talk)])
        learned.append(plain.decode([n for n, wanted in zip(example.ids, example.mask, strict=True) if wanted]))
    assert set(learned) == {"训练 the value of it<|im_end|>"}


def test_a_token_cache_is_of_one_sampling(plain, tmp_path):
    (tmp_path / "a.txt").write_text(ENGLISH, encoding="utf-8")
    corpus, form = files.Config(path=str(tmp_path / "a.txt")), plain_text.Config()
    made = [documents.build(corpus, form, t, tmp_path / "c") for t in (plain, Sampled(plain, 1), Sampled(plain, 2))]
    assert len({tuple(docs[0][0].tolist()) for docs in made}) == len({docs.folder for docs in made}) == 3
    assert len({plain.decode(docs[0][0].tolist()) for docs in made}) == 1


def test_refusals(plain):
    with pytest.raises(Refusal, match="the rate of sampling must be above 0 and at most 1, but found 0"):
        Sampled(plain, 1, 0)
    with pytest.raises(Refusal, match="more than one split of a word to draw from, but found WordLevel"):
        Sampled(word.Config(vocab_size=50).learn([ENGLISH]), 1)
    marked = Tokenizer(tokenizers.Tokenizer(models.BPE(continuing_subword_prefix="##")), {})
    with pytest.raises(Refusal, match="but found BPE with a mark in front of what goes on a word"):
        Sampled(marked, 1)
