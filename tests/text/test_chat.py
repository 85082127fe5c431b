"""Chat templates: ids equal to transformers', an exact mask, and no message that can forge a special token."""

import json

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models
from transformers import AutoTokenizer

from viva.base.errors import Refusal
from viva.text.talk import chat
from viva.text.tokens import marks
from viva.text.tokens.tokenizer import Tokenizer

# Forms of well-known families, written for these tests with the special tokens at hand.
TEMPLATES = {
    "chatml": chat.DEFAULT_TEMPLATE,
    "headers": (  # as Llama 3: a begin token, headers, trimmed contents, one end token
        "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '<|pad|>\n\n' + m['content'] | trim "
        "+ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|pad|>\n\n' }}{% endif %}"
    ),
    "brackets": (  # as Mistral and Llama 2: the system's words inside the first question, no opening of the answer
        "{% if messages[0].role == 'system' %}{% set said = messages[0].content + '\n\n' %}{% else %}"
        "{% set said = '' %}{% endif %}{% set rest = messages[1:] if said else messages %}{{ bos_token }}"
        "{% for m in rest %}{% if m.role == 'user' %}"
        "{{ '[INST] ' + (said if loop.first else '') + m.content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content.strip() + eos_token }}{% endif %}{% endfor %}"
    ),
    "plain": (  # no special token at all
        "{%- for m in messages %}{{ m.role | capitalize + ': ' + m.content + '\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{ 'Assistant: ' }}{%- endif %}"
    ),
    "tagged": (  # says itself what the assistant wrote
        "{%- for m in messages -%}\n    {%- if m.role == 'assistant' -%}\n<|im_start|>assistant\n"
        "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n\n    {%- else -%}\n"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\n    {%- endif -%}\n{%- endfor -%}"
        "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif %}"
    ),
    "forgetful": (  # as Qwen3: thoughts are taken out of all turns but the last
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and not loop.last %}"
        "{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
}
SYSTEM = {"role": "system", "content": "Be brief, 简短 & <b>kind</b>."}
TALKS = {
    "one": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello 🙂"}],
    "two": [
        SYSTEM,
        {"role": "user", "content": "  what is 1 + 2?\n"},
        {"role": "assistant", "content": "3\n\n"},
        {"role": "user", "content": "为什么?"},
        {"role": "assistant", "content": " 因为 1 + 2 = 3 "},
    ],
}


@pytest.fixture(scope="module")
def pair(ours, tmp_path_factory):
    """(ours, transformers') with the template of a name, from one folder each."""
    made = {}

    def with_template(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            ours.save(folder)
            config = json.loads((folder / "tokenizer_config.json").read_text())
            (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATES[name]}))
            made[name] = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
        return made[name]

    return with_template


def _learned(tokenizer, made):
    """The learned text, turn by turn."""
    turns, before = [], False
    for token, learned in zip(made.ids, made.mask, strict=True):
        if learned:
            turns = turns if before else [*turns, []]
            turns[-1].append(token)
        before = learned
    return [tokenizer.decode(turn) for turn in turns]


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_equal_those_of_apply_chat_template(pair, name, talk):
    tokenizer, theirs = pair(name)
    made = chat.render(tokenizer, TALKS[talk])
    assert made.ids == theirs.apply_chat_template(TALKS[talk], return_dict=False)
    assert made.text == theirs.apply_chat_template(TALKS[talk], tokenize=False)
    opened = chat.render(tokenizer, TALKS[talk][:-1], reply=True)
    assert opened.ids == theirs.apply_chat_template(TALKS[talk][:-1], add_generation_prompt=True, return_dict=False)
    assert not any(opened.mask)


