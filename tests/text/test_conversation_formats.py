"""Rows of conversations, preferences and judged answers: the text they become, with what is learned in brackets."""

import json
import warnings

import pytest

from viva.base.errors import Refusal
from viva.text.cache import documents
from viva.text.preflight.check import check
from viva.text.preflight.report import Part
from viva.text.preflight.tally import Tally
from viva.text.rows.corpus import files
from viva.text.rows.format import alpaca, kto, messages, preference, prompt, sharegpt
from viva.text.rows.row import Row
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

USER, ASSISTANT, SYSTEM = ("<|im_start|>" + role + "\n" for role in ("user", "assistant", "system"))
END = "<|im_end|>"


def _shown(tokenizer, ids, mask):
    """The text of ids, each stretch that is learned in brackets."""
    pieces, learned = [], False
    for number, is_learned in zip(ids, mask, strict=True):
        pieces.append("[" if is_learned > learned else "]" if learned > is_learned else "")
        pieces.append(tokenizer.core.id_to_token(number) if number in set(tokenizer.specials.values()) else number)
        learned = is_learned
    text, held = "", []
    for piece in [*pieces, "]" if learned else ""]:
        if isinstance(piece, int):
            held.append(piece)
        elif piece:
            text, held = text + tokenizer.decode(held) + piece, []
    return text + tokenizer.decode(held)


def _one(tokenizer, form, data):
    made = form.example(Row(data, "d.jsonl:1"), tokenizer)
    return _shown(tokenizer, made.ids, made.mask)


def _two(tokenizer, form, data):
    made = form.example(Row(data, "d.jsonl:1"), tokenizer)
    sides = [slice(made.cut), slice(made.cut, None)]
    return [_shown(tokenizer, made.ids[side], made.mask[side]) for side in sides]


TALK = [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "二"}] * 2


def test_sharegpt_becomes_messages(ours):
    turns = f"{USER}1+1?{END}\n{ASSISTANT}[二{END}]\n" * 2
    assert _one(ours, sharegpt.Config(), {"conversations": TALK}) == turns
    system = f"{SYSTEM}Be brief.{END}\n"
    assert _one(ours, sharegpt.Config(), {"conversations": TALK, "system": "Be brief."}) == system + turns
    first = {"from": "system", "value": "Be brief."}
    assert _one(ours, sharegpt.Config(), {"conversations": [first, *TALK]}) == system + turns


def test_alpaca_has_a_system_and_a_history(ours):
    row = {"instruction": "b", "input": "", "output": "c", "system": "s", "history": [["x", "y"], ["z", "中"]]}
    expected = f"{SYSTEM}s{END}\n{USER}x{END}\n{ASSISTANT}[y{END}]\n{USER}z{END}\n{ASSISTANT}[中{END}]\n"
    assert _one(ours, alpaca.Config(), row) == f"{expected}{USER}b{END}\n{ASSISTANT}[c{END}]\n"
    named = alpaca.Config(instruction="q", output="a")
    assert _one(ours, named, {"q": "b", "a": "c"}) == f"{USER}b{END}\n{ASSISTANT}[c{END}]\n"


# A template that shows tools and calls as JSON, so that what reaches a template can be read in the text.
TOOLS = (
    "{%- if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}"
    "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def calling(ours):
    return Tokenizer(ours.core, ours.config | {"chat_template": TOOLS})


ADD = {"name": "add", "parameters": {"type": "object"}}
FUNCTION = json.dumps([{"type": "function", "function": ADD}])
CALL = '{"name": "add", "arguments": {"a": 1}}'


def test_tools_and_calls_of_sharegpt_are_those_of_messages(calling):
    turns = [
        {"from": "human", "value": "1+1?"},
        {"from": "function_call", "value": CALL},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "It is 2."},
    ]
    expected = (
        f'{FUNCTION}{USER}1+1?{END}\n{ASSISTANT}[[{{"type": "function", "function": {CALL}}}]{END}]\n'
        f"<|im_start|>tool\n2{END}\n{ASSISTANT}[It is 2.{END}]\n"
    )
    for tools in (json.dumps([ADD]), [ADD], FUNCTION):
        assert _one(calling, sharegpt.Config(), {"conversations": turns, "tools": tools}) == expected
    without = _one(calling, sharegpt.Config(), {"conversations": turns, "tools": ""})
    assert without == expected.removeprefix(FUNCTION)


