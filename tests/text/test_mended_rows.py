"""A conversation that is refused is shown as it should be: accepted when given back, and with all that it said."""

import json
from itertools import product

import pytest

from viva.base.errors import Refusal
from viva.text.rows.format import messages, sharegpt
from viva.text.rows.row import Row, strings
from viva.text.tokens.learn import byte_bpe

ROLES = ["system", "user", "assistant", "critic"]
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "critic": "critic"}
NAMES = {*ROLES, *SPEAKERS.values(), "function_call", "observation", "tool", "text", "function", "add"}
TALKS = [roles for count in (1, 2, 3, 4) for roles in product(ROLES, repeat=count)]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.Config(vocab_size=300).learn(["."])


def mended(form, data: dict, tokenizer) -> dict | None:
    """The row that the refusal of this one shows; None where it is accepted."""
    try:
        form.draft(Row(data, "d.jsonl:1"), tokenizer)
    except Refusal as refusal:
        return json.loads(refusal.fix[refusal.fix.index(": {") + 2 :])
    return None


def words(data: dict) -> list[str]:
    return sorted(part for text in strings(data) if text not in NAMES for part in text.split() if part != "...")


@pytest.mark.parametrize("field", [None, "S"])
def test_any_order_of_speakers_is_mended_without_losing_a_word(tokenizer, field):
    refused = 0
    for roles in TALKS:
        talk = [{"role": role, "content": f"w{place}"} for place, role in enumerate(roles)]
        turns = [{"from": SPEAKERS[each["role"]], "value": each["content"]} for each in talk]
        said = {} if field is None else {"system": field}
        for form, data in (
            (messages.Config(), {"messages": talk}),
            (sharegpt.Config(), {"conversations": turns, **said}),
        ):
            right = mended(form, data, tokenizer)
            if right is not None:
                refused += 1
                assert mended(form, right, tokenizer) is None, right
                assert words(right) == words(data), (data, right)
    assert refused > 400


CALL = {"from": "function_call", "value": '{"name": "add", "arguments": {}}'}
ODD = {
    "a text among messages": (messages, [{"role": "user", "content": "w1"}, "w2"]),
    "a message without a role": (messages, [{"content": "w1"}, {"role": "assistant", "content": "w2"}]),
    "parts in an odd order": (
        messages,
        [{"role": "assistant", "content": [{"type": "text", "text": "w1 "}, {"type": "text", "text": "w2"}]}],
    ),
    "parts of another form": (
        messages,
        [
            {"role": "user", "content": [{"type": "text", "words": ["w1", "w2"]}]},
            {"role": "assistant", "content": "w3"},
        ],
    ),
    "a text alone": (messages, "w1"),
    "a text alone as turns": (sharegpt, "w1"),
    "one message": (messages, {"role": "assistant", "content": "w1"}),
    "a value that is none": (sharegpt, [{"from": "human", "value": None}, {"from": "gpt", "value": "w1"}]),
}


@pytest.mark.parametrize("case", ODD)
def test_texts_in_odd_places_are_kept(tokenizer, case):
    module, talk = ODD[case]
    data = {"messages" if module is messages else "conversations": talk}
    right = mended(module.Config(), data, tokenizer)
    assert right is not None and mended(module.Config(), right, tokenizer) is None
    assert words(right) == words(data)


def test_a_system_message_is_moved_to_the_front_and_two_are_joined(tokenizer):
    talk = [{"role": role, "content": text} for role, text in [("user", "a"), ("system", "s"), ("assistant", "b")]]
    right = mended(messages.Config(), {"messages": talk}, tokenizer)
    assert [(each["role"], each["content"]) for each in right["messages"]] == [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
    ]
    turns = [{"from": who, "value": text} for who, text in [("system", "t"), ("human", "a"), ("gpt", "b")]]
    assert mended(sharegpt.Config(), {"conversations": turns, "system": "s", "id": 1}, tokenizer) == {
        "conversations": [{"from": "system", "value": "s\n\nt"}, *turns[1:]],
        "id": 1,
    }


def test_a_call_stays_a_call(tokenizer):
    tools = tokenizer.with_template("qwen2_5")
    turns = [
        {"from": "human", "value": "a"},
        CALL,
        {"from": "observation", "value": "b"},
        {"from": "gpt", "value": "c"},
    ]
    late = [turns[0], {"from": "system", "value": "s"}, *turns[1:]]
    right = mended(sharegpt.Config(), {"conversations": late}, tools)
    assert right == {"conversations": [late[1], *turns]}
    odd = [turns[0], CALL, turns[2], {"from": "bing", "value": "c"}]
    assert mended(sharegpt.Config(), {"conversations": odd}, tools) == {"conversations": turns}


def test_what_a_template_still_refuses_is_not_shown(tokenizer):
    """A tool's result without its call would need a call that nobody made."""
    talk = [{"role": "tool", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(Refusal, match=r"must follow the assistant's call of it.* as tool_calls\.$"):
        messages.Config().draft(Row({"messages": talk}, "d.jsonl:1"), tokenizer)
