"""Which turns are learned: by role, by what a message says of itself, the last alone."""

import pytest
from brackets import bracketed

from viva.base.errors import Refusal
from viva.text.rows.format import messages
from viva.text.rows.row import Row
from viva.text.talk import chat
from viva.text.talk.chat import Learned
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

TALK = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "一"},
    {"role": "assistant", "content": "二"},
    {"role": "user", "content": "three"},
    {"role": "assistant", "content": "four"},
]
TURN = "<|im_start|>{}\n"
PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content + ' <|im_end|>\n' }}{% endfor %}"
OPENED = PLAIN + "{{ 'assistant: ' if add_generation_prompt else '' }}"


@pytest.fixture(scope="module")
def bytewise():
    return byte_bpe.train(["bytes"], byte_bpe.Config(vocab_size=260))


def says(flags):
    return [{**message, **(flags.get(place) or {})} for place, message in enumerate(TALK)]


E = "<|im_end|>"
CHOICES = {
    "all": (TALK, {}, f"二{E}", f"four{E}"),
    "the last": (TALK, {"turns": "last"}, f"four{E}"),
    "not the first": (says({2: {"weight": 0}}), {}, f"four{E}"),
    "not the last": (says({4: {"train": False}}), {}, f"二{E}"),
    "the last that is learned": (says({4: {"weight": 0.0}}), {"turns": "last"}, f"二{E}"),
    "yes, twice": (says({2: {"weight": 1, "train": True}}), {}, f"二{E}", f"four{E}"),
    "null says nothing": (says({2: {"weight": None}}), {}, f"二{E}", f"four{E}"),
    "none": (says({2: {"weight": 0}, 4: {"weight": 0}}), {}),
}


@pytest.mark.parametrize("case", CHOICES)
def test_turns_are_chosen(bytewise, case):
    talk, fields, *learned = CHOICES[case]
    made = bracketed(bytewise, chat.render(bytewise, talk, learned=Learned(**fields)))
    assert [piece.split("⟧")[0] for piece in made.split("⟦")[1:]] == learned
    for source in (PLAIN, OPENED):  # and where the prefix property says it
        tokenizer = Tokenizer(bytewise.core, {**bytewise.config, "chat_template": source})
        made = bracketed(tokenizer, chat.render(tokenizer, talk, learned=Learned(**fields)))
        head = "" if source == OPENED else "assistant: "
        found = [piece.split("⟧")[0] for piece in made.split("⟦")[1:]]
        assert found == [head + piece.replace(E, f" {E}") for piece in learned]


def test_other_roles_are_learned_with_their_headers(bytewise):
    """Nobody opens a user's turn, so all of it is learned, up to its end token."""
    made = chat.render(bytewise, TALK, learned=Learned(roles=("user", "assistant")))
    assert bracketed(bytewise, made) == (
        f"<|im_start|>system\ns{E}\n⟦<|im_start|>user\n一{E}⟧\n<|im_start|>assistant\n⟦二{E}⟧\n"
        f"⟦<|im_start|>user\nthree{E}⟧\n<|im_start|>assistant\n⟦four{E}⟧\n"
    )
    made = chat.render(bytewise, says({0: {"train": True}, 4: {"train": False}}))
    assert bracketed(bytewise, made) == (
        f"⟦<|im_start|>system\ns{E}⟧\n<|im_start|>user\n一{E}\n<|im_start|>assistant\n⟦二{E}⟧\n"
        f"<|im_start|>user\nthree{E}\n<|im_start|>assistant\nfour{E}\n"
    )


B = "<|endoftext|>"  # begins a document and ends one
BY_HAND = {
    "llama2": (f"⟦{B}[INST] 1? [/INST]⟧ 2 {B}⟦{B}[INST] 3? [/INST]⟧ 4 {B}", f"{B}[INST] 1? [/INST]"),
    "mistral": (f"⟦{B}[INST] 1?[/INST]⟧ 2{B}⟦[INST] 3?[/INST]⟧ 4{B}", f"{B}[INST] 1?[/INST]"),
    "gemma": (
        f"⟦{B}<start_of_turn>user\n1?<end_of_turn>⟧\n<start_of_turn>model\n2<end_of_turn>\n"
        "⟦<start_of_turn>user\n3?<end_of_turn>⟧\n<start_of_turn>model\n4<end_of_turn>\n",
        f"{B}<start_of_turn>user\n1?<end_of_turn>",
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_token_that_begins_a_turn_does_not_end_it(bytewise, name):
    """Where one token is the begin and the end, as in GPT-2 and in every vocabulary that is trained here."""
    tokenizer, (whole, first) = bytewise.with_template(name), BY_HAND[name]
    talk = [
        {"role": role, "content": said}
        for role, said in zip(["user", "assistant"] * 2, ("1?", "2", "3?", "4"), strict=True)
    ]
    assert bracketed(tokenizer, chat.render(tokenizer, talk, learned=Learned(roles=("user",)))) == whole
    talk[0], talk[1], talk[3] = talk[0] | {"train": True}, talk[1] | {"weight": 0}, talk[3] | {"weight": 0}
    made = bracketed(tokenizer, chat.render(tokenizer, talk))
    assert made == whole.replace("⟦", "").replace("⟧", "").replace(first, f"⟦{first}⟧", 1)


@pytest.mark.parametrize(("name", "last"), [("vicuna", "USER: 1? "), ("alpaca", "### Instruction:\n1?")])
def test_a_first_question_is_learned_with_what_stands_before_it(bytewise, name, last):
    tokenizer = bytewise.with_template(name)
    talk = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "2"}]
    made = bracketed(tokenizer, chat.render(tokenizer, talk, learned=Learned(roles=("user",))))
    assert made.startswith(f"⟦{B}") and made.count("⟦") == 1 and made.partition("⟧")[0].endswith(last)
    with_system = [{"role": "system", "content": "Be brief."}, *talk]
    made = bracketed(tokenizer, chat.render(tokenizer, with_system, learned=Learned(roles=("system",))))
    assert made.partition("⟧")[0].strip() == f"⟦{B}Be brief."