def test_parts_of_a_message_are_its_words_thoughts_and_calls(calling):
    parts = [
        {"type": "reasoning", "value": "Add."},
        {"type": "text", "value": "So:"},
        {"type": "tool_call", "value": CALL},
    ]
    talk = [{"role": "user", "content": [{"type": "text", "value": "1+1?"}]}, {"role": "assistant", "content": parts}]
    expected = f'{USER}1+1?{END}\n{ASSISTANT}[So:(Add.)[{{"type": "function", "function": {CALL}}}]{END}]\n'
    assert _one(calling, messages.Config(), {"messages": talk}) == expected


USERS, GOOD, BAD = ({"role": r, "content": c} for r, c in (("user", "2+2?"), ("assistant", "四"), ("assistant", "5")))
SHARE = [{"from": "human", "value": "2+2?"}]
SPELLINGS = {
    "texts": {"prompt": "2+2?", "chosen": "四", "rejected": "5"},
    "lists": {"prompt": [USERS], "chosen": [GOOD], "rejected": [BAD]},
    "implicit": {"chosen": [USERS, GOOD], "rejected": [USERS, BAD]},
    "prompt twice": {"prompt": "2+2?", "chosen": [USERS, GOOD], "rejected": [USERS, BAD]},
    "sharegpt": {
        "conversations": SHARE,
        "chosen": {"from": "gpt", "value": "四"},
        "rejected": {"from": "gpt", "value": "5"},
    },
    "hh prompt": {"prompt": "\n\nHuman: 2+2?\n\nAssistant:", "chosen": " 四", "rejected": " 5"},
    "hh prompt, not opened": {"prompt": "\n\nHuman: 2+2?", "chosen": "四", "rejected": "5"},
    "hh prompt twice": {
        "prompt": "\n\nHuman: 2+2?\n\nAssistant:",
        "chosen": "\n\nHuman: 2+2?\n\nAssistant: 四",
        "rejected": "\n\nHuman: 2+2?\n\nAssistant: 5",
    },
    "sharegpt texts": {"conversations": SHARE, "chosen": "四", "rejected": "5"},
    "hh": {"chosen": "\n\nHuman: 2+2?\n\nAssistant: 四", "rejected": "\n\nHuman: 2+2?\n\nAssistant: 5"},
    "alpaca": {"instruction": "2+2?", "input": "", "chosen": "四", "rejected": "5"},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_preference_is_the_same_pair(ours, spelling):
    made = _two(ours, preference.Config(), SPELLINGS[spelling])
    assert made == [f"{USER}2+2?{END}\n{ASSISTANT}[{answer}{END}]\n" for answer in ("四", "5")]
    example = preference.Config().example(Row(SPELLINGS[spelling], "f:1"), ours)
    assert example.bytes == len("四5".encode())


def test_a_preference_lies_side_by_side_in_the_token_cache(ours, tmp_path):
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SPELLINGS.values()), encoding="utf-8")
    docs = documents.build(files.Config(path=str(tmp_path / "d.jsonl")), preference.Config(), ours, tmp_path / "cache")
    assert len(docs) == len(SPELLINGS) and docs.counts.learned == sum(docs[n][1].sum() for n in range(len(docs)))
    for number in range(len(docs)):
        ids, mask = docs[number]
        for side, answer in ((slice(docs.cuts[number]), "四"), (slice(docs.cuts[number], None), "5")):
            shown = _shown(ours, ids[side].tolist(), mask[side].tolist())
            assert shown == f"{USER}2+2?{END}\n{ASSISTANT}[{answer}{END}]\n"


