"""Calls of tools in a reply: whole and in pieces, of every template that writes them."""

import json

import pytest

from viva.base.errors import Refusal
from viva.text.talk import call_form, calls, chat
from viva.text.talk.call_form import Hole
from viva.text.talk.calls import Call
from viva.text.tokens.learn import byte_bpe

ADD = {"type": "function", "function": {"name": "add", "description": "a + b", "parameters": {"type": "object"}}}
TEMPLATES = ["llama3_1", "mistral", "qwen2_5", "qwen3"]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.train(["some words to learn\n" * 3], byte_bpe.Config(vocab_size=270))


def read(form, text, step):
    reader, said, found = calls.Reader(form), "", []
    for at in range(0, len(text), step):
        more, made = reader.push(text[at : at + step])
        said, found = said + more, found + made
    more, made = reader.end()
    return said + more, found + made


def turn(own, made):
    """What a template writes of a turn with these calls, up to its end and without empty thoughts."""
    question = {"role": "user", "content": "hi"}
    described = [
        {"id": f"c0000000{i}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for i, call in enumerate(made)
    ]
    opened = chat.render(own, [question], reply=True, tools=[ADD]).text
    whole = chat.render(own, [question, {"role": "assistant", "tool_calls": described}], tools=[ADD]).text
    [end] = [token for token in own.specials if own.specials[token] in own.stops and token in whole[len(opened) :]]
    return whole[len(opened) :].partition(end)[0].replace("<think>\n\n</think>\n\n", "")


MADE = [Call("add", {"a": 1, "text": "a } and <tool_call> [x]"}), Call("subtract", {"b": {"c": [2, None]}})]


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_writes_is_read_back(tokenizer, name, step):
    own = tokenizer.with_template(name)
    made = MADE[:1] if name == "llama3_1" else MADE  # one call a turn
    assert read(call_form.form(own), turn(own, made), step) == ("", made)


@pytest.mark.parametrize("name", TEMPLATES)
def test_how_a_template_writes_calls_is_known_to_the_character(tokenizer, name):
    """Other calls than those by which it was seen, put together from its pieces."""
    own = tokenizer.with_template(name)
    written = call_form.form(own).written
    assert (written.between is None) == (name == "llama3_1")

    def one(place):
        holes = {Hole.NAME: MADE[place].name, Hole.ARGUMENTS: json.dumps(MADE[place].arguments)}
        return "".join(({Hole.ID: f"c0000000{place}"} | holes).get(piece, piece) for piece in written.call)

    for count in (1,) if written.between is None else (1, 2):
        calls = (written.between or "").join(map(one, range(count)))
        assert written.begin + calls + written.end == turn(own, MADE[:count])


@pytest.mark.parametrize("step", [1, 5, 1000])
@pytest.mark.parametrize(
    ("text", "said", "made"),
    [
        ("I add.\n<tool_call>\n{0}\n</tool_call>\n", "I add.", 1),
        ("<tool_call>{0}</tool_call><tool_call>{0}</tool_call> done", " done", 2),
        ("<tool_call>\n{0}", "", 1),  # cut before it was closed
        ("a < b <tool, or\n\n<tool_ca", "a < b <tool, or\n\n<tool_ca", 0),
        ('so:\n<tool_call>\n{"name": "add", "argu', 'so:\n<tool_call>\n{"name": "add", "argu', 0),
        ('<tool_call>\n{"name": "add"}\n</tool_call>', '<tool_call>\n{"name": "add"}\n</tool_call>', 0),
        (
            '<tool_call>{"name": "add", "arguments": {"a": NaN}}',
            '<tool_call>{"name": "add", "arguments": {"a": NaN}}',
            0,
        ),
    ],
)
def test_what_is_no_call_is_said(tokenizer, text, said, made, step):
    form = call_form.form(tokenizer.with_template("qwen2_5"))
    text = text.replace("{0}", '{"name": "add", "arguments": {"a": 1}}')
    assert read(form, text, step) == (said, [Call("add", {"a": 1})] * made)


def test_without_a_mark_only_a_reply_that_begins_with_a_call_is_one(tokenizer):
    form = call_form.form(tokenizer.with_template("llama3_1"))
    assert form.mark == ""
    for text in ('{"name": 3, "parameters": {}}', 'so {"name": "add", "parameters": {}}', '{"a": 1} and more'):
        assert read(form, text, 1) == (text, [])


def test_a_template_that_writes_no_calls_is_refused(tokenizer):
    must = "a chat template must write calls of tools as JSON objects, for them to be found, but found"
    with pytest.raises(Refusal, match=f"{must} none that it writes"):
        call_form.form(tokenizer.with_template("chatml"))
    with pytest.raises(Refusal, match=f"{must} '<end_of_turn>"):
        call_form.form(tokenizer.with_template("gemma"))