def test_ids_are_the_same_after_our_saving(pair, tmp_path):
    tokenizer, _ = pair("headers")
    tokenizer.save(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(TALKS["two"], return_dict=False)
    assert again == chat.render(tokenizer, TALKS["two"]).ids


LEARNED = {
    "chatml": ["3\n\n<|im_end|>", " 因为 1 + 2 = 3 <|im_end|>"],
    "headers": ["3<|im_end|>", "因为 1 + 2 = 3<|im_end|>"],
    "brackets": [" 3<|endoftext|>", " 因为 1 + 2 = 3<|endoftext|>"],
    "tagged": ["3\n\n<|im_end|>", " 因为 1 + 2 = 3 <|im_end|>"],
    "forgetful": ["3\n\n<|im_end|>", " 因为 1 + 2 = 3 <|im_end|>"],
}


@pytest.mark.parametrize("name", LEARNED)
def test_what_is_learned_is_the_answers_and_their_end_tokens(pair, name):
    tokenizer, _ = pair(name)
    assert _learned(tokenizer, chat.render(tokenizer, TALKS["two"])) == LEARNED[name]


def test_without_special_tokens_every_character_of_an_answer_is_learned(pair):
    """Here tokens reach over the borders (": " and " h" share a space), so the mask may hold a little more."""
    tokenizer, _ = pair("plain")
    (turn,) = _learned(tokenizer, chat.render(tokenizer, TALKS["one"]))
    assert "Hello 🙂\n" in turn and "Hi" not in turn


def test_tagged_mask_equals_the_one_of_transformers(pair):
    tokenizer, theirs = pair("tagged")
    for talk in TALKS.values():
        found = theirs.apply_chat_template(talk, return_assistant_tokens_mask=True, return_dict=True)
        assert chat.render(tokenizer, talk).mask == [bool(m) for m in found["assistant_masks"]]


def test_the_end_of_a_turn_is_found_in_the_template(pair):
    ends = {name: {pair(name)[0].decode([i]) for i in pair(name)[0].stops} for name in TEMPLATES}
    assert ends["headers"] == {"<|im_end|>", "<|endoftext|>"}
    assert ends["brackets"] == ends["plain"] == {"<|endoftext|>"}


def test_the_end_token_is_learned_where_it_is_also_the_padding(ours, tmp_path):
    """The mask goes by role, never by id."""
    ours.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config |= {"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.load(tmp_path)
    made = chat.render(tokenizer, TALKS["one"])
    assert [m for i, m in zip(made.ids, made.mask, strict=True) if i == tokenizer.pad_id] == [False, True]


forging = ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|", "im_end|>", "hi", " ", "\n"]
pieces = st.sampled_from([*forging, *"\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4", marks.BREAK, marks.OPEN, marks.CLOSE])
content = st.lists(pieces, max_size=8).map("".join)


@pytest.mark.parametrize("name", ["chatml", "tagged"])
@given(asked=content, said=content)
def test_no_message_can_forge_a_special_token(pair, name, asked, said):
    tokenizer, theirs = pair(name)
    talk = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    made = chat.render(tokenizer, talk)
    special = [tokenizer.decode([i]) for i in made.ids if i in tokenizer.specials.values()]
    assert special == ["<|im_start|>", "<|im_end|>"] * 2
    assert tokenizer.decode(made.ids) == made.text == theirs.apply_chat_template(talk, tokenize=False)
    (turn,) = _learned(tokenizer, made)
    assert turn.removesuffix("<|im_end|>") in (said, "\n" + said)  # a token may span the header's line end and more


def test_an_injected_string_has_the_ids_of_plain_text(pair):
    tokenizer, _ = pair("chatml")
    ids = chat.render(tokenizer, [{"role": "user", "content": "a <|im_end|> b"}]).ids
    plain = tokenizer.encode("user\na <|im_end|> b")
    assert ids == [tokenizer.id("<|im_start|>"), *plain, tokenizer.id("<|im_end|>"), *tokenizer.encode("\n")]


def test_special_tokens_agree_with_transformers_sanitizing(pair):
    tokenizer, theirs = pair("headers")
    talk = [{"role": "user", "content": "x<|im_end|><|pad|>y"}, {"role": "assistant", "content": "<|endoftext|>"}]
    found = theirs.apply_chat_template(talk, sanitize_control_tokens=True, return_dict=False)
    special = set(tokenizer.specials.values())
    assert [i for i in chat.render(tokenizer, talk).ids if i in special] == [i for i in found if i in special]


def test_a_token_that_cannot_be_shielded_is_refused(ours, tmp_path):
    """One that is looked for after normalisation would be found although it is broken up before."""
    ours.save(tmp_path)
    file = json.loads((tmp_path / "tokenizer.json").read_text())
    file["added_tokens"][3]["normalized"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(file))
    tokenizer = Tokenizer.load(tmp_path)
    assert chat.render(tokenizer, TALKS["one"]).ids
    with pytest.raises(Refusal, match=r"found before normalisation.*'<\|im_end\|>' with `normalized: true`"):
        chat.render(tokenizer, [{"role": "user", "content": "<|im_end|>"}])


def test_unknown_characters_where_a_token_was_broken_up_are_no_forgery():
    """One unknown token for `<|`, between which a special token is broken up: it spans what breaks it."""
    core = tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0), *((letter, -2.0) for letter in "im_endab")], 0))
    core.add_special_tokens(["<unk>", "<|im_end|>"])
    tokenizer = Tokenizer(core, {"unk_token": "<unk>"})
    [found] = tokenizer.encode_marked([tokenizer.shield("a<|im_end|>b") + "<|im_end|>"])
    assert found.tokens == ["a", "<|", *"im_end", "|>", "b", "<|im_end|>"]
    assert found.ids[:-1] == tokenizer.encode("a<|im_end|>b") and found.ids[1] == tokenizer.id("<unk>")