def test_of_a_preference_only_the_answers_are_learned(ours):
    begin = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
    row = {"chosen": f"{begin} d\n\nHuman: e\n\nAssistant: f", "rejected": f"{begin}"}
    shared = f"{USER}a{END}\n{ASSISTANT}b{END}\n{USER}c{END}\n{ASSISTANT}"
    chosen = f"{shared}[d{END}]\n{USER}e{END}\n{ASSISTANT}[f{END}]\n"
    assert _two(ours, preference.Config(), row) == [chosen, f"{shared}[{END}]\n"]


RULE = {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2+2?", "system": "s", "chosen": [USERS, GOOD], "rejected": [USERS, BAD]},
        {"prompt": "2+2?", "chosen": [RULE, USERS, GOOD], "rejected": [RULE, USERS, BAD]},
        {"prompt": [RULE, USERS], "chosen": [USERS, GOOD], "rejected": [RULE, USERS, BAD]},
    ],
)
def test_a_prompt_is_asked_once_wherever_the_system_speaks(ours, row):
    made = _two(ours, preference.Config(), row)
    assert made == [f"{SYSTEM}s{END}\n{USER}2+2?{END}\n{ASSISTANT}[{a}{END}]\n" for a in ("四", "5")]


def test_a_prompt_is_asked_once_if_a_space_alone_is_other_where_it_is_repeated(ours):
    made = _two(ours, preference.Config(), {"prompt": "2+2? ", "chosen": [USERS, GOOD], "rejected": [USERS, BAD]})
    assert made == [f"{USER}2+2? {END}\n{ASSISTANT}[{answer}{END}]\n" for answer in ("四", "5")]


def test_a_judged_answer_to_a_dialogue_is_one(ours):
    row = {"prompt": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "completion": " d", "label": True}
    shared = f"{USER}a{END}\n{ASSISTANT}b{END}\n{USER}c{END}\n{ASSISTANT}"
    assert _one(ours, kto.Config(), row) == f"{shared}[d{END}]\n"


EMPTY = {
    "prompt": (prompt, {"prompt": "a", "completion": " \n"}, 1),
    "alpaca": (alpaca, {"instruction": "a", "output": ""}, 1),
    "messages": (messages, {"messages": [USERS, {"role": "assistant", "content": "  "}, USERS, GOOD]}, 1),
    "sharegpt": (sharegpt, {"conversations": [*SHARE, {"from": "gpt", "value": ""}]}, 1),
    "preference": (preference, {"prompt": "a", "chosen": "", "rejected": "b"}, 1),
    "both, plain": (preference.Config(plain=True), {"prompt": "a", "chosen": "", "rejected": " "}, 2),
    "kto": (kto, {"prompt": "a", "completion": "", "label": False}, 1),
    "not learned": (messages, {"messages": [USERS, {"role": "assistant", "content": "", "weight": 0}, USERS, GOOD]}, 0),
}


@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_answer_is_said_and_counted_beside_rows_that_are_refused(ours, tmp_path, case):
    form, data, count = EMPTY[case]
    form = form if isinstance(form, preference.Config) else form.Config()
    rows = [data, {"x": 1}, data]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tally = Tally(Part("d"), ours)
    check(files.Config(path=str(tmp_path / "d.jsonl")), form, ours, tally)
    part = tally.told()
    assert (part.documents, part.refused) == (2, 1)
    said = "an answer is empty or blank: that it ends is all there is to learn of it"
    assert part.notes == ([f"{said} ({2 * count} times)"] if count else [])


def test_dialogues_as_they_stand_are_asked_up_to_where_they_part(ours):
    """Also where the assistant's last word is not all that differs; where the user's does, nothing is compared."""
    hi, form = "\n\nHuman: Hi\n\nAssistant:", preference.Config(plain=True)
    begin = f"{ours.words.get('bos_token', '')}{hi}"
    end = ours.words["eos_token"]
    row = {"chosen": f"{hi} Hello", "rejected": f"{hi} What?\n\nHuman: Hello\n\nAssistant: Go"}
    expected = [f"{begin}[ Hello{end}]", f"{begin}[ What?\n\nHuman: Hello\n\nAssistant: Go{end}]"]
    assert _two(ours, form, row) == expected
    other = {"chosen": f"{hi} A\n\nHuman: B\n\nAssistant: C", "rejected": f"{hi} A\n\nHuman: D\n\nAssistant: E"}
    with pytest.raises(Refusal, match=r"d\.jsonl:1 must have answers to one prompt .* part where the assistant speaks"):
        _two(ours, form, other)


