"""Verified tasks: the answers are the interpreter's, the grammar is closed, held-out operands are new."""

import json
import random
import re
import subprocess
import sys

import pytest

from viva.base.errors import Refusal
from viva.text.rows.corpus import tasks
from viva.text.rows.expression import evaluate, verify
from viva.text.rows.tasks import FAMILIES, is_held_out, task


@pytest.fixture(scope="module")
def drawn():
    """Twenty expressions of each family."""
    rng = random.Random(0)
    return {name: [family(rng) for _ in range(20)] for name, family in FAMILIES.items()}


def test_answers_equal_those_of_another_interpreter(drawn):
    expressions = [expression for family in drawn.values() for expression in family]
    code = "import json, sys; print(json.dumps([repr(eval(e)) for e in json.load(sys.stdin)]))"
    run = [sys.executable, "-I", "-c", code]
    made = subprocess.run(run, input=json.dumps(expressions), capture_output=True, text=True, check=True)
    assert json.loads(made.stdout) == [repr(evaluate(expression)) for expression in expressions]


def test_rows_ask_for_their_expression_and_answer_it():
    for row in tasks.Config(count=64).rows():
        asked, answered = (message["content"] for message in row.data["messages"])
        (shown,) = re.findall("`(.*)`", asked)
        assert shown == row.data["expression"] and verify(shown, answered) and row.data["task"] in FAMILIES


def test_families_take_turns():
    rows = list(tasks.Config(count=32, families=("add", "join")).rows())
    assert [row.data["task"] for row in rows] == ["add", "join"] * 16


def test_held_out_operands_are_never_trained_on():
    train, held = (list(tasks.Config(count=3000, held_out=side).rows()) for side in (False, True))
    operands = [
        {" ".join(sorted(re.findall(r"\w+", row.data["expression"]))) for row in side} for side in (train, held)
    ]
    assert not operands[0] & operands[1]
    assert {row.data["task"] for row in held} == set(FAMILIES)


def test_the_side_is_a_function_of_the_operands_and_not_of_their_order():
    assert len({is_held_out(e) for e in ("3 + 5", "5 + 3", "5 - 3")}) == 1
    assert {is_held_out(f"{a} + {b}") for a in range(20) for b in range(20)} == {True, False}


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_has_enough_settings_for_held_out_ones(name):
    rng = random.Random(1)
    settings = {FAMILIES[name](rng) for _ in range(6000)}
    held = [e for e in settings if is_held_out(e)]
    assert len(settings) >= 500 and len(held) >= 60
    assert max(len(repr(evaluate(e))) for e in settings) <= 20


@pytest.mark.parametrize("name", FAMILIES)
def test_no_answer_is_right_most_of_the_time(name):
    """A model that always says the same cannot look able: no answer is as frequent as 60 %."""
    rng = random.Random(2)
    answers = [task(name, True, rng).answer for _ in range(400)]
    assert max(map(answers.count, set(answers))) < 0.6 * len(answers)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "().__class__.__bases__",
        "'a'.upper.__self__",
        "'a'.format(1)",
        "len.__name__",
        "len",
        "[x for x in range(10)]",
        "sum(x for x in [1])",
        "(lambda: 1)()",
        "9 ** 9 ** 9",
        "1 << 9999",
        "[0] * 9999 * 9999",
        "'a' * 9999",
        "'%9999d' % 1",
        "10001",
        "1.5",
        "b'a'",
        "...",
        "f'{1}'",
        "sorted([1], key=len)",
        "max(*[1, 2])",
        "(x := 1)",
        "{**{}}",
        "True if (yield) else 1",
        "eval('1')",
        "1; 2",
        "import os",
        "",
        "1 +",
        "\x00",
        "(" * 130,
        "-" * 110 + "x",
    ],
)
def test_what_is_outside_of_the_grammar_is_refused_before_it_runs(expression):
    with pytest.raises(Refusal, match=r"must (stay inside the safe grammar|be a Python expression|have at most 120)"):
        evaluate(expression)


@pytest.mark.parametrize("expression", ["1 // 0", "[1][3]", "{'a': 1}['b']", "1 + 'a'", "max([])", "'a'.find()"])
def test_an_expression_without_a_value_is_refused(expression):
    with pytest.raises(Refusal, match="must have a value, but found"):
        evaluate(expression)


def test_verify_compares_with_what_the_interpreter_prints():
    assert verify("'ab'.upper()", " 'AB'\n") and verify("3 < 5", "True") and verify("[1] + [2]", "[1, 2]")
    assert not verify("'ab'.upper()", "AB") and not verify("3 < 5", "1") and not verify("1 + 1", "__import__('os')")
