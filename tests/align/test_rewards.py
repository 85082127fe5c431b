"""What replies are worth, by rules that can be checked by hand and by a reward model; and what is refused."""

import math

import pytest
from pydantic import ValidationError

from viva.align.reply import Prompt, Reply
from viva.align.reward import Setting, interpreter, json, judged, length, number, pattern, sum, tags
from viva.base.choice import tagged
from viva.base.errors import Refusal


def reply(text, prompt="What is the value of `3 + 4`?", answer="", tokens=3):
    return Reply(Prompt([1, 2], prompt, answer, 5), [9] * tokens, [-1.0] * tokens, text, True)


def worth(reward, *replies):
    return judged(reward.build(Setting(tokenizer=None)), replies)


def test_the_interpreter_says_what_is_right():
    said = ["7", " 7\n", "8", "", "7 7", "'7'"]
    assert worth(interpreter.Config(), *map(reply, said)) == [1, 1, 0, 0, 0, 0]
    asked = "`1 + 1` is 2. And `sorted([2, 1])`?"
    assert worth(interpreter.Config(), reply("[1, 2]", asked), reply("2", asked)) == [1, 0]


def test_the_interpreter_runs_nothing_but_expressions():
    with pytest.raises(Refusal, match="an expression must stay inside the safe grammar"):
        worth(interpreter.Config(), reply("0", "`__import__('os').getpid()`"))
    with pytest.raises(Refusal, match=r"a prompt must hold an expression between backticks .* found 'Hello'"):
        worth(interpreter.Config(), reply("0", "Hello"))


def test_a_pattern_is_there_or_is_not():
    said = [reply("the cat"), reply("a dog")]
    assert worth(pattern.Config(regex=r"\bcat$"), *said) == [1, 0]
    assert worth(pattern.Config(regex=r"\bcat$", absent=True), *said) == [0, 1]


def test_a_pattern_that_takes_forever_is_refused():
    forever = pattern.Config(regex=r"(a|aa)+$", seconds=0.05)
    with pytest.raises(
        Refusal, match=r"a pattern must be looked for in 0.05 s, but found '\(a\|aa\)\+\$' still at work"
    ):
        worth(forever, reply("a" * 60 + "!"))


def test_a_pattern_that_is_none_is_refused_with_the_recipe():
    with pytest.raises(ValidationError, match="must be a regular expression: missing"):
        pattern.Config(regex="(")


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("<think>2 < 3\nand more</think>\n<answer>7</answer>", 1),
        ("<think></think><answer></answer>", 1),
        ("<answer>7</answer><think>so</think>", 0),
        ("<think>so</think><answer>7</answer> indeed", 0),
        ("<think>so<answer>7</answer>", 0),
        ("<think>a</think><think>b</think><answer>7</answer>", 0),
        ("<think>a<think>b</think><answer>7</answer>", 0),
    ],
)
def test_tags(said, right):
    assert worth(tags.Config(tags=("think", "answer")), reply(said)) == [right]


@pytest.mark.parametrize(
    ("said", "any_value", "with_key"),
    [
        ('{"a": 1, "b": []}', 1, 1),
        ('{"b": 1}', 1, 0),
        ("[1]", 1, 0),
        ("{'a': 1}", 0, 0),
        ('{"a": NaN}', 0, 0),
        ("", 0, 0),
    ],
)
def test_json(said, any_value, with_key):
    assert worth(json.Config(), reply(said)) == [any_value]
    assert worth(json.Config(keys=("a",)), reply(said)) == [with_key]


def test_json_nested_beyond_what_can_be_read_is_worth_nothing():
    assert worth(json.Config(), reply("[" * 100_000)) == [0]


def test_each_token_off_the_target_costs_the_slope():
    said = [reply("", tokens=n) for n in (10, 7, 12)]
    assert worth(length.Config(target=10, slope=0.5), *said) == [0, -1.5, -1]


@pytest.mark.parametrize(
    ("said", "answer", "right"),
    [
        ("She has 5 and 3, so 8.", "3 + 5 = 8\n#### 8", 1),
        ("It costs $1,200.00", "#### 1200", 1),
        ("It costs $1,2007", "#### 1,200", 0),
        ("-4", "#### 4", 0),
        ("7-4", "#### 4", 1),
        ("8 apples of 10", "#### 8", 0),
        ("eight", "#### 8", 0),
    ],
)
def test_the_last_number_counts(said, answer, right):
    assert worth(number.Config(), reply(said, answer=answer)) == [right]


def test_an_answer_without_a_number_is_refused():
    with pytest.raises(Refusal, match=r"the answer of document 5 must hold a number to compare .* found 'none'"):
        worth(number.Config(), reply("3", answer="none"))


def test_a_sum_weighs_its_parts():
    both = sum.Config(rewards=["interpreter", {"kind": "length", "target": 3, "slope": 0.1}], weights=(2.0, 0.5))
    assert worth(both, reply("7"), reply("8", tokens=5)) == pytest.approx([2.0, -0.1])
    assert tagged(both)["rewards"][1] == {"kind": "length", "target": 3, "slope": 0.1}
    with pytest.raises(ValidationError, match="must have a weight for each of 1 rewards, but has 2"):
        sum.Config(rewards=["interpreter"], weights=(1.0, 1.0))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e20, -1e20])
def test_a_reward_of_which_nothing_can_be_learned_is_refused_with_prompt_and_reply(value):
    must = r"a reward must be a finite number from -1e\+09 to 1e\+09, but found (nan|inf|-?1e\+20) for the reply 'b' to"
    with pytest.raises(Refusal, match=rf"{must} .*4`\?'\. To fix it, mend or scale what gives it"):
        judged(lambda replies: [0.0, value], [reply("a"), reply("b")])