HH = [f"\n\nHuman: {ask}\n\nAssistant:" for ask in "ace"]
LONG = f"{HH[0]} b{HH[1]} d{HH[2]}"  # of three turns
ASKED = [{"role": role, "content": said} for role, said in zip(("user", "assistant") * 3, "abcde", strict=False)]
PARTS = {
    "plain": (True, {"chosen": f"{LONG} f", "rejected": f"{LONG} ghi"}, [LONG, f"{HH[1]} d{HH[2]}", HH[2]]),
    "a prompt, plain": (True, {"prompt": LONG, "chosen": "f", "rejected": "ghi"}, [LONG, f"{HH[1]} d{HH[2]}", HH[2]]),
    "a template": (
        False,
        {"prompt": [RULE, *ASKED], "chosen": "f", "rejected": "ghi"},
        [
            f"{SYSTEM}s{END}\n{USER}{words}{END}\n{ASSISTANT}"
            for words in (
                f"a{END}\n{ASSISTANT}b{END}\n{USER}c{END}\n{ASSISTANT}d{END}\n{USER}e",
                f"c{END}\n{ASSISTANT}d{END}\n{USER}e",
                "e",
            )
        ],
    ),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_pair_that_is_too_long_loses_the_oldest_turns_of_its_prompt(ours, case):
    """As few as let the longer answer fit, the same of both; none where even the last turn is too long."""
    plain, row, prompts = PARTS[case]
    begin, end = (ours.words.get("bos_token", ""), ours.words["eos_token"]) if plain else ("", f"{END}\n")
    answers = [" f", " ghi"] if "prompt" not in row else ["f", "ghi"]
    texts = [[begin + prompt + answer + end for answer in answers] for prompt in prompts]
    sizes = [len(ours.encode_marked([longer])[0].ids) for _, longer in texts]
    limits = [(sizes[0], 0), (sizes[0] - 1, 1), (sizes[1], 1), (sizes[1] - 1, 2), (sizes[2], 2), (sizes[2] - 1, 0)]
    for within, turns in limits:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made = _two(ours, preference.Config(plain=plain, within=within), row)
        assert [side.replace("[", "").replace("]", "") for side in made] == texts[turns]
        notice = "a pair is longer than format.within: the oldest turns of its prompt are left out"
        assert [str(each.message) for each in said] == ([notice] if turns else [])


def test_a_preference_without_a_template_is_plain_text(ours):
    row, form = {"question": "2+2=", "chosen": "四", "rejected": "5"}, preference.Config(prompt="question", plain=True)
    end = "<|endoftext|>"
    begin = ours.words.get("bos_token", "")
    assert _two(ours, form, row) == [f"{begin}2+2=[{answer}{end}]" for answer in ("四", "5")]


def test_a_judged_answer_has_a_label(ours):
    expected = f"{USER}a{END}\n{ASSISTANT}b{END}\n{USER}2+2?{END}\n{ASSISTANT}[四{END}]\n"
    before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, USERS]
    for data in ({"messages": [*before, GOOD]}, {"prompt": before, "completion": "四"}):
        assert _one(ours, kto.Config(), data | {"label": True}) == expected
    labels = [
        kto.Config().example(Row({"prompt": "a", "completion": "b", "label": label}, "f:1"), ours).label
        for label in (True, False, 1, 0)
    ]
    assert labels == [1.0, 0.0, 1.0, 0.0]


