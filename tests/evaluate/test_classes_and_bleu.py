"""Classes and translations measured: worked examples, and predictions of packed texts as of each alone."""

import pytest
import torch

from viva.base.errors import Refusal
from viva.evaluate.bleu import bleu, by_length
from viva.evaluate.classes import interval, predicted, scores
from viva.model.arch import bert, distilbert, llama, roberta
from viva.model.head import classify
from viva.model.init import initialise
from viva.text.rows.fields import frame
from viva.text.rows.format import classes
from viva.text.rows.row import Row
from viva.text.tokens.learn import byte_bpe


def test_macro_f1_by_hand():
    """Classes 0 and 1: F1 2/3 (precision 1, recall 1/2) and 2/3 (1/2, 1): macro 2/3, accuracy 2/3; class 1 is small."""
    found = scores([0, 0, 1], [0, 1, 1])
    assert found.accuracy == pytest.approx(2 / 3) and found.macro_f1 == pytest.approx(2 / 3)
    assert scores([0, 0, 0, 1], [0, 0, 0, 0]).macro_f1 == pytest.approx((6 / 7 + 0) / 2)


def test_an_interval_by_hand():
    """Mean 2, standard error 1 / sqrt 3, t of two degrees of freedom 4.303."""
    mean, within = interval([1.0, 2.0, 3.0])
    assert mean == 2 and within == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    with pytest.raises(Refusal, match="two values at least, but found 1"):
        interval([1.0])


def test_predictions_are_those_of_each_text_alone():
    tokenizer = byte_bpe.train(["a dog runs and a cat sleeps in the sun"] * 3, byte_bpe.Config(vocab_size=300))
    config = bert.TINY.model_copy(update={"vocab": 300, "head": classify.Config(labels=24, pool="mean")})
    model = initialise(config.spec().build(), seed=4)
    with torch.no_grad():
        model.embedding.weight.mul_(50)  # so that the words decide
    texts = ["a dog", "a cat sleeps", "the sun", "runs", "a dog runs in the sun and sleeps", "cat cat cat"]
    rows = [Row({"text": text, "label": str(n % 3)}, "here:1") for n, text in enumerate(texts)]
    expected, found = predicted(model, tokenizer, classes.Config(labels=("0", "1", "2")), rows)
    before, after = frame(tokenizer)
    alone = [int(model(torch.tensor([[*before, *tokenizer.encode(text), *after]])).argmax()) for text in texts]
    assert found == alone and expected == [0, 1, 2, 0, 1, 2]
    assert len(set(found)) > 1
    long = [Row({"text": "a dog " * 80, "label": "0"}, "here:1")]
    with pytest.raises(Refusal, match="a text to be read whole must have at most 64 tokens"):
        predicted(model, tokenizer, classes.Config(labels=("0",)), long)


@pytest.mark.parametrize("family", [bert, roberta, distilbert, llama])
def test_predictions_of_two_texts_are_those_of_training(family):
    """The second text is the second segment where a model has two, and only there."""
    tokenizer = byte_bpe.train(["a dog runs and a cat sleeps in the sun"] * 3, byte_bpe.Config(vocab_size=300))
    config = family.TINY.model_copy(update={"vocab": 300, "head": classify.Config(labels=24, pool="mean")})
    model = initialise(config.spec().build(), seed=4).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(50)  # so that the words decide
        if family is bert:
            model.encoder.entry.segment.weight.mul_(50)
    pairs = [("a dog", "runs"), ("a cat", "sleeps in the sun"), ("the sun", "a"), ("cat", "dog"), ("in", "in")]
    rows = [Row({"text": one, "pair": two, "label": "0"}, "here:1") for one, two in pairs]
    _, found = predicted(model, tokenizer, classes.Config(pair="pair", labels=("0",)), rows)
    before, after = frame(tokenizer)
    alone, blind = [], []
    for one, two in pairs:
        first, second = [*before, *tokenizer.encode(one), *after], [*tokenizer.encode(two), *after]
        ids, parts = torch.tensor([first + second]), torch.tensor([[0] * len(first) + [1] * len(second)])
        alone.append(int(model(ids, segments=parts if family is bert else None).argmax()))
        blind.append(int(model(ids).argmax()))
    assert found == alone and (found != blind) == (family is bert)


def test_a_row_without_text_is_no_row_to_measure_by():
    tokenizer = byte_bpe.train(["a dog"], byte_bpe.Config(vocab_size=300))
    model = bert.TINY.model_copy(update={"vocab": 300, "head": classify.Config(labels=2)}).spec().build()
    rows = [Row({"text": text, "label": "0"}, f"test.tsv:{n}") for n, text in enumerate(["a dog", "", "a"])]
    with pytest.raises(Refusal, match=r"test\.tsv:1 must have a text to be told a class, but found none"):
        predicted(model, tokenizer, classes.Config(labels=("0", "1")), rows)


def test_bleu_by_hand():
    """Five words, the last of which is wrong: precisions 4/5, 3/4, 2/3, 1/2, no brevity: (1/5)^(1/4) = 66.87."""
    found = bleu(["the cat sat on mats"], ["the cat sat on chairs"], resamples=2)
    assert found.score == pytest.approx(66.874, abs=0.01) and "tok:13a" in found.signature
    with pytest.raises(Refusal, match="a reference each, but found 1 and 2"):
        bleu(["a"], ["a", "b"])


def test_bleu_of_chinese_needs_tokens_of_its_own():
    """Eight characters, the seventh wrong: precisions 7/8, 5/7, 4/6, 3/5, whose product is 1/4: (1/4)^(1/4) = 70.71."""
    said, expected = ["我喜欢红色的猫。"], ["我喜欢红色的狗。"]
    with pytest.raises(
        Refusal, match="set apart by spaces for BLEU by 13a, but found references mostly in Han or kana"
    ):
        bleu(said, expected)
    found = bleu(said, expected, resamples=2, tokenize="zh")
    assert found.score == pytest.approx(70.7107, abs=1e-3) and "tok:zh" in found.signature
    assert by_length(["a b"], said, expected, (), "zh") == {"0+": (1, pytest.approx(70.7107, abs=1e-3))}
    with pytest.raises(Refusal, match="tokenize must be known to sacrebleu, but found 'cn'"):
        bleu(said, expected, tokenize="cn")
    with pytest.raises(Refusal, match="found references mostly in Han or kana"):
        bleu(["我"], ["“我们今天去公园玩，好吗？”他说"])
    apart = ["我 喜欢 红色 的 猫 。"]
    assert bleu(apart, apart, resamples=2).score == pytest.approx(100)
    with pytest.raises(Refusal, match="tokenize must be known to sacrebleu, but found None"):
        bleu(said, expected, tokenize=None)
    assert bleu(["the cat 猫 sat here"], ["the cat 猫 sat here"], resamples=2).score == pytest.approx(100)


def test_bleu_by_the_length_of_the_source():
    sources, said = ["a b", "a b c d", "a"], ["one two three four", "x y z w", "one two three four"]
    found = by_length(sources, said, ["one two three four"] * 3, (3,))
    assert found["0-2"] == (2, pytest.approx(100.0)) and found["3+"][0] == 1 and found["3+"][1] < 10