def test_an_empty_reply_is_learned_to_its_end(bytewise):
    tokenizer = Tokenizer(bytewise.core, {**bytewise.config, "chat_template": OPENED.replace(" <|im", "<|im")})
    talk = [TALK[1], {"role": "assistant", "content": ""}]
    assert bracketed(tokenizer, chat.render(tokenizer, talk)) == f"user: 一{E}\nassistant: ⟦{E}⟧\n"


def test_a_turn_that_goes_on_otherwise_than_it_was_opened_is_learned_from_there(bytewise):
    """As in minimind's template, where a reply is opened with empty thoughts, and a turn may have some."""
    source = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
        "{{ '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{% endif %}"
    )
    tokenizer = Tokenizer(bytewise.core, {**bytewise.config, "chat_template": source})
    talk = [TALK[1], {**TALK[2], "reasoning_content": "hm"}, TALK[3], TALK[4]]
    assert bracketed(tokenizer, chat.render(tokenizer, talk)) == (
        f"<|im_start|>user\n一{E}\n<|im_start|>assistant\n<think>\n⟦hm\n</think>\n\n二{E}⟧\n"
        f"<|im_start|>user\nthree{E}\n<|im_start|>assistant\n<think>\n\n</think>\n\n⟦four{E}⟧\n"
    )


def test_a_message_with_an_end_token_in_it_is_learned_to_its_own_end(bytewise):
    talk = [TALK[1], {"role": "assistant", "content": f"so{E}on"}]
    tokenizer = Tokenizer(bytewise.core, {**bytewise.config, "chat_template": OPENED})
    assert bracketed(tokenizer, chat.render(tokenizer, talk)) == f"user: 一 {E}\nassistant: ⟦so{E}on {E}⟧\n"


BAD = {
    "half": (
        {2: {"weight": 0.5}},
        "weight of message 2 must be 0 or 1, since a token is learned or not, but found 0.5",
    ),
    "a word": ({2: {"train": "yes"}}, "train of message 2 must be 0 or 1.*but found 'yes'"),
    "both": ({2: {"train": True, "weight": 0}}, "train and weight of message 2 must say the same"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_message_says_must_be_clear(bytewise, case):
    flags, message = BAD[case]
    with pytest.raises(Refusal, match=message):
        chat.render(bytewise, says(flags))


def test_blocks_that_are_no_turns_cannot_be_chosen_from(bytewise):
    source = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% generation %}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    tokenizer = Tokenizer(bytewise.core, {**bytewise.config, "chat_template": source})
    assert bracketed(tokenizer, chat.render(tokenizer, TALK)) == f"s一⟦二{E}⟧three⟦four{E}⟧"
    with pytest.raises(Refusal, match=r"one \{% generation %\} block for each.*but found 4 blocks for 2 turns"):
        chat.render(tokenizer, TALK, learned=Learned(turns="last"))


TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {}}}]


def test_rows_have_tools_as_a_list_or_as_text(bytewise):
    tokenizer, asked = bytewise.with_template("qwen3"), TALK[3:]
    form = messages.Config()
    texts = [
        tokenizer.decode(form.example(Row({"messages": asked, **more}, "d:1"), tokenizer).ids)
        for more in (
            {"tools": TOOLS},
            {"tools": '[{"type": "function", "function": {"name": "add", "parameters": {}}}]'},
        )
    ]
    assert texts[0] == texts[1] and '{"name": "add", "parameters": {}}' in texts[0]
    without = [
        Row({"messages": asked, **more}, "d:1") for more in ({}, {"tools": []}, {"tools": "[]"}, {"tools": None})
    ]
    assert {tokenizer.decode(form.example(row, tokenizer).ids)[:20] for row in without} == {"<|im_start|>user\nthr"}


def test_bad_tools_and_rows_without_a_learned_turn_are_refused_with_their_place(bytewise):
    form = messages.Config(learned={"turns": "last"})
    with pytest.raises(Refusal, match="d:7 must have valid JSON where 'tools' says tools and calls, but found"):
        form.draft(Row({"messages": TALK, "tools": "[{"}, "d:7"), bytewise)
    with pytest.raises(Refusal, match="d:7, the field 'messages': the chat template must write the tool 'add'"):
        form.draft(Row({"messages": TALK, "tools": TOOLS}, "d:7"), bytewise)
    silent = says({2: {"weight": 0}, 4: {"weight": 0}})
    with pytest.raises(
        Refusal,
        match="d:7, the field 'messages' must have a turn to learn, of the assistant, but found the roles system",
    ):
        form.draft(Row({"messages": silent}, "d:7"), bytewise)