ROW = {"prompt": "a", "chosen": "b", "rejected": "c"}
TWO_SYSTEMS = [{"role": "system", "content": "s"}, {"role": "system", "content": "t"}, USERS, GOOD]
# Rows that do not fit, with what is said; and whether a corrected row is shown.
REFUSED = {
    "sharegpt field": (sharegpt, {"talk": TALK}, r"must have the field 'conversations', but found .*'talk'", True),
    "sharegpt text": (sharegpt, {"conversations": "hi"}, r"must have a list of messages as 'conversations'", True),
    "sharegpt speaker": (
        sharegpt,
        {"conversations": [{"from": "huamn", "value": "a"}, {"from": "gpt", "value": "b"}]},
        r"in turn 0 of 'conversations', a known speaker as 'from', but found 'huamn'\. .*use 'human' \(the nearest\)",
        True,
    ),
    "sharegpt several speakers": (
        sharegpt,
        {"conversations": [{"from": ["human"], "value": "a"}, {"from": "gpt", "value": "b"}]},
        r"in turn 0 of 'conversations', a known speaker as 'from', but found \['human'\]",
        True,
    ),
    "sharegpt value": (
        sharegpt,
        {"conversations": [{"from": "human", "value": 3}, {"from": "gpt", "value": "b"}]},
        r"in turn 0 of 'conversations', text as 'value', but found 3",
        True,
    ),
    "sharegpt two systems": (
        sharegpt,
        {"conversations": [{"from": "system", "value": "s"}] * 2 + TALK},
        r"d\.jsonl:3, the field 'conversations': .*system",
        True,
    ),
    "sharegpt assistant first": (
        sharegpt,
        {"conversations": TALK[1:]},
        r"d\.jsonl:3, the field 'conversations': .*assistant",
        True,
    ),
    "sharegpt call": (
        sharegpt,
        {"conversations": [TALK[0], {"from": "function_call", "value": "add(1)"}]},
        r"valid JSON where 'conversations' says tools and calls, but found 'add\(1\)'",
        False,
    ),
    "sharegpt nameless call": (
        sharegpt,
        {"conversations": [TALK[0], {"from": "function_call", "value": '{"add": 1}'}]},
        r"must have calls with a name and arguments in 'conversations'",
        False,
    ),
    "tools": (messages, {"messages": [USERS, GOOD], "tools": {"a": 1}}, r"must have a list of tools as 'tools'", False),
    "messages role": (
        messages,
        {"messages": [{"role": "bot", "content": "a"}, GOOD]},
        r"d\.jsonl:3, the field 'messages': .*role.*'bot'",
        True,
    ),
    "messages two systems": (messages, {"messages": TWO_SYSTEMS}, r"the field 'messages': .*system", True),
    "messages assistant first": (messages, {"messages": [GOOD]}, r"the field 'messages': .*assistant", True),
    "messages without an answer": (
        messages,
        {"messages": [USERS]},
        r"must have a turn to learn, of the assistant, but found the roles user",
        True,
    ),
    "messages content": (
        messages,
        {"messages": [{"role": "user", "content": 3}, GOOD]},
        r"d\.jsonl:3, the field 'messages': .*content",
        True,
    ),
    "messages part": (
        messages,
        {"messages": [{"role": "user", "content": [{"type": "image", "value": "x"}]}, GOOD]},
        r"in message 0 of 'messages', parts of a known type, but found 'image'",
        False,
    ),
    "messages part of text": (
        messages,
        {"messages": [{"role": "user", "content": [{"type": "text", "value": None}]}, GOOD]},
        r"in message 0 of 'messages', text as 'value' of each part, but found None. .*leave the part out",
        False,
    ),
    "messages part of thoughts": (
        messages,
        {"messages": [USERS, {"role": "assistant", "content": [{"type": "reasoning", "value": ["a"]}]}]},
        r"in message 1 of 'messages', text as 'value' of each part, but found \['a'\]",
        False,
    ),
    "messages part of a call": (
        messages,
        {"messages": [USERS, {"role": "assistant", "content": [{"type": "tool_call", "value": {"name": "add"}}]}]},
        r"in message 1 of 'messages', text as 'value' of each part, .*a call of a tool as the JSON of it",
        False,
    ),
    "messages none": (messages, {"messages": []}, r"the field 'messages': .*at least one message", True),
    "alpaca number": (alpaca, {"instruction": "a", "output": 3}, r"text in the field 'output', but found 3", True),
    "alpaca typing error": (
        alpaca,
        {"instrction": "a", "output": "b"},
        r"""must have the field 'instruction'.*\{"instruction": "a", "output": "b"\}""",
        True,
    ),
    "alpaca history": (
        alpaca,
        {"instruction": "a", "output": "b", "history": [["x"]]},
        r"pairs of an instruction and its answer as 'history', but found \['x'\]",
        True,
    ),
    "alpaca system": (alpaca, {"instruction": "a", "output": "b", "system": ["s"]}, r"in the field 'system'", True),
    "preference field": (preference, {"prompt": "a", "chosen": "b"}, r"must have the field 'rejected'", True),
    "preference twice": (preference, ROW | {"rejected": "b"}, r"must have two answers that differ.*'b' twice", False),
    "preference number": (preference, ROW | {"chosen": 3}, r"messages in the field 'chosen', but found 3", True),
    "preference null": (preference, ROW | {"chosen": None}, r"in the field 'chosen', but found None", True),
    "preference without a prompt": (
        preference,
        {"chosen": "b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
        r"must have a prompt, or a dialogue that begins with .*Human.* as 'chosen'",
        True,
    ),
    "preference of other prompts": (
        preference,
        {"chosen": [USERS, GOOD], "rejected": [{"role": "user", "content": "3+3?"}, BAD]},
        r"answers to one prompt in 'chosen' and 'rejected', but found turns of user and user .* after 0 messages",
        False,
    ),
    "preference of a user": (
        preference,
        {"prompt": [USERS], "chosen": {"role": "user", "content": "b"}, "rejected": "c"},
        r"turns of user and assistant where the two part, after 1 messages",
        False,
    ),
    "kto label": (kto, {"prompt": "a", "completion": "b", "label": "x"}, r"as 'label', but found 'x'", True),
    "kto field": (kto, {"prompt": "a", "completion": "b"}, r"must have the field 'label'", True),
    "kto assistant first": (kto, {"messages": [GOOD], "label": True}, r"the field 'messages': .*assistant", True),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_row_is_refused_with_place_and_field_and_the_row_it_should_be(ours, case):
    module, data, says, shown = REFUSED[case]
    with pytest.raises(Refusal, match=says) as refused:
        module.Config().example(Row(data, "d.jsonl:3"), ours)
    assert "d.jsonl:3" in str(refused.value)
    if shown:
        right = json.loads(refused.value.fix[refused.value.fix.index(": {") + 2 :])
        assert module.Config().example(Row(right, "d.jsonl:3"), ours) is not None


SAME = {
    "another spelling": ("chatml", {"chosen": [{"role": "assistant", "content": "yes"}], "rejected": "yes"}),
    "trimmed by llama3": ("llama3", {"chosen": "yes", "rejected": "yes "}),
    "trimmed by gemma": ("gemma", {"chosen": "yes", "rejected": "yes "}),
    "trimmed by mistral": ("mistral", {"chosen": "yes\n", "rejected": "yes"}),
}


@pytest.mark.parametrize("case", SAME)
def test_answers_that_become_the_same_tokens_are_refused(case):
    """Of several rows the one is named; without a template the space is a difference."""
    template, both = SAME[case]
    tokenizer = byte_bpe.Config(vocab_size=300).learn(["yes or no"] * 4).with_template(template)
    rows = [Row({"prompt": "a?", "chosen": "yes", "rejected": "no"}, "d.jsonl:1"), Row({"prompt": "a?", **both}, "d:2")]
    said = (
        r"^d:2 must have two answers that differ in 'chosen' and 'rejected', but found .*yes.* and .*yes.*, which are"
    )
    with pytest.raises(Refusal, match=said + " the same tokens. To fix it, remove the row: it prefers nothing.$"):
        preference.Config().examples(rows, tokenizer)
    preference.Config(plain=True).examples(
        [Row({"prompt": "a?", "chosen": "yes", "rejected": "yes "}, "d:3")], tokenizer
    )
