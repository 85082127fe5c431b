"""What is measured of a reward model: beside scipy, by hand, and of models made to have a fault."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from viva.align import vouched
from viva.base.errors import Notice, Refusal
from viva.evaluate.reward import baselines
from viva.evaluate.reward.beside import beside
from viva.evaluate.reward.flags import RARELY
from viva.evaluate.reward.measures import calibration, length, share, told_right
from viva.evaluate.reward.page import page
from viva.evaluate.reward.plot import draw
from viva.evaluate.reward.report import measure
from viva.evaluate.reward.scored import Pairs, Scored, Side, score
from viva.model.arch import bert, llama
from viva.model.head import regress
from viva.model.init import initialise
from viva.text.rows.format.preference import Config as Format
from viva.text.rows.row import Row
from viva.text.tokens.learn import byte_bpe

FORM = Format(plain=True)


def pairs(chosen, rejected):
    """Pairs of answers of so many tokens each."""
    sides = [tuple(Side(" ".join(["word"] * n), int(n)) for n in both) for both in zip(chosen, rejected, strict=True)]
    return Pairs(
        [f"d.jsonl:{n}" for n in range(1, len(sides) + 1)], sides, [((n,), (-1 - n,)) for n in range(len(sides))]
    )


def made(margins, chosen=None, rejected=None):
    """The report on a model with these margins; answers have lengths that say nothing unless told."""
    random, n = np.random.default_rng(0), len(margins)
    chosen = random.integers(5, 50, n) if chosen is None else chosen
    rejected = random.integers(5, 50, n) if rejected is None else rejected
    scored = Scored(pairs(chosen, rejected), np.stack([np.asarray(margins) / 2, -np.asarray(margins) / 2], 1))
    return measure("d.jsonl", FORM, scored), scored


def said(report, what):
    return [flag for flag in report.flags if flag.startswith(what)]


@pytest.mark.parametrize(("right", "count"), [(8, 10), (0, 7), (7, 7), (612, 1045)])
def test_the_interval_is_wilson_s(right, count):
    found = share(np.arange(count) < right)
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_two_answers_of_one_worth_are_told_by_a_coin():
    assert told_right(np.array([2.0, 0.0, -1.0])).tolist() == [1, 0.5, 0]


def test_calibration_by_hand():
    """Two pairs of confidence 0.6, one told right, and two of 0.9, both told right: (|0.5 - 0.6| + |1 - 0.9|) / 2."""
    odds = [math.log(p / (1 - p)) for p in (0.6, 0.9)]
    found = calibration(np.array([odds[0], -odds[0], odds[1], odds[1]]))
    assert [(of.count, of.accuracy) for of in found.bins] == [(2, 0.5), (2, 1.0)]
    assert [of.confidence for of in found.bins] == pytest.approx([0.6, 0.9])
    assert found.error == pytest.approx(0.1) and found.confidence == pytest.approx(0.75)


def test_a_certain_model_has_a_bin():
    [only] = calibration(np.array([1e3, 1e3])).bins
    assert (only.high, only.count, only.confidence) == (1.0, 2, 1.0)


def test_length_by_hand():
    """Rewards that rank as lengths do; the one pair whose shorter answer is chosen is told wrong, and of three ways in
    which one of three can be, this is one.
    """
    found = length(np.array([[3.0, 1.0], [5.0, 2.0], [0.0, 4.0]]), np.array([[30, 10], [50, 20], [5, 40]]))
    assert found.correlation == pytest.approx(1) and found.apart == pytest.approx(1)
    assert found.judges == pytest.approx(2 / 3) and found.model == 1
    assert (found.long.value, found.long.count, found.short.value, found.short.count) == (1, 2, 0, 1)
    assert found.chance == pytest.approx(1 / 3)


def test_a_model_beside_a_baseline_is_mcnemar_s_test():
    ours, theirs = np.array([1] * 9 + [-1] + [1] * 5), np.array([-1] * 9 + [1] + [1] * 5)
    found = beside(ours, theirs)
    assert found.ahead == pytest.approx(8 / 15) and found.chance == pytest.approx(binomtest(9, 10).pvalue)
    assert found.accuracy.value == pytest.approx(6 / 15)


# ------------------------------------------------------------------------------------------------- faults, made


def test_a_model_without_a_fault_is_told_none():
    """It is right as often as it says, whatever the length."""
    random = np.random.default_rng(1)
    margins = random.normal(0, 2, 4000)
    margins = np.where(random.random(4000) < 1 / (1 + np.exp(-np.abs(margins))), np.abs(margins), -np.abs(margins))
    report, _ = made(margins)
    assert not report.flags and report.calibration.error < 0.03


def test_length_bias_is_flagged_where_it_is_made():
    """Truth and length, which do not know each other: one follows the truth alone, the other one is lured by length."""
    random = np.random.default_rng(2)
    chosen, rejected = random.integers(5, 100, (2, 600))
    truth = random.normal(1, 1, 600)
    fair, _ = made(truth, chosen, rejected)
    lured, _ = made(truth + 0.03 * (chosen - rejected), chosen, rejected)
    short, _ = made(truth - 0.03 * (chosen - rejected), chosen, rejected)
    heavily, briefly = (made(truth + by * (chosen - rejected), chosen, rejected)[0] for by in (0.06, -0.06))
    assert not said(fair, "length bias") and not said(fair, "it follows")
    assert "it prefers the longer one in" in said(lured, "length bias")[0]
    assert "it prefers the shorter one in" in said(short, "length bias")[0]
    assert "the longer an answer, the more it is worth" in said(heavily, "it follows length")[0]
    assert "the shorter an answer, the more it is worth" in said(briefly, "it follows length")[0]


def test_rewards_that_know_nothing_of_length_have_no_bias_whatever_judges_choose():
    """Judges who choose the longer answer 7 times of 10; a bound of 1 % is passed in about 1 % of 200 trials."""
    random, found = np.random.default_rng(4), []
    for _ in range(200):
        lengths = np.sort(random.integers(10, 300, (1000, 2)), axis=1)[:, ::-1]
        lengths = np.where(random.random((1000, 1)) < 0.7, lengths, lengths[:, ::-1])
        found.append(length(random.normal(0, 0.1, (1000, 2)), lengths).chance < RARELY)
    assert sum(found) <= 6


def judged(longer, n=1000):
    """By how many tokens the chosen answer is longer, of n pairs: that often it is."""
    random = np.random.default_rng(5)
    return random.integers(1, 80, n) * np.where(np.arange(n) < longer * n, 1, -1)


def flagged(margins, longer):
    return [flag for flag in made(margins, 100 + longer, np.full(len(longer), 100))[0].flags if "length" in flag]


@pytest.mark.parametrize("often", [0.75, 0.8, 0.9, 0.2, 0.1])
def test_what_judges_prefer_is_not_held_against_a_model_that_is_always_right(often):
    """Their choices lend it a correlation with length, whether all pairs are told as clearly or some more."""
    longer = judged(often)
    for margins in (np.ones(1000), np.random.default_rng(6).exponential(1, 1000), np.abs(longer) / 40):
        assert not flagged(margins, longer)
        assert not flagged(np.where(np.arange(1000) % 20, margins, -margins), longer)  # nor where 1 of 20 is told wrong
    assert abs(length(np.stack([margins, 0 * margins], 1), np.stack([longer, 0 * longer], 1)).apart) > 0.45


@pytest.mark.parametrize("often", [0.75, 0.9])
def test_a_model_that_knows_length_alone_is_flagged_whatever_judges_choose(often):
    longer, share, wrong = judged(often), f"{often:.1%}", round(1000 * (1 - often))
    bias, follows = [flag for flag in flagged(longer / 40, longer) if not flag.startswith("not better")]
    assert bias == (
        "length bias: where the shorter answer is chosen it tells 0.0% right, else 100.0%; it prefers the longer one "
        f"in 100.0% of the pairs, the judges in {share}, which chance brings with p = {2 * 0.5**wrong:.2g}"
    )
    assert follows.startswith(
        "it follows length more than the judges: the longer an answer, the more it is worth (rank"
    )
    assert flagged(longer / 40, -longer)[0].startswith("length bias: where the longer answer is chosen it tells 0.0% ")


def test_a_model_that_prefers_length_less_than_the_judges_is_not_said_to_prefer_it():
    """80 % right of 900 whose longer answer is chosen, and 50 % of the other 100: it prefers the longer in 77 %."""
    longer = judged(0.9)
    right = np.concatenate([np.arange(900) % 5 > 0, np.arange(100) % 2 > 0])
    assert not flagged(np.where(right, 1.0, -1.0), longer)
    [said] = flagged(np.where(np.concatenate([np.arange(900) % 5 > 0, np.full(100, True)]), 1.0, -1.0), longer)
    assert said == (
        "length bias: where the longer answer is chosen it tells 80.0% right, else 100.0%; it prefers the shorter one "
        f"in 28.0% of the pairs, the judges in 10.0%, which chance brings with p = {2 * 0.5**180:.2g}"
    )


def leaning(short, long, n=2000):
    """What is said of length of a model that tells so many pairs wrong of the 46 % whose shorter answer is chosen, and
    of the others.
    """
    longer = -judged(0.46, n)
    right = np.arange(n) >= np.where(longer < 0, short, 920 + long)
    return flagged(np.where(right, 1.0, -1.0), longer)


def test_a_lean_beyond_the_judges_is_one_that_chance_does_not_bring():
    """Of 920 and 1,080 pairs it tells 408 and 390 wrong: surely more of the former, and prefers the longer answer in
    54.9 % where judges do in 54.0 %, which a coin for each of these 798 does too; not so for 520 and 390.
    """
    assert binomtest(408, 798).pvalue > 0.5 and not leaning(408, 390)
    [said] = leaning(520, 390)
    assert said.endswith(
        f"the longer one in 60.5% of the pairs, the judges in 54.0%, which chance brings with p = "
        f"{binomtest(520, 910).pvalue:.2g}"
    )
    assert not leaning(440, 390)  # p = 0.089


def test_where_answers_are_equally_long_nothing_is_told_by_length():
    report, _ = made([2.0] * 9 + [-1.0] * 3, np.ones(12, int), np.ones(12, int))
    assert report.length is None and list(report.baselines) == ["a bag of words"]
    text = page(report)
    assert "Both answers of every pair are equally long: there is nothing to tell by length." in text
    assert "nan" not in text and json.loads(json.dumps(report.json(), allow_nan=False))["length"] is None


def test_where_the_longer_answer_is_always_chosen_the_page_has_no_share_of_the_others():
    report, _ = made([2.0] * 9 + [-1.0] * 3, np.full(12, 9), np.full(12, 5))
    assert "| told right where the shorter answer is chosen | there is no such pair |" in page(report)
    assert "nan" not in page(report) and json.dumps(report.json(), allow_nan=False)


def test_pairs_that_were_learned_from_are_counted_and_said():
    _, scored = made([2.0] * 9 + [-1.0] * 3)
    some = scored.pairs.some(np.arange(12) < 5)
    told = measure("d.jsonl", FORM, scored, scored.pairs, trained=some)
    assert (told.trained, told.taught, told.learned) == (5, 12, 12)
    assert told.flags[:2] == [
        "5 of these 12 pairs are in the data that it was trained on: they do not tell what it is worth on others",
        "the baselines learned from 12 of these 12 pairs: they tell more of them right than of others, and the model's "
        "lead is too small",
    ]
    assert "Of these, 5 are in the data that the model was trained on." in page(told)
    assert "The baselines learned from 12 pairs, 12 of them these." in page(told)
    none = measure("d.jsonl", FORM, scored, some, trained=scored.pairs.some(np.arange(12) > 20))
    assert (none.trained, none.taught) == (0, 5) and len(
        [flag for flag in none.flags if " of these 12 pairs" in flag]
    ) == 1
    why = Refusal("a file must be there", "none", "give one")
    assert "is not known: a file must be there, but found none." in page(measure("d", FORM, scored, trained=why))


def test_length_itself_is_not_better_than_length():
    random = np.random.default_rng(3)
    chosen, rejected = random.integers(20, 100, 300), random.integers(5, 85, 300)
    report, _ = made(0.1 * (chosen - rejected), chosen, rejected)
    assert said(report, "not better than the longer answer: +0.0 points, which chance brings with p = 1")
    assert said(report, "it follows length more than the judges: the longer an answer, the more it is worth (rank corr")


def test_a_length_baseline_is_called_by_the_answer_that_it_takes():
    """Chosen answers are the shorter ones, by tokens from 1 to 300; or 2 of 5 are, which not all parts say alike."""
    random = np.random.default_rng(3)
    chosen, rejected = random.integers(1, 100, 300), random.integers(100, 300, 300)
    report, _ = made(rejected - chosen, chosen, rejected)
    assert report.baselines["the shorter answer"].accuracy.value == 1 and "the longer answer" not in report.baselines
    assert said(report, "not better than the shorter answer: +0.0 points")
    assert "| the shorter answer | 100.0 % [" in page(report)
    assert "the longer answer" in made(chosen, rejected, chosen)[0].baselines
    either = pairs([1, 1, 9, 9, 1], [5] * 5)
    assert baselines.which_length(either, None) == "the longer or the shorter answer"
    assert baselines.margins(baselines.by_length, either, None).tolist() == [-4, -4, -4, -4, -4]
    assert baselines.which_length(either, pairs([9], [5])) == "the longer answer"


def test_chance_and_worse_are_flagged():
    coin = np.tile([1.0, -1.0], 50)
    assert said(made(coin)[0], "at chance: 50.0 % [40.4, 59.6] of the pairs are told right, which a coin does too")
    assert said(made(-np.ones(50))[0], "it prefers the rejected answer: 0.0 % [0.0, 7.1]")


def test_confidence_beyond_accuracy_is_flagged():
    margins = np.tile([9.0, 9.0, 9.0, -9.0], 50)
    assert said(made(margins)[0], "overconfident: its mean confidence is 100.0%, but 75.0 % [68.6, 80.5]")
    assert not said(made(margins / 9)[0], "overconfident")


# ------------------------------------------------------------------------------------------------- baselines


def words(*both):
    sides = [tuple(Side(text, len(text)) for text in pair) for pair in both]
    return Pairs(["d:1"] * len(sides), sides, [((n,), (-1 - n,)) for n in range(len(sides))])


def test_a_bag_of_words_knows_the_words_of_the_chosen_answers():
    train = words(*[("thank you", "go away"), ("you are kind", "away with it")] * 3)
    test = words(("thank them", "away"), ("away", "thank them"), ("unheard of", "never met"))
    assert np.sign(baselines.by_words(train, test)).tolist() == [1, -1, 0]
    chinese = words(*[("谢谢你", "走开"), ("谢谢大家", "快走")] * 3)
    assert baselines.by_words(chinese, words(("非常谢谢", "他走了")))[0] > 0


def test_the_length_that_is_chosen_is_learned():
    assert baselines.by_length(pairs([9, 8], [3, 4]), pairs([5], [2])).tolist() == [3]
    assert baselines.by_length(pairs([3, 4], [9, 8]), pairs([5], [2])).tolist() == [-3]


def test_without_pairs_to_learn_from_each_part_is_told_by_the_others():
    """Pairs whose words occur once are told by nothing: were they learned from, they would be known."""
    alone = words(*[(f"a{n}x", f"b{n}x") for n in range(10)])
    assert baselines.margins(baselines.by_words, alone, None).tolist() == [0] * 10
    assert (baselines.margins(baselines.by_words, alone, alone) > 0).all()
    with pytest.raises(Refusal, match=r"pairs must be 5 at least for a baseline .* found 4"):
        baselines.margins(baselines.by_words, words(*[("a", "b")] * 4), None)


# ------------------------------------------------------------------------------------------------- models


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.train(["some words to merge, some words to learn\n" * 3], byte_bpe.Config(vocab_size=300))


def model(family, tokenizer, **changes):
    changes = {"vocab": tokenizer.vocab_size, "context": 64, "head": regress.Config(), **changes}
    return initialise(family.TINY.model_copy(update=changes).spec().build(), 1)


def rows(*pairs):
    return [
        Row({"prompt": "some ", "chosen": one, "rejected": other}, f"d.jsonl:{n}")
        for n, (one, other) in enumerate(pairs, 1)
    ]


GIVEN = rows(("words to learn", "x"), ("merge", "some words"))


@pytest.mark.parametrize("family", [bert, llama])
def test_answers_are_read_as_training_reads_them(family, tokenizer):
    found = model(family, tokenizer)
    scored = score(found, tokenizer, FORM, GIVEN)
    for row, rewards, sides in zip(GIVEN, scored.rewards, scored.pairs.sides, strict=True):
        for reward, side, name in zip(rewards, sides, ("chosen", "rejected"), strict=True):
            ids = [tokenizer.bos_id] if tokenizer.bos_id is not None else []
            ids += [*tokenizer.encode("some " + row.data[name]), tokenizer.eos_id]
            assert reward == pytest.approx(found(torch.tensor([ids])).item(), abs=1e-5)
            assert side.text.strip() == row.data[name]


@pytest.mark.parametrize(
    ("changes", "given", "sentence"),
    [
        ({"head": None}, GIVEN, "a model must have the head regress to tell values, but found the head lm"),
        ({}, [], "a reward model must be measured on pairs of answers of at most 64 tokens, but found none"),
        (
            {"context": 8},
            rows(("words", "some words " * 9)),
            r"d\.jsonl:1, a prompt with its answer, must have at most 8",
        ),
        ({}, rows(("x", "x")), r"d\.jsonl:1 must have two answers that differ"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes, given, sentence, tokenizer):
    with pytest.raises(Refusal, match=sentence):
        score(model(llama, tokenizer, **changes), tokenizer, FORM, given)


def test_pairs_that_are_too_long_are_left_out_where_that_is_asked(tokenizer):
    given = [*GIVEN, *rows(("words", "some words " * 40))]
    found = model(llama, tokenizer)
    scored = score(found, tokenizer, FORM, given, drop=True)
    assert scored.left_out == 1 and scored.pairs.where == ["d.jsonl:1", "d.jsonl:2"]
    np.testing.assert_allclose(scored.rewards, score(found, tokenizer, FORM, GIVEN).rewards)


def test_rows_that_cannot_be_read_are_left_out_where_that_is_asked(tokenizer):
    given = [GIVEN[0], Row({"prompt": "some ", "chosen": "words"}, "d.jsonl:7"), GIVEN[1]]
    found = model(llama, tokenizer)
    with pytest.raises(Refusal, match=r"d\.jsonl:7 must have the field 'rejected'"):
        score(found, tokenizer, FORM, given)
    with pytest.warns(Notice, match=r"1 of 3 rows cannot be read and are left out, such as d\.jsonl:7 must have"):
        scored = score(found, tokenizer, FORM, given, drop=True)
    assert (scored.unread, scored.left_out, scored.pairs.where) == (1, 0, ["d.jsonl:1", "d.jsonl:2"])
    np.testing.assert_allclose(scored.rewards, score(found, tokenizer, FORM, GIVEN).rewards)
    assert "1 more rows cannot be read and are left out." in page(measure("d", FORM, scored, scored.pairs))


def test_rewards_that_are_constant_or_no_numbers_are_refused(tokenizer):
    found = model(llama, tokenizer)
    with torch.no_grad():
        found.head.out.weight.zero_()
    with pytest.raises(Refusal, match="a reward must tell answers apart, but found 0 for all of 4 answers"):
        score(found, tokenizer, FORM, GIVEN)
    with torch.no_grad():
        found.head.out.weight.fill_(torch.nan)
    with pytest.raises(Refusal, match="a model's scores must be finite, but found NaN or infinity"):
        score(found, tokenizer, FORM, GIVEN)


# ------------------------------------------------------------------------------------------------- the page


def test_the_page_says_what_the_numbers_are(tmp_path):
    report, scored = made([2.0] * 15 + [-3.0] + [-1.0] * 4)
    text = page(report)
    assert "20 pairs of d.jsonl, read by the format preference, plain True." in text
    assert "| the model | 75.0 % [53.1, 88.8] |" in text
    first, second = (text.index(f"d.jsonl:{n}:") for n in (16, 17))
    assert first < second and "- chosen, worth -1.50, " in text[first:]
    assert json.loads(json.dumps(report.json()))["accuracy"]["count"] == 20
    draw(report, scored, tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_of_other_weights_is_none(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    assert "has no report: `viva reward report" in vouched.remarks(tmp_path)[0]
    told = {"weights": vouched.weights(tmp_path), "flags": ["at chance"]}
    (tmp_path / vouched.FILE).write_text(json.dumps(told))
    assert vouched.remarks(tmp_path) == [f"the reward model {tmp_path}: at chance"]
    (tmp_path / "model.safetensors").write_bytes(b"other")
    assert "is of other weights: make it again" in vouched.remarks(tmp_path)[0]
    (tmp_path / vouched.FILE).write_text("{}")
    with pytest.raises(Refusal, match=r"reward_report\.json must be a report of a reward model, but found 'weights'"):
        vouched.remarks(tmp_path)