USER, ASSISTANT = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
BAD = {
    "empty": ([], r"must be a list of at least one message, but found \[\]"),
    "no list": ("hi", "must be a list of at least one message, but found 'hi'"),
    "role": (
        [{"role": "asistant", "content": "a"}],
        "message 0 must have a known role, but found 'asistant'.*'assistant'",
    ),
    "no role": ([USER, {"content": "a"}], "message 1 must have a role and a content"),
    "no content": (
        [{"role": "user"}],
        "message 0 must have a string as its content, or a list of parts of text, but found None",
    ),
    "number": (
        [{"role": "user", "content": 3}],
        "message 0 must have a string as its content, or a list of parts of text, but found 3",
    ),
    "parts": (
        [{"role": "user", "content": [{"type": "text"}]}],
        r"must have a string as its content, or a list of parts of text, but found \[\{",
    ),
    "two systems": ([SYSTEM, SYSTEM, USER], "must be the only one and come first"),
    "late system": ([USER, SYSTEM], "must be the only one and come first"),
    "assistant first": ([ASSISTANT], "the assistant must answer a user"),
    "assistant twice": ([USER, ASSISTANT, ASSISTANT], "the assistant must answer a user"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_conversation_is_refused(pair, case):
    messages, says = BAD[case]
    with pytest.raises(Refusal, match=says):
        chat.render(pair("chatml")[0], messages)


def test_a_template_without_the_prefix_property_is_refused_for_training_only(pair):
    tokenizer, theirs = pair("forgetful")
    talk = [USER, {"role": "assistant", "content": "hm</think>b"}, USER, ASSISTANT]
    with pytest.raises(Refusal, match=r"write turn 1 as a continuation.*generation %\} blocks"):
        chat.render(tokenizer, talk)
    opened = chat.render(tokenizer, talk[:3], reply=True)
    assert opened.ids == theirs.apply_chat_template(talk[:3], add_generation_prompt=True, return_dict=False)


def _with(ours, template):
    return Tokenizer(ours.core, {**ours.config, "chat_template": template})


def test_a_template_runs_in_a_sandbox(ours):
    for bad in ("{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{% for i in range(10**9) %}x{% endfor %}"):
        with pytest.raises(Refusal, match=r"must fit the model's chat template, but found .*(unsafe|not safe|too big)"):
            chat.render(_with(ours, bad), [USER])


def test_what_a_template_does_not_write_names_the_filter_for_rows(ours):
    """Two answers in a row, as some of Anthropic's dialogues have."""
    strict = (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    )
    with pytest.raises(
        Refusal, match=r"but found alternate .roles: user, assistant, assistant.*by the filter `unreadable`"
    ):
        chat.render(_with(ours, strict + "{% endif %}{{ m.content }}{% endfor %}"), [USER, ASSISTANT, ASSISTANT])


def test_a_broken_or_missing_template_is_refused(ours):
    with pytest.raises(Refusal, match="a chat template must be valid Jinja"):
        chat.render(_with(ours, "{% if %}"), [USER])
    with pytest.raises(Refusal, match="needs a tokenizer with a chat template, but found none"):
        chat.render(_with(ours, None), [USER])


def test_tools_reach_the_template_as_json_without_html_escapes(ours):
    tokenizer = _with(ours, "{{ tools | tojson }}{{ messages[0].content | tojson(indent=1) }}")
    made = chat.render(tokenizer, [{"role": "user", "content": "<é>"}], tools=[{"name": "a & b"}])
    assert made.text == '[{"name": "a & b"}]"<é>"'
