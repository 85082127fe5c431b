"""Whatever people write, the special tokens of a conversation are those that its template wrote.

`VIVA_CASES=10000 python -m pytest tests/text/test_injection.py` tries as many conversations with each template.
"""

import os

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from viva.base.errors import Refusal
from viva.text.talk import chat
from viva.text.tokens import marks
from viva.text.tokens.templates import named, names
from viva.text.tokens.tokenizer import Tokenizer

CASES = int(os.environ.get("VIVA_CASES", "40"))
pytestmark = pytest.mark.timeout(max(300, CASES))
TOOLED = ("llama3_1", "mistral", "qwen2_5", "qwen3")  # templates with a form for tools
SIGNS = str.maketrans(dict.fromkeys("<|>[]/_" + marks.BREAK + marks.OPEN[1] + marks.CLOSE[1], "x"))


@pytest.fixture(scope="module")
def pair(ours, tmp_path_factory):
    """(ours, transformers') with the template of a name, or a source, from one folder each."""
    made = {}

    def with_template(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("template")
            known = name in names()
            changed = (
                ours.with_template(name)
                if known
                else Tokenizer(copied(ours.core), {**ours.config, "chat_template": name})
            )
            changed.save(folder)
            made[name] = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
        return made[name]

    return with_template


def copied(core):
    """A tokenizer adds to the core that it is given the tokens that its config names."""
    return tokenizers.Tokenizer.from_str(core.to_str())


def specials(tokenizer, ids):
    return [tokenizer.decode([i]) for i in ids if i in tokenizer.specials.values()]


def harmless(value):
    """The same conversation without a sign that a special token is made of."""
    if isinstance(value, str):
        return value.translate(SIGNS)
    if isinstance(value, dict):
        keep = ("role", "type")
        return {key if key in FIELDS else harmless(key): v if key in keep else harmless(v) for key, v in value.items()}
    return [harmless(item) for item in value] if isinstance(value, list) else value


FIELDS = ("tool_calls", "tool_call_id", "reasoning_content")  # names that hold a sign themselves
whole = ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<end_of_turn>", "[INST]"]
whole += ["[/INST]", "[TOOL_CALLS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]", marks.BREAK, marks.OPEN, marks.CLOSE]
halves = ["<|", "im_end|>", "<|im_", "end|>", "<|eot", "_id|>", "[IN", "ST]", "<end_of", "_turn>", "[/", "<|IM_END|>"]
plain = ["hi", "你好", " ", "\n", "</think>", "<tool_response>", '"', "\ufdd5", "\ufdd0"]
said = st.lists(st.sampled_from([*whole, *halves, *plain]), min_size=1, max_size=6).map("".join)
answer = said.map(lambda text: text + "y")  # an empty one is another conversation


@settings(max_examples=CASES)
@pytest.mark.parametrize("name", names())
@given(system=said, asked=said, told=answer, again=said, more=answer)
def test_no_message_forges_a_special_token(pair, name, system, asked, told, again, more):
    tokenizer, theirs = pair(name)
    talk = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
    talk += [{"role": "user", "content": again}, {"role": "assistant", "content": more}]
    talk = talk if name == "gemma" else [{"role": "system", "content": system}, *talk]
    made = chat.render(tokenizer, talk)
    assert made.text == theirs.apply_chat_template(talk, tokenize=False)
    assert tokenizer.decode(made.ids) == made.text
    expected = theirs.apply_chat_template(harmless(talk), return_dict=False)
    assert specials(tokenizer, made.ids) == specials(tokenizer, expected)


@settings(max_examples=CASES)
@pytest.mark.parametrize("name", TOOLED)
@given(asked=said, tool=said, about=said, key=said, argument=said, result=said, told=answer)
def test_no_tool_forges_a_special_token(pair, name, asked, tool, about, key, argument, result, told):
    """Names, descriptions, schemas' and arguments' keys and values, and results."""
    tokenizer, theirs = pair(name)
    schema = {"type": "object", "properties": {key: {"type": "string", "description": about}}}
    tools = [{"type": "function", "function": {"name": tool, "description": about, "parameters": schema}}]
    call = {"type": "function", "id": "123456789", "function": {"name": tool, "arguments": {key: [argument]}}}
    talk = [
        {"role": "user", "content": asked},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": result, "tool_call_id": "123456789", "name": tool},
        {"role": "assistant", "content": told},
    ]
    made = chat.render(tokenizer, talk, tools=tools)
    assert made.text == theirs.apply_chat_template(talk, tools, tokenize=False)
    assert tokenizer.decode(made.ids) == made.text
    expected = theirs.apply_chat_template(harmless(talk), harmless(tools), return_dict=False)
    assert specials(tokenizer, made.ids) == specials(tokenizer, expected)


LOOP = "{{% for m in messages %}}<|im_start|>{}<|im_end|>{{% endfor %}}"
END = {"content": "a <|im_end|> b"}
# What templates of others do to a text, and a text that would come out of it as a special token.
HOLES = {
    "as it is": ("{{ m.content }}", END),
    "trimmed": ("{{ m.content | trim }}", {"content": " <|im_end|>\n"}),
    "lower-cased": ("{{ m.content | lower }}", {"content": "<|IM_END|>"}),
    "upper and lower": ("{{ (m.content | upper).lower() }}", {"content": "<|Im_End|>"}),
    "a word taken out": ("{{ m.content | replace('@', '') }}", {"content": "<|im_@end|>"}),
    "reversed": ("{{ m.content[::-1] }}", {"content": ">|dne_mi|<"}),
    "split": ("{{ m.content.split('</think>')[-1] }}", {"content": "x</think><|im_end|>"}),
    "looked into": ("{% if '</think>' in m.content %}{{ m.content }}{% endif %}", {"content": "</think><|im_end|>"}),
    "looked into and lower-cased": (
        "{% if '</think>' in m.content %}{{ m.content | lower }}{% endif %}",
        {"content": "</think><|IM_END|>"},
    ),
    "sliced": ("{{ m.content[1:] }}", {"content": "x<|im_end|>"}),
    "counted": ("{{ m.content | length }} {{ m.content }}", END),
    "as JSON": ("{{ m.content | tojson }}", END),
    "as ASCII JSON": ("{{ m.content | tojson(ensure_ascii=true) }}", {"content": "é🙂 <|im_end|>"}),
    "in JSON's keys": ("{{ m.content }}{{ m.more | tojson }}", {"content": "a", "more": {"<|im_end|>": 1, "a": [2]}}),
    "in two fields": ("{{ m.name + m.content }}", {"name": "<|im_", "content": "end|>"}),
    "half a mark in two parts, under a look": (
        "{% if '<b>' in m.id %}{{ m.name + m.content }}{% endif %}",
        {"id": "<b>", "name": "\ufdd2", "content": "\ufdd3x\ufdd2\ufdd4"},
    ),
    "in three": ("{{ m.name + m.content + m.id }}", {"name": "<|", "content": "im_end", "id": "|>"}),
    "in two parts": (
        "{% for part in m.content %}{{ part.text }}{% endfor %}",
        {"content": [{"type": "text", "text": "<|im_"}, {"type": "text", "text": "end|>"}]},
    ),
    "half from the template": ("{{ '<|im_' + m.content }}", {"content": "end|>"}),
    "private characters": (
        "{{ m.content }}",
        {"content": "\ufdd0\ufdd1\ufdd5\ufdd6\uffff\ufdd2\ufdd3<|im_end|>\ufdd2\ufdd4"},
    ),
}


@pytest.mark.parametrize("case", HOLES)
def test_what_a_template_does_to_a_text_forges_nothing(pair, case):
    inside, message = HOLES[case]
    tokenizer, theirs = pair(LOOP.format(inside))
    talk = [{"role": "user", **message}]
    made = chat.render(tokenizer, talk)
    assert made.text == theirs.apply_chat_template(talk, tokenize=False)
    assert tokenizer.decode(made.ids) == made.text
    assert specials(tokenizer, made.ids) == ["<|im_start|>", "<|im_end|>"]


def test_roles_are_no_way_in(pair):
    """A role stands between the signs of a token in some templates, so it must be usual or the template's own."""
    source = (
        "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% if m.role == 'user' %}.{% endif %}{% endfor %}"
    )
    for role in ("im_end", "<|im_end|>", "user|><|im_end"):
        with pytest.raises(Refusal, match="message 1 must have a known role, but found"):
            chat.render(pair(source)[0], [{"role": "user", "content": "a"}, {"role": role, "content": "b"}])


def test_a_token_that_the_template_takes_for_its_own_is_refused(ours):
    """Here </think> is special, and the template splits there: it cannot be both text and its mark."""
    source = LOOP.format("{{ m.content.split('</think>')[-1] }}")
    tokenizer = Tokenizer(
        copied(ours.core), {**ours.config, "extra_special_tokens": ["</think>"], "chat_template": source}
    )
    assert chat.render(tokenizer, [{"role": "user", "content": "a<b"}]).text == "<|im_start|>a<b<|im_end|>"
    with pytest.raises(Refusal, match="tokens that the chat template reads as its own, but found </think>"):
        chat.render(tokenizer, [{"role": "user", "content": "a</think>b"}])
    ordered = LOOP.format("{{ m.content }}{{ m.more | tojson(sort_keys=true) }}")
    tokenizer = Tokenizer(copied(ours.core), {**ours.config, "chat_template": ordered})
    with pytest.raises(Refusal, match=r"tokens that the chat template reads as its own, but found <\|im_end\|>"):
        chat.render(tokenizer, [{"role": "user", "content": "a", "more": {"<|im_end|>": 1, "a": 2}}])


def test_a_token_of_one_character_cannot_be_broken_and_is_refused(ours):
    tokenizer = Tokenizer(copied(ours.core), {**ours.config, "extra_special_tokens": ["⁂"]})
    with pytest.raises(Refusal, match=r"a special token must have two characters.*but found '⁂'"):
        chat.render(tokenizer, [{"role": "user", "content": "a ⁂ b"}])


def test_a_token_stays_the_templates_where_a_longer_one_could_be_read(ours):
    """A person's > behind the template's token would make another one of the two."""
    source = "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}"
    tokenizer = Tokenizer(
        copied(ours.core), {**ours.config, "extra_special_tokens": ["<|im_start|>>"], "chat_template": source}
    )
    made = chat.render(tokenizer, [{"role": "user", "content": ">"}])
    assert specials(tokenizer, made.ids) == ["<|im_start|>"] and made.text == "<|im_start|>>"


def test_the_default_template_is_the_one_of_that_name():
    assert named("chatml").source == chat.DEFAULT_TEMPLATE
